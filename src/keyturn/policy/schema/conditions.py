"""Describes `where`: the paths conditions may ask about, and the tests they may put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keyturn.canon import Json
from keyturn.model.contract import Contract
from keyturn.policy.conditions import OPERATORS, OPTION
from keyturn.policy.domains import Place
from keyturn.policy.lanes import AUDIENCE
from keyturn.policy.paths import COUNTED, RISK_PARTS, WEEKDAYS
from keyturn.policy.patterns import LONGEST
from keyturn.policy.schema.keys import Fragment
from keyturn.policy.schema.values import YES_OR_NO

MEANINGS: Mapping[str, str] = {
    "equals": "is exactly this",
    "in": "is one of these",
    "glob": "matches a glob, or one of a list of globs",
    "regex": "matches as a whole a pattern in RE2's syntax, or one of a list",
    "min": "is no less; integers, and dates for `time.date`",
    "max": "is no more; integers, and dates for `time.date`",
    "every": "is a list, and every item passes",
    "some": "is a list, and some item passes",
    "not": "does not pass the test inside",
    "exists": "is present (`true`), or absent (`false`)",
    OPTION: "makes upper and lower case equal for `glob` and `regex` beside it",
}
"""What each operator asks of a value."""

_MANY = 1000
_STEP = r"[A-Za-z_][A-Za-z0-9_-]{0,79}(\[\*\])?"
_REST = rf"{_STEP}(\.{_STEP}){{0,7}}"
_APART = ("reason", "repeat")
_ANY: Fragment = {"type": ["string", "integer", "boolean"], "maxLength": LONGEST}
_LITERALS: Mapping[str, Fragment] = {
    "test": _ANY,
    "text": {"type": "string", "maxLength": LONGEST},
    "whole": {"type": "integer"},
    "hour": {"type": "integer", "minimum": 0, "maximum": 23},
    "weekday": {"type": "string", "enum": list(WEEKDAYS)},
    "date": {"type": ["string", "integer"]},
}
_ORDERED = ("whole", "hour", "date")
"""What a value of each class is written like. A date is one without quotes, which editors' tools see as a string."""

_PATHS: Mapping[str, tuple[str, str]] = {
    "principal.name": ("text", "the assistant that asks"),
    "principal.owner": ("text", "the person who answers for it"),
    "principal.groups": ("test", "its groups, a list: ask with `some` or `every`"),
    "tool": ("text", "the tool that is called"),
    "environment": ("text", "the environment that the planned target lies in"),
    "target": ("text", "what is touched, `<port>:<name>/<object>`"),
    **{f"plan.{name}": ("whole", f"how many {name} the plan counts") for name in COUNTED},
    "plan.files[*].path": ("test", "the path of each file that the plan names"),
    f"plan.{AUDIENCE}[*]": ("test", "everybody whom the plan names as being told"),
    "risk.score": ("whole", "the risk score"),
    **{f"risk.parts.{name}": ("whole", f"the points of the part {name} of the risk score") for name in RISK_PARTS},
    "time.hour": ("hour", "the hour, 0 to 23, in UTC or in the zone that `time.zone` names"),
    "time.weekday": ("weekday", "the day of the week, in UTC or in the zone that `time.zone` names"),
    "time.date": ("date", "the date, in UTC or in the zone that `time.zone` names"),
}
_ZONE: Fragment = {
    "type": "string",
    "description": "The time zone, such as Europe/Berlin, in which conditions on `time` beside it are meant",
}


def definitions() -> dict[str, Json]:
    """Return the tests by class of value, for `$defs`; each may hold another."""
    return {name: _test(name, dict(literal)) for name, literal in _LITERALS.items()}


def where(contracts: Iterable[Contract]) -> Fragment:
    """Return the schema of a rule's `where`, for tools with these contracts."""
    arguments = _arguments(contracts)
    flat = {path: _asks(kind, says) for path, (kind, says) in _PATHS.items()}
    nested: dict[str, Json] = {root: dict(_nested(root, flat)) for root in ("principal", "risk", "time")}
    nested["arguments"] = dict(_open("arguments", {name: _asks("test", says) for name, says in arguments.items()}))
    nested["plan"] = dict(_open("plan", _below("plan", flat)))
    asked = {f"arguments.{name}": _asks("test", says) for name, says in arguments.items()}
    rest = {rf"^(arguments|plan)\.{_REST}$": _reference("test")}
    return {
        "type": "object",
        "properties": {**asked, **flat, "time.zone": dict(_ZONE), **nested},
        "patternProperties": dict(rest),
        "additionalProperties": False,
    }


def _arguments(contracts: Iterable[Contract]) -> dict[str, str]:
    """Return the arguments that conditions may see, and whose they are."""
    tools: dict[str, list[str]] = {}
    for contract in contracts:
        for name in Place.of(contract.input).names() - set(_APART):
            tools.setdefault(name, []).append(contract.tool)
    return {name: f"an argument of {', '.join(sorted(tools[name]))}" for name in sorted(tools)}


def _nested(root: str, flat: Mapping[str, Json]) -> Fragment:
    below = _below(root, flat)
    zone = {"zone": dict(_ZONE)} if root == "time" else {}
    return {**_table(root), "properties": {**below, **zone}}


def _open(root: str, properties: Mapping[str, Json]) -> Fragment:
    names = {f"^{_REST}$": _reference("test")}
    return {**_table(root), "properties": dict(properties), "patternProperties": dict(names)}


def _table(root: str) -> dict[str, Json]:
    says = f"Conditions on `{root}`, the same as with its name and a dot before each of them"
    return {"description": says, "type": "object", "additionalProperties": False}


def _below(root: str, flat: Mapping[str, Json]) -> dict[str, Json]:
    return {path.removeprefix(f"{root}."): asks for path, asks in flat.items() if path.startswith(f"{root}.")}


def _asks(kind: str, says: str) -> dict[str, Json]:
    return {"description": says[:1].upper() + says[1:], "anyOf": [_reference(kind)]}


def _reference(kind: str) -> dict[str, Json]:
    return {"$ref": f"#/$defs/{kind}"}


def _test(kind: str, literal: dict[str, Json]) -> dict[str, Json]:
    """Return what may stand behind a path: a value, a list of values, or a table of operators."""
    values: Json = {"type": "array", "items": literal, "minItems": 1, "maxItems": _MANY}
    text: Json = {"type": "string", "minLength": 1}
    patterns: Json = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1, "maxItems": _MANY}]}
    operands: dict[str, Json] = dict.fromkeys(OPERATORS, _reference(kind))
    operands |= {"equals": literal, "in": values, "glob": patterns, "regex": patterns, "exists": dict(YES_OR_NO)}
    operands |= dict.fromkeys(("min", "max"), literal if kind in _ORDERED else {"type": "integer"})
    operands[OPTION] = dict(YES_OR_NO)
    told = {name: {"description": f"The value {MEANINGS[name]}", "anyOf": [operands[name]]} for name in operands}
    told[OPTION]["description"] = MEANINGS[OPTION][:1].upper() + MEANINGS[OPTION][1:]
    table: Json = {"type": "object", "properties": dict(told), "minProperties": 1, "additionalProperties": False}
    return {"anyOf": [literal, values, table]}
