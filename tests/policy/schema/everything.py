"""A policy that uses every key of the language, its texts, and how a schema sees such a text."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

from keyturn.canon import Json
from keyturn.policy.documents import calendars_of
from tests.policy.freezes.calendars import calendar, event
from tests.policy.world import CATALOG, hardware_key, key, label

CONTRACTS = tuple(contract for contract in CATALOG.values() if contract.tool != "set_flag")
Step = str | int
"""A key, or a place in a list."""
TOOLS = {contract.tool: contract for contract in CONTRACTS}

APPROVAL = """{ quorum = 1, from = ["carol", "group:sre"], keys = "any", expires = "1h", rejects = 1,\
 escalate = [{ after = "10m", to = ["group:oncall"] }, { after = "20m", to = "carol" }] }"""
VALID = "{ from = 2026-01-01T00:00:00Z, until = 2027-02-01T00:00:00+01:00 }"

POLICY = f"""
version = 1
includes = ["policy.d/"]
tests = "policy_tests/"

[policy]
approval = {{ quorum = 1, from = ["group:sre"] }}

[principals.claude]
display = "Claude"
owner = "bob"
groups = ["assistants"]
scopes = ["pr:write", "deploy:rollback"]

[people.bob]
display = "Bob"

[reviewers.alice]
display = "Alice"
keys = ["{key("alice")}", "{hardware_key("alice2")}"]
groups = ["sre"]

[reviewers.carol]
keys = ["{key("carol")}"]
groups = ["sre", "oncall"]

[environments.production]
targets = ["deployments:web/production", "forge:shop/**"]
lane = "red"

[environments.staging]
targets = ["deployments:web/staging"]

[lanes.red]
approval = {APPROVAL}
tools = ["rollback_deployment", "open_pull_request"]
recipients = ["*@acme.example"]
retention = "90d"

[tools.rollback_deployment]
cost = 5
runtime = "90s"

[risk]
paths = ["app/**"]
infrastructure = ["deploy/**"]
dependencies = ["**/uv.lock"]
weights = {{ paths = 30, size = 15, infrastructure = 20, secrets = 20, history = 10, time = 5, first_use = 10 }}
size = {{ files = 20, lines = 500 }}
history = {{ failures = 3, within = "7d" }}
hours = {{ from = 8, until = 18, days = ["monday", "friday"], zone = "Europe/Berlin" }}

[queue]
per_principal = 4
per_owner = 8
total = 16
waiting = 20
patience = "20s"

[degrade]
on_unknown_outcomes = {{ over = 3, mode = "read-only", environments = ["production"] }}
on_anchor_lag = {{ over = "6h", mode = "suspended", environments = ["production"] }}
on_incident = {{ mode = "suspended", environments = ["production"] }}

[[grants]]
id = "pull requests"
principals = ["group:assistants"]
tool = "open_pull_request"
contract = "{label("open_pull_request")}"
limits = ["20 calls per hour", "200 files_changed per day per target", "1 call per 10m", "5 pending per owner"]
mode = "live"
execute = "manual"
anchor = "before"
secrets = "allowed"
approval = {APPROVAL}
valid = {VALID}

[grants.where]
environment = {{ not = "staging" }}
tool = "open_pull_request"
target = {{ glob = "forge:shop/*" }}
"arguments.title" = {{ regex = ["docs: .+", "fix: .+"], ignore_case = true }}
"arguments.files[*].delete" = {{ exists = false }}
arguments.draft = true
plan = {{ recipients = {{ min = 0, max = 9 }} }}
"plan.files[*].path" = {{ every = {{ glob = ["docs/**", "*.md"], not = {{ glob = "docs/legal/**" }} }} }}
"plan.lines_changed" = {{ max = 200 }}
"principal.groups" = {{ some = {{ in = ["assistants"] }} }}
"principal.name" = {{ equals = "claude" }}
"risk.score" = {{ max = 100 }}
"risk.parts.secrets" = 0
"time.hour" = {{ min = 8, max = 17 }}
"time.weekday" = ["monday", "tuesday"]
"time.date" = {{ not = [2026-12-24, 2026-12-31], min = 2026-01-01 }}
"time.zone" = "Europe/Berlin"

