"""What GitHub tells of objects is held against their ids: what was altered on the way is never taken for the file."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

from keyturn.connectors.forge import MAX_BLOB
from keyturn.connectors.forge.github.answers import list_at, number_at, oid_at, text_at, truth_at
from keyturn.connectors.forge.github.reading import Reading
from keyturn.model.errors import ConnectorError
from tests.bed.faults import Fault, Instead
from tests.bed.recorder import answer
from tests.connectors.forge.contract import snapshot
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import FILES, action

HUNDRED = "0" * 40


def instead(world: World, path: str, document: object) -> None:
    world.proxy.faults.set(Fault("GET", path, Instead(answer(200, document)), nth=0))


def tree(world: World, path: str = "") -> Any:
    root = world.repository.ask("GET", f"git/commits/{world.head('main')}")["tree"]["sha"]
    found = world.repository.ask("GET", f"git/trees/{root}")
    below = {entry["path"]: entry["sha"] for entry in found["tree"]}
    return world.repository.ask("GET", f"git/trees/{below[path]}") if path else found


def test_a_file_that_was_altered_is_refused(world: World) -> None:
    forged = {"content": base64.b64encode(b"forged").decode(), "encoding": "base64", "sha": HUNDRED, "size": 6}
    instead(world, r".*/git/blobs/.*", forged)
    with pytest.raises(ConnectorError, match="another content"):
        snapshot(world.forge(), "main", "README.md")


@pytest.mark.parametrize(
    ("encoding", "content"), [("none", ""), ("base64", "!!!"), ("utf-8", "text"), ("base64", "\u00e4")]
)
def test_a_file_in_an_encoding_that_cannot_be_read_is_refused(world: World, encoding: str, content: str) -> None:
    instead(world, r".*/git/blobs/.*", {"content": content, "encoding": encoding})
    with pytest.raises(ConnectorError, match="encoding that cannot be read"):
        snapshot(world.forge(), "main", "README.md")


def test_base64_in_lines_as_github_writes_it_is_read(world: World) -> None:
    content = base64.encodebytes(FILES["README.md"]).decode()
    instead(world, r".*/git/blobs/.*", {"content": content, "encoding": "base64"})
    found = snapshot(world.forge(), "main", "README.md").files["README.md"]
    assert found is not None
    assert found.content == FILES["README.md"]


def test_a_file_that_is_too_large_is_not_fetched(world: World) -> None:
    told = tree(world)
    for entry in told["tree"]:
        entry["size"] = MAX_BLOB + 1
    instead(world, r".*/git/trees/.*", told)
    with pytest.raises(ConnectorError, match=f"holds {MAX_BLOB + 1} bytes"):
        snapshot(world.forge(), "main", "README.md")
    assert world.proxy.seen.of("GET", r".*/git/blobs/.*") == []


def test_files_that_are_too_large_together_are_refused(world: World) -> None:
    files = {f"large/{index}.bin": bytes([index]) * (4 * 2**20) for index in range(5)}
    world.commit("main", files)
    with pytest.raises(ConnectorError, match="name fewer"):
        snapshot(world.forge(), "main", *files)


@pytest.mark.parametrize("alteration", ["a file more", "a file less", "truncated", "another id"])
def test_a_folder_that_was_altered_or_cut_is_refused(world: World, alteration: str) -> None:
    told = tree(world)
    match alteration:
        case "a file more":
            told["tree"].append({"path": "x", "mode": "100644", "type": "blob", "sha": HUNDRED, "size": 0})
        case "a file less":
            told["tree"].pop()
        case "truncated":
            told["truncated"] = True
        case _:
            told["tree"][0]["sha"] = HUNDRED
    instead(world, r".*/git/trees/.*", told)
    with pytest.raises(ConnectorError, match="does not show folder"):
        snapshot(world.forge(), "main", "README.md")


@pytest.mark.parametrize("mode", ["", "888888", "777777", "100644x", "40000000"])
def test_a_mode_that_git_does_not_have_is_refused(world: World, mode: str) -> None:
    told = tree(world)
    told["tree"][0]["mode"] = mode
    instead(world, r".*/git/trees/.*", told)
    with pytest.raises(ConnectorError, match="unknown mode"):
        snapshot(world.forge(), "main", "README.md")


@pytest.mark.parametrize(("mode", "words"), [("120000", "a symbolic link"), ("160000", "a submodule")])
def test_links_and_submodules_are_refused_by_name(world: World, mode: str, words: str) -> None:
    kind = "commit" if mode == "160000" else "blob"
    blob = world.repository.ask("POST", "git/blobs", {"content": "elsewhere", "encoding": "utf-8"})["sha"]
    head = world.head("main")
    base = world.repository.ask("GET", f"git/commits/{head}")["tree"]["sha"]
    entry = {"path": "odd", "mode": mode, "type": kind, "sha": blob}
    made = world.repository.ask("POST", "git/trees", {"base_tree": base, "tree": [entry]})["sha"]
    commit = world.repository.ask("POST", "git/commits", {"message": "odd", "tree": made, "parents": [head]})["sha"]
    world.repository.ask("PATCH", "git/refs/heads/main", {"sha": commit})
    for path in ("odd", "odd/below"):
        with pytest.raises(ConnectorError, match=words):
            snapshot(world.forge(), "main", path)


def test_a_ref_that_is_another_or_no_commit_is_refused(world: World) -> None:
    told = world.repository.ask("GET", "git/ref/heads/main")
    instead(world, r".*/git/ref/.*", told | {"ref": "refs/heads/mainline"})
    with pytest.raises(ConnectorError, match="something else than a ref"):
        snapshot(world.forge(), "main", "README.md")
    instead(world, r".*/git/ref/.*", told | {"object": {**told["object"], "type": "tag"}})
    with pytest.raises(ConnectorError, match="something else than a ref"):
        snapshot(world.forge(), "main", "README.md")


def test_a_commit_that_is_not_there_is_refused(world: World) -> None:
    reading = Reading(world.forge()._hub)
    with pytest.raises(ConnectorError, match="lacks commit"):
        anyio.run(reading.commit, HUNDRED)


def test_a_submodule_in_a_pull_request_reads_as_git_shows_it(world: World) -> None:
    head = world.repository.branch("work")
    base = world.repository.ask("GET", f"git/commits/{head}")["tree"]["sha"]
    entry = {"path": "vendored", "mode": "160000", "type": "commit", "sha": "1" * 40}
    made = world.repository.ask("POST", "git/trees", {"base_tree": base, "tree": [entry]})["sha"]
    commit = world.repository.ask("POST", "git/commits", {"message": "x", "tree": made, "parents": [head]})["sha"]
    world.repository.ask("PATCH", "git/refs/heads/work", {"sha": commit})
    _, after = anyio.run(world.forge().proposal, world.repository.open_pull("work")).files["vendored"]
    assert after is not None
    assert after.content == b"Subproject commit " + b"1" * 40 + b"\n"
    assert after.state.mode == "160000"


@pytest.mark.parametrize("reader", [text_at, number_at, truth_at, list_at, oid_at])
@pytest.mark.parametrize("value", [None, [], "x", {"a": None}, {"a": {"b": {}}}, {"a": "b"}])
def test_an_answer_of_another_form_is_an_error_that_names_the_place(reader: Any, value: object) -> None:
    with pytest.raises(ConnectorError, match=r"without a proper a\.b"):
        reader(value, "a", "b")


@pytest.mark.parametrize("name", ["assignees", "requested_reviewers"])
def test_people_that_are_no_list_are_an_error_that_names_the_place(world: World, name: str) -> None:
    world.repository.branch("work")
    world.commit("work", {"new.md": b"new\n"})
    number = world.repository.open_pull("work")
    told = world.repository.ask("GET", f"pulls/{number}")
    world.proxy.faults.set(Fault("GET", r".*/pulls/\d+", Instead(answer(200, told | {name: 7}))))
    with pytest.raises(ConnectorError, match=f"without a proper {name}"):
        anyio.run(world.forge().proposal, number)


def test_a_truth_is_no_number() -> None:
    with pytest.raises(ConnectorError):
        number_at({"a": True}, "a")


def test_an_id_has_forty_digits() -> None:
    with pytest.raises(ConnectorError):
        oid_at({"a": "abc\n"}, "a")


@pytest.mark.parametrize("document", [[], [7], 7, "x", {}, {"head": 7}, {"tree": [7]}, {"id": 1, "full_name": "x"}])
@pytest.mark.parametrize("app", [False, True])
def test_answers_of_any_other_form_are_errors_of_the_connector_and_findings_of_a_check(
    world: World, document: object, app: bool
) -> None:
    forge = world.app(world.emulator.pem, world.emulator.app_id) if app else world.forge()
    world.proxy.faults.set(Fault("*", r".*", Instead(answer(200, document)), nth=0))
    assert [finding for finding in anyio.run(forge.check) if finding.level == "wrong"]
    for ask in (
        lambda: anyio.run(forge.proposal, 1),
        lambda: anyio.run(forge.merging, 1),
        lambda: anyio.run(forge.pull, action(1).action),
        lambda: anyio.run(forge.snapshot, "main", ["README.md"]),
    ):
        with pytest.raises(ConnectorError):
            ask()
