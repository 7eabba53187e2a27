"""The notary: when it signs, whom it tells, what it waits for, and that it holds up nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.anchors import Offer, file
from keyturn.assembly.anchoring import Declared
from keyturn.assembly.bringing import TURN
from keyturn.assembly.notary import AGAIN, SECONDS, Notary, notary_of
from keyturn.assembly.signing import COUNT, standing
from keyturn.assembly.writing import log_signer, log_verifier
from keyturn.canon import Json
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.keys import make_key
from keyturn.ledger.lock import take_instance
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.note import parse_note
from keyturn.model.errors import ConfigurationError
from tests.assembly.outside import Outside
from tests.connectors.surroundings import world_at
from tests.gateway import conftest as gateway
from tests.gateway.world import World

founded = gateway.founded
world = gateway.world


class Scene:
    """A notary with a clock that is moved by hand."""

    def __init__(self, world: World, *anchors: Declared) -> None:
        self.world = world
        self.time = 1000.0
        signer = log_signer(world.home)
        assert signer is not None
        self.signer = signer
        self.notary = Notary(
            ledger=world.gate.ledger,
            place=world.home.place,
            verifier=log_verifier(world.home),
            signer=signer,
            anchors=anchors,
            clock=lambda: self.time,
        )

    def write(self, count: int = 1) -> None:
        facts: dict[str, Json] = {
            "principal": "claude",
            "count": 1,
            "code": "x",
            "since": "2026-01-01T00:00:00.000000Z",
            "until": "2026-01-01T00:00:00.000000Z",
        }
        self.world.gate.ledger.transact(lambda tx: [tx.append("requests.throttled", facts) for _ in range(count)])

    @property
    def size(self) -> int:
        return self.world.gate.ledger.look(lambda view: view.head.size)

    @property
    def signed(self) -> int:
        kept = self.world.gate.ledger.look(lambda view: standing(view, self.notary.verifier)).kept
        return 0 if kept is None else kept.checkpoint.size

    def turn(self, seconds: float = 0.0) -> None:
        self.time += seconds
        self.notary.turn()

    def settle(self, done: Callable[[], object]) -> None:
        """Give it turns until an anchor's thread has come to its end."""
        until = time.monotonic() + 20
        while not done():
            assert time.monotonic() < until
            self.notary.turn()
            time.sleep(0.005)


@pytest.fixture
def scene(world: World) -> Scene:
    scene = Scene(world)
    scene.turn()
    scene.turn(SECONDS)  # what the founding wrote
    assert scene.signed == scene.size
    return scene


def with_anchor(scene: Scene, anchor: Outside, every: float = 600.0) -> None:
    scene.notary.anchors = [Declared(anchor, every)]


def recorded(world: World) -> list[tuple[object, object]]:
    return [(entry.facts["anchor"], entry.facts["size"]) for entry in world.entries("anchor.recorded")]


def test_a_minute_after_the_first_entry_of_news_a_checkpoint_is_signed(scene: Scene) -> None:
    scene.write()
    before = scene.signed
    scene.turn()
    scene.write()
    scene.turn(SECONDS - 1)
    assert scene.signed == before
    scene.turn(1)
    assert scene.signed == scene.size == before + 2
    scene.turn(SECONDS)
    assert scene.signed == before + 2


def test_many_entries_are_signed_at_once(scene: Scene) -> None:
    scene.write(COUNT - 1)
    before = scene.signed
    scene.turn()
    assert scene.signed == before
    scene.write()
    scene.turn()
    assert scene.signed == scene.size


def test_that_an_anchor_got_a_checkpoint_is_no_news(scene: Scene) -> None:
    own = Outside()
    with_anchor(scene, own)
    scene.settle(lambda: own.got)
    scene.settle(lambda: recorded(scene.world))
    signed = scene.signed
    assert scene.size == signed + 1
    for _ in range(3):
        scene.turn(SECONDS)
    assert (scene.signed, len(own.got)) == (signed, 1)
    scene.notary.finish(5, forced=True)
    assert (scene.signed, scene.size) == (signed, signed + 1)


