"""What a system answered, and the bounded, cleaned piece of it that messages may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from keyturn.connectors.credentials import Secret
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

PIECE = 300
"""Characters of an answer that a message holds at most."""

_LONGEST = 64 * 1024  # bytes of an answer that is searched for words
_SHORTEST = 8  # characters of a part of a field that may be a credential; the name of a scheme has fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. Names of `headers` are in lower case; `repr` shows the status alone, for a body may be a token.

    `what` names the request for messages, `doubt` is the kind of error that an unreadable body is.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    what: str = "the answer"
    doubt: str = "refused"

    def json(self) -> Any:
        """Return the body read as JSON (RFC 8259). Raises `ConnectorError` where it is none."""
        try:
            return json.loads(self.body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            pass  # raised below, without the error that quotes the body
        raise ConnectorError(
            f"{self.what}: what came back ({self.status}) is no JSON; is the url the one of the interface?",
            kind=self.doubt,
        )


def items_of(answer: Answer, member: str | None) -> list[Any]:
    """Return the list that an answer is, or holds as `member`. Raises `ConnectorError` where there is none."""
    value = answer.json()
    if member is not None and isinstance(value, dict):
        value = value.get(member)
    if isinstance(value, list):
        return value
    del value  # whoever prints the error with its frames sees no answer
    raise ConnectorError(f"{answer.what}: what came back is no list", kind=answer.doubt)


def piece_of(body: bytes, secrets: Iterable[Secret]) -> str:
    """Return what a body says in words, fit for a message, or "". Of HTML nothing is repeated.

    The credentials that were sent are taken out, for a system may repeat them in what it says.
    """
    words = _words_in(body) if len(body) <= _LONGEST else ""
    words = visible(" ".join(scrubbed(words, secrets).split()))
    return words if len(words) <= PIECE else words[: PIECE - 1] + "…"


def scrubbed(words: str, secrets: Iterable[Secret]) -> str:
    """Return what a system said without the credentials that were sent to it."""
    for secret in secrets:
        words = _without(words, secret)
    return words


def refusal_without(body: bytes, secrets: Iterable[Secret]) -> bytes:
    """Return the body of a refusal without the credentials that were sent: whoever quotes it shows none.

    Not for what is fetched: a file that holds our own credential has to be told as it is, or refused.
    """
    return scrubbed(body.decode("latin-1"), secrets).encode("latin-1")


def _without(words: str, secret: Secret) -> str:
    for part in sorted({secret.reveal(), *secret.reveal().split()}, key=len, reverse=True):
        if len(part) >= _SHORTEST:
            words = re.sub(re.escape(part), "<secret>", words, flags=re.IGNORECASE)  # names of hosts lose their case
    return words


def _words_in(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    if not isinstance(value, dict):
        return value if isinstance(value, str) else ""
    said = [value[name] for name in ("message", "error", "error_description", "detail") if _is_text(value.get(name))]
    errors = value.get("errors")
    said += [_of_error(item) for item in (errors[:5] if isinstance(errors, list) else [])]
    return "; ".join(filter(None, said))


def _of_error(item: object) -> str:
    """Return what one error of GitHub's list says: a message, or which field is wrong how."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict):
        return ""
    if _is_text(item.get("message")):
        return str(item["message"])
    return " ".join(item[name] for name in ("resource", "field", "code") if _is_text(item.get(name)))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
