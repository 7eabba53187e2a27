"""Makes the schema of `keyturn.toml` out of the settings that read it, with the words for each key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel

from keyturn.assembly.back_ends import ANCHORS, BACK_ENDS, anchor_end, back_end
from keyturn.assembly.schemas import words
from keyturn.assembly.wiring import Wiring
from keyturn.canon import Json
from keyturn.policy.schema.keys import DRAFT, plain

_SECTIONS = {
    "log": words.LOG,
    "http": words.HTTP,
    "notify": words.NOTIFY,
    "timeouts": words.TIMEOUTS,
    "retention": words.RETENTION,
}
_SAID: Mapping[str, str] = {
    **words.TOP,
    **{f"{section}.{name}": says for section, said in _SECTIONS.items() for name, says in said.items()},
}
_DROPPED = ("title", "description")


def wiring_schema(tools: Iterable[str]) -> dict[str, Json]:
    """Return the schema of `keyturn.toml`; `tools` are the names that `[timeouts]` may have. Loads every back end."""
    top = _settings(Wiring, "", _SAID)
    properties = cast(dict[str, Json], top["properties"])
    timeouts = cast(dict[str, dict[str, Json]], properties["timeouts"])
    seconds, known = timeouts["additionalProperties"], timeouts["properties"]
    for tool in sorted(tools):
        known[tool] = {**_about(f"timeouts.{tool}", words.OF_TOOL), **seconds}
    for port, kinds in {**BACK_ENDS, "anchors": ANCHORS}.items():
        _into(cast(dict[str, Json], properties[port]), port, kinds)
    says = "Which systems Keyturn acts on, by name"
    return {"$schema": DRAFT, "title": "Keyturn: keyturn.toml", "description": says, **top}


def _into(section: dict[str, Json], port: str, kinds: Iterable[str]) -> None:
    """Put the settings of each kind where the model of the whole file holds anything for a name."""
    each: Json = {"anyOf": [_kind(port, kind) for kind in kinds]}
    names = cast(dict[str, Json], section["patternProperties"])
    section["patternProperties"] = dict.fromkeys(names, each)
    section["additionalProperties"] = False


def _kind(port: str, kind: str) -> dict[str, Json]:
    module = anchor_end(kind) if port == "anchors" else back_end(port, kind)
    place = f"{port}.NAME"
    found = _settings(module.Settings, place, {**words.OVER_HTTP, **words.BACK_ENDS[port, kind]})
    required = cast(list[Json], found.get("required", []))
    found["required"] = ["kind", *(name for name in required if name != "kind")]
    return {"title": f'{place}, kind "{kind}"', "description": f'Settings of kind "{kind}"', **found}


def _settings(model: type[BaseModel], place: str, said: Mapping[str, str]) -> dict[str, Json]:
    schema = cast(dict[str, Json], model.model_json_schema())
    definitions = cast(Mapping[str, dict[str, Json]], schema.pop("$defs", {}))
    return _Reading(place, said, definitions).table(schema, "")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Rewrites the schema of one model: references put in, nulls (which TOML lacks) left out, our words added."""

    place: str
    said: Mapping[str, str]
    definitions: Mapping[str, dict[str, Json]]

    def table(self, schema: Mapping[str, Json], path: str) -> dict[str, Json]:
        """Return the schema of a table at `path` within the model."""
        found = {key: value for key, value in schema.items() if key not in _DROPPED}
        if isinstance(properties := found.get("properties"), dict):
            found["properties"] = {name: self._key(raw, _join(path, name)) for name, raw in properties.items()}
        if isinstance(inner := found.get("additionalProperties"), dict):
            found["additionalProperties"] = self._plain(inner, _join(path, "NAME"))
        return found

    def _key(self, raw: Json, path: str) -> dict[str, Json]:
        return {**_about(_join(self.place, path), self.said[path]), **self._plain(cast(dict[str, Json], raw), path)}

    def _plain(self, raw: Mapping[str, Json], path: str) -> dict[str, Json]:
        """Return the schema without references and nulls; what is a table is rewritten too."""
        reference = raw.get("$ref")
        if isinstance(reference, str):
            return self.table(self.definitions[reference.removeprefix("#/$defs/")], path)
        found = {key: value for key, value in raw.items() if not (key == "default" and value is None)}
        forms = [form for form in cast(list[dict[str, Json]], found.pop("anyOf", [])) if form.get("type") != "null"]
        if len(forms) == 1:
            return {**self.table(found, path), **self._plain(forms[0], path)}
        alternatives: dict[str, Json] = {"anyOf": [self._plain(form, path) for form in forms]} if forms else {}
        return {**self.table(found, path), **alternatives}


def _about(place: str, says: str) -> dict[str, Json]:
    return {"title": place, "description": plain(says)}


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