def test_an_anchor_gets_the_newest_checkpoint_at_its_own_pace(scene: Scene) -> None:
    own = Outside()
    with_anchor(scene, own, every=600)
    scene.settle(lambda: recorded(scene.world))
    scene.write()
    scene.turn()
    scene.turn(SECONDS)
    scene.turn()
    assert len(own.got) == 1
    scene.world.clock.run(seconds=601)
    scene.settle(lambda: len(recorded(scene.world)) == 2)
    assert recorded(scene.world) == [("own", size) for size in own.got]
    assert own.got[-1] == scene.signed


def test_a_failure_is_told_once_tried_again_and_told_when_it_is_over(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    own = Outside(fails="no route")
    with_anchor(scene, own)
    scene.settle(lambda: "no route" in caplog.text)
    for _ in range(4):
        scene.turn(AGAIN)
        assert scene.notary._errands
        scene.settle(lambda: not scene.notary._errands)
    assert caplog.text.count("anchor own (witness): no route") == 1
    assert scene.notary.failing == {"anchor own (witness)": "no route"}
    own.fails = ""
    scene.turn(AGAIN)
    scene.settle(lambda: own.got)
    scene.settle(lambda: not scene.notary.failing)
    assert "anchor own (witness): well again" in caplog.text


def test_a_fault_in_an_anchor_is_told_and_ends_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Outside):
        def put(self, offer: Offer) -> bytes:
            raise RuntimeError("a fault")

    with_anchor(scene, Faulty())
    scene.settle(lambda: scene.notary.failing)
    assert "anchor own (witness): an internal error interrupted it" in caplog.text


def test_an_anchor_that_hangs_holds_up_neither_checkpoints_nor_the_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    own, well = Outside(seconds=0.2), Outside("well")
    own.gate.clear()
    scene.notary.anchors = [Declared(own, 1.0), Declared(well, 1.0)]
    try:
        scene.settle(lambda: recorded(scene.world) == [("well", scene.signed)])
        scene.turn(1)
        assert "anchor own (witness): does not answer within 0.2 s" in caplog.text
        scene.write()
        scene.turn()
        began = time.monotonic()
        scene.turn(SECONDS)
        scene.notary.finish(0.3, forced=True)
        assert time.monotonic() - began < 25
        assert scene.signed == scene.size - 1
        assert well.got[-1] == scene.signed
    finally:
        own.gate.set()


def test_without_the_log_key_nothing_is_signed_and_anchors_get_what_others_signed(scene: Scene) -> None:
    own = Outside()
    with_anchor(scene, own, every=1.0)
    scene.notary.signer = None
    before = scene.signed
    scene.write(COUNT)
    scene.turn()
    scene.turn(SECONDS)
    scene.settle(lambda: own.got)
    assert (scene.signed, own.got) == (before, [before])


def test_a_key_that_does_not_sign_is_told_once_and_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(message: bytes) -> bytes:
        raise LedgerUnavailable("the agent is locked")

    scene.notary.signer = replace(scene.signer, sign=refuse)
    scene.write(COUNT)
    before = scene.signed
    for _ in range(5):
        scene.turn(SECONDS)
    assert caplog.text.count("the log key: no checkpoint can be signed: the agent is locked") == 1
    assert scene.signed == before
    scene.notary.signer = scene.signer
    scene.turn(SECONDS)
    assert scene.signed == scene.size
    assert scene.notary.failing == {}


def test_another_key_than_the_logs_is_told_and_ends_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.notary.signer = replace(scene.signer, sign=make_key(bytes(32)).sign)
    scene.write(COUNT)
    before = scene.signed
    scene.turn()
    assert "the log key: no checkpoint can be signed: what signs is not the key of this log" in caplog.text
    assert scene.signed == before
    scene.notary.signer = scene.signer
    scene.turn(SECONDS)
    assert scene.signed == scene.size


def test_an_anchor_keeps_its_pace_however_often_others_are_recorded(scene: Scene) -> None:
    slow, quick = Outside("slow"), Outside("quick")
    scene.notary.anchors = [Declared(slow, 3600.0), Declared(quick, 1.0)]
    scene.settle(lambda: len(recorded(scene.world)) == 2)
    for count in range(40):
        scene.world.clock.run(seconds=2)
        scene.write()
        scene.notary.sign()
        scene.settle(lambda count=count: len(quick.got) == count + 2)  # type: ignore[misc]  # bound now
        scene.settle(lambda count=count: len(recorded(scene.world)) >= count + 3)  # type: ignore[misc]  # bound now
    assert len(slow.got) == 1
    last = scene.world.gate.ledger.look(lambda view: standing(view, scene.notary.verifier)).last
    assert {name: one.size for name, one in last.items()} == {"slow": slow.got[0], "quick": quick.got[-1]}


