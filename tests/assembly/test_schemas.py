"""The schema of `keyturn.toml` has the keys of the settings that read it, all of them said what they mean."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel

from keyturn.assembly.back_ends import ANCHORS, BACK_ENDS, anchor_end, back_end
from keyturn.assembly.schemas import words
from keyturn.assembly.schemas.wiring import _SAID, wiring_schema
from keyturn.assembly.wiring import Wiring, read_wiring
from keyturn.canon import Json
from keyturn.connectors.kubernetes.settings import OWN
from keyturn.model.errors import ConfigurationError
from tests.policy.schema.everything import TOOLS, parsed, parts, places, seen, toml

ROOT = Path(__file__).parents[2]
GOVERNED = sorted(contract.tool for contract in TOOLS.values() if contract.kind == "governed")
SCHEMA = wiring_schema(GOVERNED)
LATE, EARLY = Draft202012Validator(SCHEMA), Draft7Validator(SCHEMA)
KINDS = [(port, kind) for port, kinds in {**BACK_ENDS, "anchors": ANCHORS}.items() for kind in kinds]
BLOCKS = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/reference/wiring.md").read_text(encoding="utf-8"), re.DOTALL)

EVERYTHING = """
version = 1
name = "acme"

[forge.here]
kind = "git"
path = "shop.git"

[forge.hub]
kind = "github"
url = "https://api.github.com"
ca = "ca.pem"
proxy = "http://proxy.example:3128"
private = false
timeout = 10
deadline = 30
pause = 1.5
repository = "acme/shop"
app = { id = 123, key = "file:app.pem", installation = 456 }

[forge.hub2]
kind = "github"
repository = "acme/shop"
credential = "env:TOKEN"

[forge.far]
kind = "git-remote"
url = "ssh://git@host.example/shop.git"
credential = "env:TOKEN"
key = "id"
agent = "agent.sock"
known_hosts = "known_hosts"
ca = "ca.pem"
proxy = "http://proxy.example:3128"
private = true
timeout = 60

[deployments.web]
kind = "releases"
environments = { staging = "web/staging", production = "web/production" }
health = ["/bin/true", "-q"]
health_timeout = "45s"

[deployments.pods]
kind = "kubernetes"
kubeconfig = "kubeconfig"
context = "blue"
service_account = "/run/sa"
proxy = "http://proxy.example:3128"
private = false
timeout = 10
deadline = 30
pause = 1.5
health_timeout = "5m"
dry_run = false

[deployments.pods.environments.blue]
namespace = "shop"
deployment = "web"

[deployments.pods.environments.green]
namespace = "shop"
deployment = "web"
url = "https://cluster.example"
credential = "file:token"
ca = "ca.pem"
tls_server_name = "cluster"
proxy = "http://proxy.example:3128"
private = true
timeout = 5
deadline = 20
pause = 2

[deployments.pods.environments.inside]
deployment = "web"
in_cluster = true
service_account = "/run/other"

[tickets.ops]
kind = "folder"
path = "tickets"
statuses = ["open", "closed"]
prefix = "OPS"

[tickets.hub]
kind = "github"
repository = "acme/shop"
credential = "env:TOKEN"

[anchors.disk]
kind = "file"
path = "/srv/anchor"
every = "10m"
required = true
same_filesystem = true

[anchors.repo]
kind = "git"
path = "anchors.git"
every = "1h"
required = false

[anchors.far]
kind = "git"
url = "https://host.example/anchors.git"
credential = "env:TOKEN"
timeout = 30

[anchors.friend]
kind = "witness"
url = "https://witness.example"
verifier = "witness.example+12345678+AAAA"
every = "1h"
required = true

[anchors.stamps]
kind = "rfc3161"
url = "https://tsa.example"
certificates = "tsa.pem"
every = "1h"
required = false

[log]
key = "file:state/keys/log.key"

[http]
hosts = ["keyturn.example.com:8443"]
origins = ["https://console.example.com"]

