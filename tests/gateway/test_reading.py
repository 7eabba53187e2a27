"""What a reading tool found is told, and recorded, so that nothing hides in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.model.plan import Plan
from keyturn.model.text import LONGEST
from keyturn.model.tool import Earlier, ReadTool
from tests.gateway.world import PRODUCTION, World


@dataclass
class Raw:
    """A reading tool that finds its place as the real one does, and cleans nothing of what it reads."""

    real: ReadTool
    found: Mapping[str, Json]
    name: str = "a careless tool"

    async def locate(self, arguments: Any, earlier: Earlier) -> Plan:
        return await self.real.locate(arguments, earlier)

    async def read(self, plan: Plan, arguments: Any) -> Mapping[str, Json]:
        del plan, arguments
        return self.found


def test_what_hides_in_a_result_is_written_out_before_the_assistant_or_the_ledger_gets_it(world: World) -> None:
    smuggled = "fine" + "".join(chr(0xE0000 + ord(letter)) for letter in "no")
    found: Mapping[str, Json] = {"text": f"{smuggled}\n\u202eevil", "labels": [{"name": "a\xadb"}], "count": 3}
    world.gate = replace(world.gate, reading={"get_ticket": Raw(world.gate.reading["get_ticket"], found)})
    answer = world.call("get_ticket", ticket="OPS-1")
    told = {"text": "fine\\u{e006e}\\u{e006f}\n\\u{202e}evil", "labels": [{"name": "a\\u{ad}b"}], "count": 3}
    assert answer.envelope["result"] == told
    assert answer.receipt is not None
    entry = answer.receipt
    recorded = world.gate.ledger.look(lambda view: view.payload(entry, "result"))
    assert recorded is not None
    assert canon.decode(recorded) == told


def test_one_text_of_a_result_is_bounded(world: World) -> None:
    found: Mapping[str, Json] = {"text": "x" * (LONGEST * 3)}
    world.gate = replace(world.gate, reading={"get_ticket": Raw(world.gate.reading["get_ticket"], found)})
    result = world.call("get_ticket", ticket="OPS-1").envelope["result"]
    assert isinstance(result, Mapping)
    assert len(str(result["text"])) == LONGEST


def test_what_has_expired_takes_no_room_from_a_read(world: World) -> None:
    limit = '[[limits]]\nid = "few"\nlimits = ["2 calls per day per environment"]\nenvironments = ["production"]\n\n'
    world.activate(("# A forbid beats every grant.", f"{limit}# A forbid beats every grant."))
    world.held()
    where = {name: PRODUCTION[name] for name in ("deployment", "environment")}
    assert not world.call("get_deployment", **where).is_error
    assert world.call("get_deployment", **where).is_error
    world.clock.run(hours=4, minutes=1)
    assert not world.call("get_deployment", **where).is_error
    assert world.call("get_deployment", **where).is_error