[grants.risk]
hold_at = 30
deny_at = 80
mode = "shadow"
approval = {APPROVAL}

[[forbids]]
id = "no CI"
principals = ["claude"]
tool = "open_pull_request"
where = {{ "plan.files[*].path" = {{ glob = ".ci/**" }} }}
mode = "shadow"
valid = {VALID}
"""

PART = f"""
[[grants]]
id = "rollbacks"
principals = ["claude"]
tool = "rollback_deployment"
contract = "{label("rollback_deployment")}"

[[limits]]
id = "together"
limits = ["100 calls per hour", "10 submissions per minute per tool", "900 runtime per 1h per environment"]
per = "owner"
principals = ["group:assistants"]
tool = "rollback_deployment"
environments = ["production"]
mode = "live"
valid = {VALID}

[[freezes]]
id = "weekends"
environments = ["production"]
tools = ["rollback_deployment"]
targets = ["deployments:web/*"]
calendar = "weekends.ics"
timezone = "Europe/Berlin"
effect = "hold"
approval = {APPROVAL}
override = ["group:sre"]
mode = "live"
valid = {VALID}
"""

CASES = """
[[cases]]
name = "a pull request waits"
principal = "claude"
tool = "open_pull_request"
arguments = { repository = "shop", draft = true }
target = "forge:shop/main"
scopes = ["pr:write"]
environment = "production"
plan = { files = [{ path = "app/settings.py" }] }
effects = { files_changed = 1, lines_changed = 2 }
diff = "--- a"
time = 2026-11-23T09:00:00Z
expect = "hold"
rule = "pull requests"
code = "approval"

[[cases.used]]
ago = "2m"
times = 2
amounts = { files_changed = 1 }
pending = true
ended = "succeeded"
principal = "claude"
tool = "open_pull_request"
target = "forge:shop/main"
environment = "production"
"""


def weekends() -> str:
    """A calendar of weekends."""
    return calendar(event(":20261204T180000", ":20261207T060000", "RRULE:FREQ=WEEKLY;BYDAY=FR"))


def policy_files(policy: str = POLICY, part: str = PART, cases: str = CASES) -> dict[str, str]:
    """The files of a policy of these texts, with each calendar that they name."""
    texts = {"policy.toml": policy, "policy.d/part.toml": part, "policy_tests/all.toml": cases}
    return {**texts, **{path: weekends() for text in (policy, part) for path in calendars_of(text)}}


def seen(value: Any) -> Json:
    """What a schema sees of a TOML value: editors' tools hand dates and times on as strings."""
    if isinstance(value, Mapping):
        return {name: seen(item) for name, item in value.items()}
    if isinstance(value, list):
        return [seen(item) for item in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def parsed(text: str) -> dict[str, Any]:
    """A TOML text as `seen`."""
    found = seen(tomllib.loads(text))
    assert isinstance(found, dict)
    return found


def toml(value: Mapping[str, Any]) -> str:
    """A TOML text of these values, tables in one line each."""
    return "".join(f"{json.dumps(name)} = {_inline(item)}\n" for name, item in value.items())


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)} = {_inline(item)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_inline(item) for item in value) + "]"
        case datetime() | date() | time():
            return value.isoformat()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return json.dumps(value)


def places(value: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Every place of a text."""
    if path:
        yield path
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, step))


def parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every schema in a schema."""
    yield schema
    for word, inner in schema.items():
        if word in ("properties", "patternProperties", "$defs"):
            for one in inner.values():
                yield from parts(one)
        elif word == "anyOf":
            for one in inner:
                yield from parts(one)
        elif word in ("items", "additionalProperties", "if", "then", "else", "not") and isinstance(inner, dict):
            yield from parts(inner)
