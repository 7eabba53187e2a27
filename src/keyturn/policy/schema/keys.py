"""Declares keys: what each is called, what it may hold, and what it means; and turns them into schemas.

Only keywords are used that mean the same from draft 7 of JSON Schema to 2020-12, and nothing stands beside a `$ref`:
editors' tools for TOML know no more of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from keyturn.canon import Json

Fragment: TypeAlias = Mapping[str, Json]
"""A part of a JSON Schema."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Keys:
    """A table with these keys and no others: `least` how many there must be, `also` what else holds of the table."""

    keys: tuple[Key, ...]
    least: int = 0
    also: Fragment = field(default_factory=dict)

    def __getitem__(self, name: str) -> Key:
        """Return the key of this name. Raises `KeyError`."""
        return {key.name: key for key in self.keys}[name]


@dataclass(frozen=True, slots=True)
class Several:
    """An array of tables, `[[name]]`."""

    each: Keys


@dataclass(frozen=True, slots=True)
class Named:
    """Tables by name, `[section.NAME]`; `names` is a pattern, or lists every name there can be."""

    each: Keys
    names: str | tuple[str, ...]
    says: str = ""


Shape: TypeAlias = Fragment | Keys | Several | Named


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name, what it holds, and one sentence of Markdown that says what it means."""

    name: str
    shape: Shape
    says: str
    required: bool = False


def document(title: str, says: str, keys: Keys, definitions: Fragment) -> dict[str, Json]:
    """Return a whole schema for a file with these keys at its top."""
    top = {"$schema": DRAFT, "title": title, "description": plain(says)}
    return {**top, **_table(keys, ""), **({"$defs": dict(definitions)} if definitions else {})}


def fragment(key: Key, place: str) -> dict[str, Json]:
    """Return the schema of a key that stands at the dotted path `place`: its title is the path."""
    about: dict[str, Json] = {"title": place, "description": plain(key.says)}
    match key.shape:
        case Keys():
            return {**about, **_table(key.shape, place)}
        case Several(each):
            return {**about, "type": "array", "items": {**about, **_table(each, f"{place}[]")}}
        case Named():
            return {**about, "type": "object", **_named(key.shape, place)}
        case _:
            return {**about, **key.shape}


def one_of(*names: str) -> Fragment:
    """Return what holds of a table with at least one of these keys."""
    return {"anyOf": [{"required": [name]} for name in names]}


def plain(says: str) -> str:
    """Return the words without their links, which lead nowhere from an editor; a first letter is a capital."""
    text = _LINK.sub(r"\1", says)
    return text[:1].upper() + text[1:]


def _table(keys: Keys, place: str) -> dict[str, Json]:
    properties: Json = {key.name: fragment(key, f"{place}.{key.name}" if place else key.name) for key in keys.keys}
    required: list[Json] = [key.name for key in keys.keys if key.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        **({"minProperties": keys.least} if keys.least else {}),
        "additionalProperties": False,
        **keys.also,
    }


def _named(shape: Named, place: str) -> dict[str, Json]:
    each = {"title": f"{place}.NAME", "description": plain(shape.says), **_table(shape.each, f"{place}.NAME")}
    if isinstance(shape.names, str):
        return {"patternProperties": {f"^{shape.names}$": each}, "additionalProperties": False}
    listed = {name: {**each, "title": f"{place}.{name}"} for name in shape.names}
    return {"properties": dict(listed), "additionalProperties": False}
