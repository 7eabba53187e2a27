"""Turns the raw arguments of one call into its typed `Arguments`, or into reasons the caller can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from keyturn import canon
from keyturn.canon import CanonError
from keyturn.contracts.strict_json import as_object, at, names, under
from keyturn.model.contract import Contract
from keyturn.model.decision import Reason

MAX_ARGUMENTS = 8 * 1024 * 1024
"""Bytes of all arguments together, as canonical JSON."""

MAX_NESTING = 16
"""Levels of objects and arrays in arguments; contracts ask for at most six."""

MAX_REASONS = 20
"""So many problems are told at once; the rest is counted."""

_MAX_ECHO = 40
_Arguments = TypeVar("_Arguments", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RefusedArguments:
    """Why the arguments do not count, at least one reason. Values are never repeated; names at most in part."""

    reasons: tuple[Reason, ...]


def parse_arguments(contract: Contract, model: type[_Arguments], raw: object) -> _Arguments | RefusedArguments:
    """Check `raw` (what JSON decoding gave) and return it as `model`, the enforcer of `contract`.

    Reason codes: `arguments_malformed` (not JSON of our profile), `arguments_too_large`, `argument_missing`,
    `argument_unknown`, `argument_invalid`.
    """
    fault = _fault(raw)
    if fault is not None:
        return RefusedArguments((fault,))
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        return RefusedArguments(_reasons(contract, error))


def _fault(raw: object) -> Reason | None:
    """Return what is wrong with the arguments whatever the tool."""
    if not isinstance(raw, Mapping):
        return Reason("arguments_malformed", "arguments: must be an object")
    try:
        for problem in _unusable(raw, "", 0):
            return Reason("arguments_malformed", problem)
        size = len(canon.encode(raw))
    except CanonError as error:
        return Reason("arguments_malformed", _visible(str(error).removeprefix("$.").removeprefix("$: "), 200))
    if size > MAX_ARGUMENTS:
        return Reason("arguments_too_large", f"arguments: {size} bytes, at most {MAX_ARGUMENTS} are taken")
    return None


def _unusable(value: object, path: str, depth: int) -> Iterator[str]:
    """Yield NUL characters and too deep nesting, which canonical JSON would allow."""
    match value:
        case Mapping() | list() | tuple() if depth >= MAX_NESTING:
            yield at(path, f"nested deeper than {MAX_NESTING} levels")
        case Mapping():
            for name, member in value.items():
                yield from _unusable(name, under(path, "(name)"), depth)
                yield from _unusable(member, under(path, _visible(str(name), _MAX_ECHO)), depth + 1)
        case list() | tuple():
            for place, item in enumerate(value):
                yield from _unusable(item, under(path, place), depth + 1)
        case str() if "\0" in value:
            yield at(path, "holds a NUL character")
        case _:
            pass


def _reasons(contract: Contract, error: ValidationError) -> tuple[Reason, ...]:
    problems = error.errors(include_url=False, include_input=False)
    told = [_reason(contract, problem) for problem in problems if not _echo_of_inner(problem, problems)]
    if len(told) > MAX_REASONS:
        rest = Reason("argument_invalid", f"and {len(told) - MAX_REASONS} more problems")
        told = [*told[:MAX_REASONS], rest]
    return tuple(told)


def _echo_of_inner(problem: ErrorDetails, problems: list[ErrorDetails]) -> bool:
    """Say whether this only repeats that items failed: pydantic also calls a list of failed items too short."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in problems
    )


def _reason(contract: Contract, problem: ErrorDetails) -> Reason:
    path = _path(problem["loc"])
    match problem["type"]:
        case "missing":
            return Reason("argument_missing", at(path, f"is missing; {contract.tool} needs it"))
        case "extra_forbidden":
            return Reason("argument_unknown", at(path, _unknown(contract, problem["loc"])))
        case "string_pattern_mismatch":
            pattern = problem["ctx"]["pattern"]
            return Reason("argument_invalid", at(path, f"must match {pattern} from the first to the last character"))
        case _:
            return Reason("argument_invalid", at(path, problem["msg"]))


def _path(places: tuple[int | str, ...]) -> str:
    path = ""
    before: int | str = ""
    for step in places:
        tag = isinstance(before, int) and isinstance(step, str) and step.startswith("(")
        before = step
        if tag:
            continue  # after an item's place stands the tag of its shape, which the caller did not write
        path = under(path, step if isinstance(step, int) else _visible(step, _MAX_ECHO))
    return path or "arguments"


def _unknown(contract: Contract, places: tuple[int | str, ...]) -> str:
    known: Mapping[str, Any] = as_object(contract.input["properties"]) or {}
    name = str(places[-1])
    if len(places) > 1:
        return "is not known here"
    near = difflib.get_close_matches(name[:_MAX_ECHO], known, n=1)
    if near:
        return f'{contract.tool} has no such argument (did you mean "{near[0]}"?)'
    return f"{contract.tool} has no such argument; it takes {names(known) or 'none'}"


def _visible(text: str, limit: int) -> str:
    """Return text by others so that it can stand in a message: short, and printable ASCII."""
    shown = "".join(c if c.isascii() and c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text[:limit])
    return shown if len(text) <= limit else f"{shown}…"
