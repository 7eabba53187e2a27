"""Gives new tickets their ids: one after the highest of a prefix, and never one that was given before.

`.keyturn/numbers.json` keeps the highest number that was given or seen when one was given, per prefix, so that the id
of a ticket that was made here and removed since is not given again. All of it happens under the journal's lock.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import CanonError, decode_object, encode
from keyturn.connectors.files import Folder
from keyturn.connectors.journal import STATE_FOLDER
from keyturn.connectors.tickets.folder.reading import parts, ticket_files
from keyturn.model.errors import ConnectorError

MAX_NUMBER = 999_999_999
MAX_RECORD = 65_536  # bytes

_RECORD = "numbers.json"


def deduced_prefix(root: Folder) -> str | None:
    """Return the prefix that all ticket files have, or None where there are none or several."""
    prefixes = {found[0] for found in map(parts, ticket_files(root)) if found is not None}
    return prefixes.pop() if len(prefixes) == 1 else None


def highest(root: Folder, prefix: str) -> int:
    """Return the highest number among the files of a prefix, in either case of letters; 0 where there is none."""
    found = [of for of in map(parts, ticket_files(root)) if of is not None]
    return max((number for name, number in found if name.casefold() == prefix.casefold()), default=0)


def ever_given(root: Folder) -> bool:
    """Say whether a number was ever given here: then the journal was here as well, and can be believed."""
    with root.child(STATE_FOLDER) as state:
        return state.kind(_RECORD) is not None


def give_number(root: Folder, prefix: str) -> int:
    """Return the next number of a prefix, recorded as given before anything uses it.

    Call with the journal's lock held. A process that dies right after this has wasted a number.
    """
    with root.child(STATE_FOLDER) as state:
        given = _given(state)
        number = max(highest(root, prefix), given.get(prefix, 0)) + 1
        if number > MAX_NUMBER:
            raise ConnectorError(f"{root.place}: the numbers of {prefix} are used up; set another prefix")
        state.replace(_RECORD, encode({**given, prefix: number}) + b"\n")
    return number


def _given(state: Folder) -> Mapping[str, int]:
    data = state.read(_RECORD, MAX_RECORD)
    if data is None:
        return {}
    try:
        value = decode_object(data.removesuffix(b"\n"))
    except CanonError as error:
        raise ConnectorError(f"{state.at(_RECORD)}: is not a record of numbers: {error}") from error
    numbers = {name: number for name, number in value.items() if isinstance(number, int)}
    if len(numbers) != len(value) or not all(0 < number <= MAX_NUMBER for number in numbers.values()):
        raise ConnectorError(f"{state.at(_RECORD)}: is not a record of numbers")
    return numbers