def test_one_process_at_a_time_brings_checkpoints(scene: Scene) -> None:
    own = Outside()
    with_anchor(scene, own)
    other = take_instance(scene.world.home.place.run, f"own.{TURN}")
    assert other is not None
    scene.turn()
    assert own.got == []
    scene.notary.finish(1, forced=True)
    assert "this process or another of this home" in scene.notary.failing["anchor own (witness)"]
    other.release()
    scene.settle(lambda: own.got)


def test_an_anchor_that_contradicts_the_ledger_ends_the_notary(scene: Scene, tmp_path: Path) -> None:
    given = file.Settings(path=str(tmp_path / "mount"), same_filesystem=True)
    (tmp_path / "mount").mkdir()
    anchor = file.build("mount", given, world_at(tmp_path))
    scene.notary.anchors = [Declared(anchor, 1.0)]
    scene.settle(lambda: recorded(scene.world))
    (kept,) = (tmp_path / "mount").glob("*/checkpoint")
    note = parse_note(kept.read_bytes())
    checkpoint = parse_checkpoint(note.text)
    ahead = replace(checkpoint, size=checkpoint.size + 1000)
    kept.write_bytes(_signed(scene, ahead.text))
    scene.write()
    scene.world.clock.run(seconds=2)
    scene.turn()
    with pytest.raises(LedgerBroken, match=r"anchor mount \(file\): it saw \d+ entries and here are \d+"):
        scene.notary.finish(10, forced=True)


def _signed(scene: Scene, text: str) -> bytes:
    from keyturn.log.note import Note, signature_of, to_sign  # noqa: PLC0415 - of the log, by hand

    return bytes(Note(text, (signature_of(scene.signer.key, scene.signer.sign(to_sign(text))),)))


def test_a_notary_is_built_from_the_wiring(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert notary_of(world.home, world.gate.ledger).anchors == ()
    with world.home.wiring.open("a") as wiring:
        wiring.write('\n[anchors.a]\nkind = "file"\npath = "x"\nevery = "30s"\n')
    notary = notary_of(world.home, world.gate.ledger)
    assert [(one.title, one.every) for one in notary.anchors] == [("anchor a (file)", 30.0)]
    (world.home.place.keys / "log.key").chmod(0o644)
    assert notary_of(world.home, world.gate.ledger).signer is None
    assert "no checkpoint can be signed" in caplog.text
    (world.home.place.keys / "log.key").unlink()
    assert notary_of(world.home, world.gate.ledger).signer is None
    assert (
        "no checkpoint is signed for the anchors: the log key is not at hand (file:state/keys/log.key)" in caplog.text
    )
    with world.home.wiring.open("a") as wiring:
        wiring.write('\n[anchors.b]\nkind = "git"\npath = "nowhere"\n')
    with pytest.raises(ConfigurationError, match=r"anchors\.b\.path: .* is not a git repository"):
        notary_of(world.home, world.gate.ledger)


def test_a_ledger_that_cannot_be_read_for_the_moment_is_told_and_the_notary_goes_on(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.write()
    closed = scene.world.open().ledger
    closed.close()
    well, scene.notary.ledger = scene.notary.ledger, closed
    for _ in range(3):
        scene.turn()
    assert caplog.text.count("no checkpoint is signed or brought anywhere at present") == 1
    scene.notary.ledger = well
    scene.turn()
    scene.turn(SECONDS)
    assert scene.signed == scene.size


def test_a_note_of_nobodys_that_an_anchor_returns_is_not_recorded(scene: Scene, tmp_path: Path) -> None:
    class Odd(Outside):
        def put(self, offer: Offer) -> bytes:
            self.got.append(offer.checkpoint.size)
            return b"thank you\n"

    odd = Odd()
    with_anchor(scene, odd)
    scene.settle(lambda: scene.notary.failing)
    assert "no checkpoint" in scene.notary.failing["anchor own (witness)"]
    assert recorded(scene.world) == []
