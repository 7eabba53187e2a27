"""Whether a case's arguments are such as a call could have: types, listed values and names, as the contract has them.

How long a text is, or what it looks like, is not looked at: a case may say less than a call.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.policy.domains import Domain, Place
from keyturn.policy.problems import Problems
from keyturn.policy.shown import shown

_TOLD = 10  # listed values


def check_fits(value: Json, place: Place, at: str, problems: Problems) -> None:
    """Record what in `value`, which stands at the dotted path `at`, no value of `place` can be."""
    if wrong := _misfit(value, place.domain()):
        problems.add(at, wrong)
        return
    if isinstance(value, Mapping):
        _check_members(value, place, at, problems)
    elif isinstance(value, (list, tuple)) and (items := place.items()) is not None:
        for index, item in enumerate(value):
            check_fits(item, items, f"{at}[{index}]", problems)


def _check_members(value: Mapping[str, Json], place: Place, at: str, problems: Problems) -> None:
    for name, member in value.items():
        inner = place.property(name)
        if inner is not None:
            check_fits(member, inner, f"{at}.{name}", problems)
        elif known := place.names():
            problems.unknown(f"{at}.{name}", f"the contract has no {shown(name)} there", name, known)


def _misfit(value: Json, domain: Domain) -> str | None:
    """Say why the value is none of a domain, None where it is one."""
    if domain.types is not None and not domain.types.intersection(_types_of(value)):
        return f"must be of type {domain.named} by the contract, not {shown(value)}"
    if domain.values is not None and isinstance(value, (str, int)) and value not in domain.values:
        some = ", ".join(shown(one) for one in sorted(domain.values, key=str)[:_TOLD])
        return f"must be one of {some} by the contract, not {shown(value)}"
    return None


def _types_of(value: Json) -> tuple[str, ...]:
    match value:
        case bool():
            return ("boolean",)
        case int():
            return ("integer", "number")
        case str():
            return ("string",)
        case Mapping():
            return ("object",)
        case None:
            return ("null",)
        case _:
            return ("array",)
