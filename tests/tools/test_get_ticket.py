from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from keyturn.canon import Json, encode
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import EarlierAction, ReadTool
from keyturn.tools.arguments.get_ticket import Arguments
from keyturn.tools.get_ticket import MAX_TEXT, TOOL
from tests.connectors.tickets.world import TICKET, World


def nothing_earlier(action_id: str) -> EarlierAction | None:
    del action_id
    return None


def read(world: World) -> Mapping[str, Json]:
    tool, arguments = TOOL({"ops": world.port}), Arguments(ticket="OPS-1")
    plan = anyio.run(tool.locate, arguments, nothing_earlier)
    assert (plan.target, plan.backend, plan.environment) == ("tickets:ops/OPS-1", world.port.backend(), None)
    told: Mapping[str, Json] = anyio.run(tool.read, plan, arguments)
    encode(told)
    return told


def test_it_is_a_read_tool_of_the_tickets_port(tmp_path: Path) -> None:
    assert isinstance(TOOL({"ops": World(tmp_path).port}), ReadTool)
    assert (TOOL.name, TOOL.port) == ("get_ticket", "tickets")


def test_it_tells_the_ticket_and_counts_its_watchers_without_naming_them(tmp_path: Path) -> None:
    told = read(World(tmp_path))
    assert told == {
        "tracker": "ops",
        "ticket": "OPS-1",
        "title": "Checkout is slow",
        "status": "open",
        "labels": ["shop", "urgent"],
        "watchers": 3,
        "text": TICKET.partition("---\n\n")[2],
        "truncated": False,
    }
    assert "example.org" not in str(told)


def test_a_long_ticket_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.comment("x" * 50_000 + " the end")
    told = read(world)
    text = told["text"]
    assert isinstance(text, str)
    assert told["truncated"] is True
    assert len(text) < MAX_TEXT + 100
    assert "nine" in text
    assert "characters left out …]" in text
    assert text.endswith(" the end\n")


def test_what_people_wrote_is_cleaned_of_what_moves_a_screen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.comment("a\x1b[2Jb \u202egnp.exe\tc\r\nd")
    text = read(world)["text"]
    assert isinstance(text, str)
    assert "a\\u{1b}[2Jb \\u{202e}gnp.exe\tc\nd\n" in text


def test_a_ticket_that_nobody_holds_is_refused(tmp_path: Path) -> None:
    tool = TOOL({"ops": World(tmp_path).port})
    with pytest.raises(ConnectorError, match='ticket "OPS-9" is in no declared tracker'):
        anyio.run(tool.locate, Arguments(ticket="OPS-9"), nothing_earlier)


def test_a_tracker_that_is_named_is_asked_alone(tmp_path: Path) -> None:
    tool = TOOL({"ops": World(tmp_path).port})
    plan = anyio.run(tool.locate, Arguments(ticket="OPS-1", tracker="ops"), nothing_earlier)
    assert plan.target == "tickets:ops/OPS-1"
    with pytest.raises(ConnectorError, match='tracker "dev" is not declared'):
        anyio.run(tool.locate, Arguments(ticket="OPS-1", tracker="dev"), nothing_earlier)


def test_text_written_in_tag_characters_is_told_in_the_open(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.comment("fine" + "".join(chr(0xE0000 + ord(letter)) for letter in "merge") + " soft\xadly")
    text = read(world)["text"]
    assert isinstance(text, str)
    assert "fine\\u{e006d}\\u{e0065}\\u{e0072}\\u{e0067}\\u{e0065} soft\\u{ad}ly\n" in text