[notify]
command = ["notify-send", "x"]
environment = ["DISPLAY"]

[timeouts]
default = 600
plan = 60
rollback_deployment = 900
"""


def refused(value: Json) -> list[str]:
    late, early = ([error.json_path for error in one.iter_errors(value)] for one in (LATE, EARLY))
    assert sorted(late) == sorted(early)
    return late


def problems(path: Path, text: str) -> tuple[str, ...]:
    path.write_text(text, encoding="utf-8")
    try:
        read_wiring(path)
    except ConfigurationError as error:
        return error.problems
    return ()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wiring") / "keyturn.toml"


# --- keys -----------------------------------------------------------------------------------------------------


def settings_of(port: str, kind: str) -> type[BaseModel]:
    module = anchor_end(kind) if port == "anchors" else back_end(port, kind)
    return cast(type[BaseModel], module.Settings)


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every key of a model, with those of the models in it: `app.id`, `environments.NAME.namespace`."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        for inner in _models(field.annotation):
            yield from keys_of(inner, f"{path}{name}.{'NAME.' if 'dict' in str(field.annotation) else ''}")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def keys_in(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from keys_in(inner, f"{path}{name}.")
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from keys_in(inner, f"{path}NAME.")


def schema_of(port: str, kind: str) -> dict[str, Any]:
    [each] = cast(dict[str, Any], SCHEMA)["properties"][port]["patternProperties"].values()
    [found] = [one for one in each["anyOf"] if one["properties"]["kind"]["const"] == kind]
    return cast(dict[str, Any], found)


@pytest.mark.parametrize(("port", "kind"), KINDS)
def test_each_kind_has_the_keys_of_its_settings_and_no_others(port: str, kind: str) -> None:
    assert set(keys_in(schema_of(port, kind))) == set(keys_of(settings_of(port, kind)))
    assert schema_of(port, kind)["additionalProperties"] is False
    assert "kind" in schema_of(port, kind)["required"]


@pytest.mark.parametrize(("port", "kind"), KINDS)
def test_no_word_is_about_a_key_that_is_not_there(port: str, kind: str) -> None:
    assert set(words.BACK_ENDS[port, kind]) <= set(keys_of(settings_of(port, kind)))


def test_every_port_has_every_kind_and_every_kind_has_words() -> None:
    for port, kinds in {**BACK_ENDS, "anchors": ANCHORS}.items():
        [each] = cast(dict[str, Any], SCHEMA)["properties"][port]["patternProperties"].values()
        assert {one["properties"]["kind"]["const"] for one in each["anyOf"]} == set(kinds)
    assert set(words.BACK_ENDS) == set(KINDS)


def test_the_other_sections_have_the_keys_of_the_whole_file() -> None:
    ports = {*BACK_ENDS, "anchors"}
    found = {key for key in keys_in(SCHEMA) if key.partition(".")[0] not in ports or "." not in key}
    assert found - {f"timeouts.{tool}" for tool in GOVERNED} == set(keys_of(Wiring)) == set(_SAID)


def test_every_key_says_what_it_means() -> None:
    for part in parts(SCHEMA):
        for key, inner in part.get("properties", {}).items():
            assert inner.get("description"), key
            assert "](" not in inner["description"]
            assert inner["title"].endswith(key)


def test_the_text_of_this_test_uses_every_key_there_is() -> None:
    value, missing = tomllib.loads(EVERYTHING), set()
    for port, kind in KINDS:
        used = {key for one in value[port].values() if one["kind"] == kind for key in _used(one)}
        missing |= {(port, kind, key) for key in keys_of(settings_of(port, kind)) if key not in used}
    alike = set(keys_of(settings_of("forge", "git-remote"))) | set(keys_of(settings_of("forge", "github")))
    shared = {"kubernetes": {"in_cluster", "url", "credential", "ca", "tls_server_name"} | _ELSEWHERE}
    assert {
        (port, kind, key)
        for port, kind, key in missing
        if key not in shared.get(kind, ())
        and not (port in ("tickets", "anchors") and key in {*alike, "deadline", "pause"})
    } == set()


_ELSEWHERE = {"environments.NAME.kubeconfig", "environments.NAME.context"}


def _used(value: Any, path: str = "") -> Iterator[str]:
    for key, inner in value.items():
        yield f"{path}{key}"
        if isinstance(inner, dict):
            yield from _used(inner, f"{path}{key}.")
            yield from (f"{path}{key}.NAME.{name}" for one in inner.values() if isinstance(one, dict) for name in one)


# --- right and wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [EVERYTHING, *BLOCKS, (ROOT / "keyturn.toml").read_text(), "version = 1\n"])
def test_what_is_right_both_accept(file: Path, text: str) -> None:
    assert problems(file, text) == ()
    assert refused(parsed(text)) == []


WRONG = {
    "an unknown section": ("[log]", "[logs]"),
    "an unknown key": ('path = "shop.git"', 'pth = "shop.git"'),
    "a key of another kind": ('path = "shop.git"', 'path = "shop.git"\nrepository = "a/b"'),
    "another version": ("version = 1", "version = 2"),
    "no version": ("version = 1", ""),
    "an unknown kind": ('kind = "git-remote"', 'kind = "svn"'),
    "no kind": ('kind = "git"\npath = "shop.git"', 'path = "shop.git"'),
    "a kind of another port": ('kind = "folder"', 'kind = "releases"'),
    "what is missing": ('url = "ssh://git@host.example/shop.git"\n', ""),
    "a number beyond its bounds": ("timeout = 60", "timeout = 3601"),
    "a number in quotes": ("timeout = 60", 'timeout = "60"'),
    "a truth value in quotes": ("private = true", 'private = "maybe"'),
    "a repository that is none": ('repository = "acme/shop"\napp', 'repository = "acme"\napp'),
    "a name with a space": ("[forge.here]", '[forge."he re"]'),
    "a log key that is nowhere": ("file:state", "elsewhere:state"),
    "a host with a path": ('"keyturn.example.com:8443"', '"keyturn.example.com/x"'),
    "an origin without a scheme": ('"https://console.example.com"', '"console.example.com"'),
    "no command": ('["notify-send", "x"]', "[]"),
    "no environments": (
        'environments = { staging = "web/staging", production = "web/production" }',
        "environments = {}",
    ),
    "a time-out of nothing": ("rollback_deployment = 900", "rollback_deployment = 0"),
    "a log name in capitals": ('name = "acme"', 'name = "ACME"'),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_itself_both_refuse(file: Path, what: str) -> None:
    before, after = WRONG[what]
    assert before in EVERYTHING
    text = EVERYTHING.replace(before, after, 1)
    assert problems(file, text)
    assert refused(parsed(text))


# What only looks like a number is left out: some settings take `"60"` for 60 and `true` for 1, which no schema does.
ODD = st.sampled_from(
    [7, -1, 61, 90_000, 1.5, "", "x", "git", "folder", "10m", "env:X", "a/b", [], {}, ["x"], {"x": "y"}]
)
_WHOLE = tomllib.loads(EVERYTHING)
# A shared way to a cluster is read with the environments that take it: one that none takes may hold anything.
_PLACES = [place for place in places(_WHOLE) if place[:2] != ("deployments", "pods") or place[-1] not in OWN]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_PLACES), st.booleans(), ODD), min_size=1, max_size=2))
def test_whatever_the_reader_accepts_the_schema_accepts(file: Path, changes: list[tuple[Any, bool, Any]]) -> None:
    value = copy.deepcopy(_WHOLE)
    for (*way, step), drop, odd in changes:
        inside: Any = value
        try:
            for part in way:
                inside = inside[part]
            if drop:
                del inside[step]
            else:
                inside[step] = copy.deepcopy(odd)
        except (KeyError, IndexError, TypeError):
            continue
    if problems(file, toml(value)):
        event("refused")
        return
    event("accepted")
    assert refused(seen(value)) == []
