"""Turns the text of one contract file into a `Contract`, or into everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyturn import canon
from keyturn.canon import Json
from keyturn.contracts.profile import schema_problems
from keyturn.contracts.strict_json import as_object, at, read_json, under
from keyturn.model.contract import Contract, Kind

_FILE_NAME = re.compile(r"(?P<tool>[a-z][a-z0-9_]{0,63})\.v(?P<version>[1-9][0-9]{0,3})\.json", re.ASCII)

MAX_DUPLICATE_WINDOW = 3_600
"""Seconds; no longer than the fold remembers an action that is over, or repeats would go unseen."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Annotations(_Strict):
    readOnlyHint: bool  # noqa: N815 - MCP's own spelling
    destructiveHint: bool  # noqa: N815 - MCP's own spelling
    idempotentHint: bool  # noqa: N815 - MCP's own spelling
    openWorldHint: bool  # noqa: N815 - MCP's own spelling


class _Duplicates(_Strict):
    window_seconds: Annotated[int, Field(ge=0, le=MAX_DUPLICATE_WINDOW)]


class _Counterexample(_Strict):
    arguments: dict[str, Any]
    why: Annotated[str, Field(min_length=1, max_length=200)]


class _Document(_Strict):
    """The file as written; the two schemas are judged by the profile."""

    dialect: Annotated[Literal["./contract.meta.json"], Field(alias="$schema")]
    tool: str
    version: int
    kind: Kind
    scope: Annotated[str, Field(pattern=r"^[a-z]+(:[a-z]+)?$", max_length=64)]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    annotations: _Annotations
    duplicates: _Duplicates | None = None
    input: dict[str, Any]
    output: dict[str, Any]
    examples: Annotated[list[dict[str, Any]], Field(min_length=1)]
    counterexamples: Annotated[list[_Counterexample], Field(min_length=1)]


def is_contract_name(file_name: str) -> bool:
    """Say whether a file is named like a contract, `<tool>.v<N>.json`."""
    return _FILE_NAME.fullmatch(file_name) is not None


def read_contract(file_name: str, text: str, envelope: Json) -> tuple[Contract | None, tuple[str, ...]]:
    """Return the contract, or None and every problem with its dotted path (without the file's name).

    `envelope` is the parsed `envelope.v1.json`, which every output repeats.
    """
    value, problems = read_json(text)
    if problems:
        return None, problems
    try:
        document = _Document.model_validate(value)
    except ValidationError as error:
        return None, tuple(_first_problems(error))
    found = (*_name_problems(document, file_name), *_meaning_problems(document, envelope))
    return (None, found) if found else (_contract(document, value), ())


def _first_problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = ""
        for step in problem["loc"]:
            path = under(path, step)
        yield at(path, problem["msg"])


def _name_problems(document: _Document, file_name: str) -> Iterator[str]:
    expected = f"{document.tool}.v{document.version}.json"
    if file_name != expected or not is_contract_name(expected):
        yield f"tool, version: together they must give the file's name, not {expected[:100]!a}"


def _meaning_problems(document: _Document, envelope: Json) -> Iterator[str]:
    yield from schema_problems(document.input, "input", may_open=False)
    yield from schema_problems(document.output, "output", may_open=True)
    if document.output != envelope:
        yield "output: must repeat envelope.v1.json"
    if (document.kind == "governed") != (document.duplicates is not None):
        yield "duplicates: stands in governed contracts, and only there"
    if (document.kind == "self") != (document.scope == "self"):
        yield 'scope: is "self" for tools of that kind, and only for them'
    if document.kind == "governed":
        properties = as_object(document.input.get("properties")) or {}
        for name in ("reason", "repeat"):
            if name not in properties:
                yield f"input.properties.{name}: every governed tool takes it"


def _contract(document: _Document, value: Json) -> Contract:
    hints: Mapping[str, bool] = document.annotations.model_dump()
    return Contract(
        tool=document.tool,
        version=document.version,
        kind=document.kind,
        scope=document.scope,
        title=document.title,
        description=document.description,
        annotations=hints,
        input=document.input,
        output=document.output,
        duplicate_window=document.duplicates.window_seconds if document.duplicates else 0,
        digest=canon.digest(value),
    )
