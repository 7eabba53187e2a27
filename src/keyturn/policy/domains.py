"""Knows which values a path can have, from a contract's input schema, so that impossible conditions fail to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyturn.canon import Json

Schema = Mapping[str, Json]
_REFERENCES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The values a place can hold.

    types   JSON type names, or None where only a plan will tell
    values  every possible value, where the schema lists them
    date    strings are dates such as 2026-12-24
    items   the domain of a list's items
    """

    types: frozenset[str] | None = None
    values: frozenset[str | int] | None = None
    date: bool = False
    items: Domain | None = None

    @property
    def named(self) -> str:
        """The types as people read them."""
        return " or ".join(sorted(self.types)) if self.types else "anything"


ANYTHING = Domain()
TEXT = Domain(types=frozenset({"string"}))
WHOLE = Domain(types=frozenset({"integer"}))
DATE = Domain(types=frozenset({"string"}), date=True)
TEXTS = Domain(types=frozenset({"array"}), items=TEXT)


def one_of(values: Iterable[str | int]) -> Domain:
    """Return the domain of the listed values, which are all texts or all integers."""
    known = frozenset(values)
    return Domain(types=frozenset("string" if isinstance(value, str) else "integer" for value in known), values=known)


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a schema: every form (alternative) the value there may take."""

    forms: tuple[Schema, ...]
    root: Schema

    @classmethod
    def of(cls, schema: Schema) -> Place:
        """Return the place of a whole schema."""
        return cls(_forms(schema, schema), schema)

    def names(self) -> frozenset[str]:
        """Return the names of all properties of all forms."""
        return frozenset(name for form in self.forms for name in _mapping(form.get("properties")))

    def property(self, name: str) -> Place | None:
        """Return the place of a property, or None if no form has it."""
        found = [_mapping(form.get("properties")).get(name) for form in self.forms]
        return self._below(found)

    def items(self) -> Place | None:
        """Return the place of a list's items, or None if this is no list."""
        return self._below([form.get("items") for form in self.forms])

    def default(self) -> Json:
        """Return the value that stands in for an absent one; None unless all forms that have one agree."""
        found = [form["default"] for form in self.forms if "default" in form]
        return found[0] if found and all(value == found[0] for value in found) else None

    def domain(self) -> Domain:
        """Return what the value may be."""
        types = [kinds for form in self.forms if (kinds := _types(form))]
        listed = [_values(form) for form in self.forms if _types(form)]
        items = self.items()
        return Domain(
            types=frozenset().union(*types) if types else None,
            values=_union(listed),
            items=items.domain() if items else None,
        )

    def _below(self, schemas: list[Json]) -> Place | None:
        forms = tuple(f for schema in schemas if isinstance(schema, Mapping) for f in _forms(schema, self.root))
        return Place(forms, self.root) if forms else None


def _forms(schema: Schema, root: Schema, depth: int = 0) -> tuple[Schema, ...]:
    """Return the schema and, references resolved, all its alternatives."""
    if depth > _REFERENCES:
        return ()
    nested: list[Json] = [part for key in ("oneOf", "anyOf", "allOf") for part in _sequence(schema.get(key))]
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        nested.append(_pointed(root, reference))
    below = (form for part in nested if isinstance(part, Mapping) for form in _forms(part, root, depth + 1))
    return (schema, *below)


def _pointed(root: Schema, reference: str) -> Json:
    """Follow a JSON pointer (RFC 6901) from the root of the schema."""
    value: Json = root
    for part in reference[2:].split("/"):
        value = _mapping(value).get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _types(form: Schema) -> frozenset[str]:
    declared = form.get("type")
    if isinstance(declared, str):
        return frozenset({declared})
    if isinstance(declared, (list, tuple)):
        return frozenset(str(name) for name in declared)
    return frozenset(_type_of(value) for value in _values(form) or ())


def _values(form: Schema) -> frozenset[str | int] | None:
    listed = [form["const"]] if "const" in form else form.get("enum")
    if not isinstance(listed, (list, tuple)):
        return None
    return frozenset(value for value in listed if isinstance(value, (str, int)))


def _union(listed: Sequence[frozenset[str | int] | None]) -> frozenset[str | int] | None:
    known = [values for values in listed if values is not None]
    return frozenset().union(*known) if known and len(known) == len(listed) else None


def _type_of(value: str | int) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "integer"


def _mapping(value: Json) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Json) -> Sequence[Json]:
    return value if isinstance(value, (list, tuple)) else ()
