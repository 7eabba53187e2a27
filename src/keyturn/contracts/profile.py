"""Holds a JSON Schema to the profile of contracts: closed objects, and everything bounded.

The rules, each also written in `tool_schemas/contract.meta.json`:

1. only keywords that are listed here; no `number`, no reference, no composition but `oneOf` below the root
2. an object lists its properties and refuses others; `x-open` is the exception, in outputs alone
3. a string has `maxLength`, `enum` or `const`; its pattern is anchored at both ends and has no alternatives
4. an array has `items` and `maxItems`; an integer has `minimum` and `maximum`
5. the only formats are `uuid`, `date-time` and `secret-ref`: no argument carries a secret itself
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from keyturn.canon import Json
from keyturn.contracts.strict_json import as_array, as_object, at, names, under

Schema: TypeAlias = Mapping[str, Json]

_WORDS = frozenset({"type", "description", "default", "enum", "const"})
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "dependentSchemas", "x-open"}),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
_FORMATS = frozenset({"uuid", "date-time", "secret-ref"})
# Without `|` the anchors hold the whole pattern: `^a|b$` would be anchored at one end in each half.
_ANCHORED = re.compile(r"\^([^|]*[^|\\])?\$", re.DOTALL)


def schema_problems(schema: Json, path: str, *, may_open: bool) -> Iterator[str]:
    """Yield what keeps the root schema at `path` from the profile; `may_open` allows `x-open` below it."""
    root = as_object(schema)
    if root is None or root.get("type") != "object" or "x-open" in root:
        yield at(under(path, "type"), 'the root must be a closed object, "type": "object"')
    else:
        yield from _schema(root, path, may_open)


def _schema(value: Json, path: str, may_open: bool) -> Iterator[str]:
    schema = as_object(value)
    if schema is None:
        yield at(path, "must be a schema written as an object")
    elif "oneOf" in schema:
        yield from _unknown(schema, frozenset({"oneOf", "description"}), path)
        for place, option in enumerate(as_array(schema["oneOf"]) or ()):
            yield from _schema(option, under(under(path, "oneOf"), place), may_open)
    else:
        yield from _typed(schema, path, may_open)


def _typed(schema: Schema, path: str, may_open: bool) -> Iterator[str]:
    types = _types(schema)
    known = [kind for kind in types if isinstance(kind, str) and kind in _KEYWORDS]
    if not known or len(known) != len(types):
        yield at(under(path, "type"), f"must be one of {names(_KEYWORDS)}, or one of them and null")
        return
    yield from _unknown(schema, _WORDS.union(*(_KEYWORDS[kind] for kind in known)), path)
    for kind in known:
        if kind == "object":
            yield from _object(schema, path, may_open)
        elif kind == "array":
            yield from _bounded(schema, path, ("maxItems",))
            yield from _schema(schema.get("items"), under(path, "items"), may_open)
        elif kind in _SCALARS:
            yield from _SCALARS[kind](schema, path)


def _types(schema: Schema) -> tuple[Json, ...]:
    stated = schema.get("type")
    several = as_array(stated)
    return (stated,) if several is None else tuple(several)


def _unknown(schema: Schema, allowed: frozenset[str], path: str) -> Iterator[str]:
    for keyword in schema.keys() - allowed:
        yield at(under(path, keyword), "this keyword is not part of the profile here")


def _object(schema: Schema, path: str, may_open: bool) -> Iterator[str]:
    if "x-open" in schema:
        if not may_open:
            yield at(under(path, "x-open"), "an input has no open objects")
        return
    if schema.get("additionalProperties") is not False:
        yield at(under(path, "additionalProperties"), "must be false: objects are closed")
    properties = as_object(schema.get("properties"))
    if properties is None:
        yield at(under(path, "properties"), "is missing")
        return
    for name in as_array(schema.get("required", ())) or ():
        if name not in properties:
            yield at(under(path, "required"), f"names {name!r}, which is no property")
    for name, member in properties.items():
        yield from _schema(member, under(under(path, "properties"), name), may_open)


def _string(schema: Schema, path: str) -> Iterator[str]:
    if "enum" not in schema and "const" not in schema:
        yield from _bounded(schema, path, ("maxLength",))
    pattern = schema.get("pattern", "^$")
    if not (isinstance(pattern, str) and _ANCHORED.fullmatch(pattern)):
        yield at(under(path, "pattern"), "must begin with ^, end with $ and have no alternatives")
    if "format" in schema and schema["format"] not in _FORMATS:
        yield at(under(path, "format"), f"must be one of {names(_FORMATS)}")


def _integer(schema: Schema, path: str) -> Iterator[str]:
    yield from _bounded(schema, path, ("minimum", "maximum"))


_SCALARS: Mapping[str, Callable[[Schema, str], Iterator[str]]] = {"string": _string, "integer": _integer}


def _bounded(schema: Schema, path: str, bounds: tuple[str, ...]) -> Iterator[str]:
    for bound in bounds:
        value = schema.get(bound)
        if not isinstance(value, int) or isinstance(value, bool):
            yield at(under(path, bound), "is missing, or not an integer: everything is bounded")
