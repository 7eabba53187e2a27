"""Proves that a contract's input schema and the pydantic model that enforces it say the same.

Both sides are brought to one normal form first:

1. `$ref` is replaced by what it names, and `$defs` goes: pydantic names inner models, files write them out
2. `title`, `description` and pydantic's `discriminator` go: words, not rules
3. `default: null` goes: it is Python's spelling of an argument that is left out; null itself both sides refuse
4. `required` and `enum` are sorted, and an empty `required` goes: their order says nothing

What is left must be equal. A model may still refuse more than its schema can say (base64 that does not decode);
that it never accepts more is what the tests' generated arguments look for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from itertools import takewhile

from pydantic import BaseModel

from keyturn.canon import Json
from keyturn.contracts.catalog import ENVELOPE, Catalog
from keyturn.contracts.strict_json import as_array, as_object, at, under
from keyturn.model.contract import Contract

_WORDS = frozenset({"title", "description", "discriminator", "$defs"})
_MISSING = object()
_SHOWN = 2_000  # characters of what differs, a whole description
_AROUND = 60  # characters of what is equal before it and after it


def disagreements(contract: Contract, model: type[BaseModel]) -> tuple[str, ...]:
    """Return where the contract's `input` and `model` differ, with dotted paths; empty when they agree."""
    described = _described(model)
    defined = as_object(described.get("$defs")) or {}
    return tuple(
        f"{contract.tool}.v{contract.version}.json: {difference}"
        for difference in _compare(
            _normal(contract.input, {}), _normal(described, defined), "input", ("file", "model")
        )
    )


@cache
def _described(model: type[BaseModel]) -> Mapping[str, Json]:
    return model.model_json_schema()


def changes(old: Contract, new: Contract) -> tuple[str, ...]:
    """Return what differs between two contracts, words included, with dotted paths: what a new pin consents to.

    Examples and counterexamples count for the digest only; where nothing else changed the answer is empty.
    """
    before, after = (
        {name.name: getattr(side, name.name) for name in fields(Contract) if name.name != "digest"}
        for side in (old, new)
    )
    return tuple(_compare(before, after, "", ("pinned", "served")))


def catalog_changes(published: Catalog, served: Catalog) -> tuple[str, ...]:
    """Return what differs between two catalogs, one line each: `tool_schemas/<tool or file>: <what>`.

    Empty when every text is the same.
    """
    old, new = published.contracts, served.contracts
    moved = {tool: changes(old[tool], new[tool]) for tool in sorted(old.keys() & new.keys())}
    found = [f"{tool}: {difference}" for tool, differences in moved.items() for difference in differences]
    texts, now = published.files, served.files
    found += [f"{name}: is missing; it was published" for name in sorted(texts.keys() - now.keys())]
    found += [f"{name}: was not published before" for name in sorted(now.keys() - texts.keys())]
    found += [
        f"{name}: only examples or white space differ"
        for name in sorted(texts.keys() & now.keys())
        if texts[name] != now[name]
        and not moved.get(name.partition(".")[0])
        and not (name == ENVELOPE and any(moved.values()))  # told already, as every contract's output
    ]
    return tuple(f"tool_schemas/{line}" for line in found)


def _normal(value: Json, defined: Mapping[str, Json]) -> Json:
    """Bring one schema, or a list of schemas, to the normal form."""
    several = as_array(value)
    if several is not None:
        return [_normal(item, defined) for item in several]
    schema = as_object(value)
    if schema is None:
        return value
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _normal(defined[reference.removeprefix("#/$defs/")], defined)
    return {
        keyword: _member(keyword, part, defined)
        for keyword, part in schema.items()
        if keyword not in _WORDS and not _says_nothing(keyword, part)
    }


def _says_nothing(keyword: str, part: Json) -> bool:
    return (keyword == "default" and part is None) or (keyword == "required" and part == [])


def _member(keyword: str, part: Json, defined: Mapping[str, Json]) -> Json:
    if keyword in {"required", "enum"}:
        return sorted(as_array(part) or (), key=repr)
    named = as_object(part)
    if keyword in {"properties", "dependentSchemas"} and named is not None:
        return {name: _normal(member, defined) for name, member in named.items()}  # names, not keywords
    return _normal(part, defined) if keyword in {"items", "oneOf", "anyOf"} else part


def _compare(left: object, right: object, path: str, sides: tuple[str, str]) -> Iterator[str]:
    match left, right:
        case Mapping(), Mapping():
            for key in sorted(left.keys() | right.keys()):
                yield from _compare(left.get(key, _MISSING), right.get(key, _MISSING), under(path, key), sides)
        case list(), list() if len(left) == len(right):
            for place, pair in enumerate(zip(left, right, strict=True)):
                yield from _compare(*pair, under(path, place), sides)
        case _ if left != right or type(left) is not type(right):
            said = _both(left, right)
            yield at(path, f"{sides[0]} says {said[0]}, {sides[1]} says {said[1]}")
        case _:
            pass


def _both(left: object, right: object) -> tuple[str, str]:
    """Write two values that differ, each from shortly before the first difference to shortly after the last."""
    if isinstance(left, str) and isinstance(right, str):
        return _cut(left, right, write=repr)
    return _cut(_written(left), _written(right), write=str)


def _written(value: object) -> str:
    return "nothing" if value is _MISSING else repr(value)


def _cut(left: str, right: str, *, write: Callable[[str], str]) -> tuple[str, str]:
    same = _alike(left, right)
    equal_end = _alike(left[same:][::-1], right[same:][::-1])
    start = max(0, same - _AROUND)
    return _window(left, start, equal_end, write), _window(right, start, equal_end, write)


def _alike(left: str, right: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _window(text: str, start: int, equal_end: int, write: Callable[[str], str]) -> str:
    end = min(len(text) - equal_end + _AROUND, start + _SHOWN)
    return ("…" if start else "") + write(text[start:end]) + ("…" if end < len(text) else "")
