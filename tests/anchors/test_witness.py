"""The client of a witness: believes its signature over what was sent and nothing else, and asks twice at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyturn.anchors import Keeper, witness
from keyturn.anchors.witness import SKEW, WitnessAnchor
from keyturn.log.note import COSIGNATURE, Note, NoteSignature, parse_note, to_sign, verify_note
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.witness.answering import Cosigner, Witness
from keyturn.witness.store import Store, create_store
from tests.anchors.world import BEGAN, now, offer, settings, world
from tests.connectors.http.server import Heard, Saying, Script, Server, said
from tests.log.test_note import Signer
from tests.witness.test_witness import FORKED, KEY, LOG, TREE

CONFLICT = "text/x.tlog.size"
Serve = Callable[..., WitnessAnchor]


@dataclass
class Honest:
    """A real witness behind the wire; `heard` counts what it was asked."""

    witness: Witness
    heard: list[bytes] = field(default_factory=list)

    def __call__(self, heard: Heard) -> Saying:
        self.heard.append(heard.body)
        reply = self.witness.add_checkpoint(heard.body)
        return said(reply.status, raw=reply.body, Content_Type=reply.content_type)


@pytest.fixture
def honest(tmp_path: Path) -> Honest:
    create_store(tmp_path / "witness.db")
    cosigner = Cosigner(KEY.key, KEY.private.sign)
    return Honest(Witness(Store(tmp_path / "witness.db"), {LOG.key.name: [LOG.key]}, [cosigner], now))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(script: Script, **given: Any) -> WitnessAnchor:
            server = stack.enter_context(Server(script))
            return built(tmp_path, server.url, **given)

        yield start


def built(folder: Path, url: str, **given: Any) -> WitnessAnchor:
    chosen = {"verifier": str(KEY.key), "timeout": 10, "deadline": 20, **given}
    return witness.build("w", settings(witness, kind="witness", url=url, private=True, **chosen), world(folder))


def signers(note: bytes) -> list[str]:
    return [line.name for line in parse_note(note).signatures]


def cosigned(size: int, text: str = "", signer: Signer = KEY, time: int | None = None) -> bytes:
    at = int(now()) if time is None else time
    return f"{signer.sign(text or TREE.note(size).text, at)}\n".encode()


def test_a_checkpoint_comes_back_with_the_witness_behind_the_log(serve: Serve, honest: Honest) -> None:
    anchor = serve(honest)
    assert not isinstance(anchor, Keeper)
    note = anchor.put(offer(10))
    assert signers(note) == [LOG.key.name, KEY.key.name]
    assert len(verify_note(parse_note(note), [LOG.key, KEY.key])) == 2
    anchor.put(offer(200, last=10))
    anchor.put(offer(200, last=200))
    assert len(honest.heard) == 3


def test_the_size_that_the_witness_tells_is_taken_once(serve: Serve, honest: Honest) -> None:
    anchor = serve(honest)
    anchor.put(offer(10))
    anchor.put(offer(20))
    anchor.put(offer(30, last=7))
    assert [body.partition(b"\n")[0] for body in honest.heard] == [b"old 0", b"old 0", b"old 10", b"old 7", b"old 20"]


def test_a_rolled_back_or_forked_log_is_told_and_gets_no_cosignature(serve: Serve, honest: Honest) -> None:
    anchor = serve(honest)
    anchor.put(offer(20))
    with pytest.raises(
        ConnectorError, match="saw 20 entries of this log and is offered 9: the ledger went backwards"
    ):
        anchor.put(offer(9))
    with pytest.raises(ConnectorError, match="takes the proof of growth for none"):
        anchor.put(offer(30, FORKED, last=20))
    with pytest.raises(ConnectorError, match="cosigned another tree of 20 entries"):
        anchor.put(offer(20, FORKED, last=20))
    with pytest.raises(ConnectorError, match="cosigned another tree of 20 entries"):
        anchor.put(offer(20, FORKED))


LIES: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "none of the known keys"),
    ("garbage", b"\xff\xfe", "not UTF-8"),
    ("a page", b"<html>\n", "em dash"),
    ("another key", cosigned(10, signer=Signer("witness.example/w2", 7, COSIGNATURE)), "none of the known keys"),
    ("another key of its name", cosigned(10, signer=Signer(KEY.key.name, 7, COSIGNATURE)), "none of the known keys"),
    ("its key over another checkpoint", cosigned(10, TREE.note(9).text), "does not verify"),
    ("an old time", cosigned(10, time=int(BEGAN - SKEW - 1)), "a time that cannot be"),
    ("no time", cosigned(10, time=0), "a time that cannot be"),
    ("a time to come", cosigned(10, time=int(now() + 10 * SKEW)), "a time that cannot be"),
]


@pytest.mark.parametrize(("answer", "why"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_what_a_lying_witness_answers_is_not_believed(serve: Serve, answer: bytes, why: str) -> None:
    with pytest.raises(ConnectorError, match=why):
        serve(lambda _: said(raw=answer)).put(offer(10))


def test_a_cosignature_over_a_longer_text_that_begins_with_the_note_is_not_believed(serve: Serve) -> None:
    text = bytes(TREE.note(10)).decode()
    line = KEY.sign(text, int(now()))
    with pytest.raises(ConnectorError, match="another text than it was sent"):
        serve(lambda _: said(raw=f"\n{line}\n".encode())).put(offer(10))


def test_of_an_answer_only_the_named_witness_is_kept(serve: Serve) -> None:
    other = cosigned(10, signer=Signer("witness.example/w2", 7, COSIGNATURE))
    note = serve(lambda _: said(raw=other + cosigned(10))).put(offer(10))
    assert signers(note) == [LOG.key.name, KEY.key.name]


def test_a_signature_of_the_log_posing_as_a_cosignature_is_not_believed(serve: Serve) -> None:
    note = TREE.note(10)
    posing = NoteSignature(KEY.key.name, KEY.key.id, LOG.private.sign(to_sign(note.text)))
    with pytest.raises(ConnectorError, match="did not cosign"):
        serve(lambda _: said(raw=f"{posing}\n".encode())).put(offer(10))
    assert isinstance(note, Note)


@pytest.mark.parametrize("body", [b"", b"x\n", b"-1\n", b"010\n", b"5", b"9223372036854775808\n", b"10\n10\n"])
def test_a_conflict_without_a_size_of_the_one_form_is_told(serve: Serve, body: bytes) -> None:
    asked: list[int] = []

    def script(heard: Heard) -> Saying:
        asked.append(heard.number)
        return said(409, raw=body, Content_Type=CONFLICT)

    anchor = serve(script)
    with pytest.raises(ConnectorError, match=r"409|takes no proof"):
        anchor.put(offer(10))
    assert len(asked) <= 2


def test_a_conflict_again_and_again_ends_after_the_second(serve: Serve) -> None:
    asked: list[int] = []

    def script(heard: Heard) -> Saying:
        asked.append(heard.number)
        return said(409, raw=b"%d\n" % (len(asked) + 1), Content_Type=CONFLICT)

    with pytest.raises(ConnectorError, match="said first that it saw 2 entries of this log, and then 3; another"):
        serve(script).put(offer(10))
    assert len(asked) == 2


@pytest.mark.parametrize("last", [0, 5])
def test_a_conflict_with_the_size_it_was_asked_for_says_nothing_of_the_ledger(serve: Serve, last: int) -> None:
    conflict = said(409, raw=b"5\n", Content_Type=CONFLICT)
    with pytest.raises(ConnectorError, match="says that it saw 5 entries of this log, and takes no proof from there"):
        serve(lambda _: conflict).put(offer(10, last=last))


def test_a_conflict_of_another_type_is_no_size(serve: Serve) -> None:
    with pytest.raises(ConnectorError, match="without the size"):
        serve(lambda _: said(409, raw=b"5\n", Content_Type="text/plain")).put(offer(10))


@pytest.mark.parametrize(
    ("status", "why"), [(404, "does not know this log"), (403, "does not know the key"), (400, "answered 400")]
)
def test_a_refusal_says_what_has_to_be_done(serve: Serve, status: int, why: str) -> None:
    with pytest.raises(ConnectorError, match=why):
        serve(lambda _: said(status)).put(offer(10))


def test_a_slow_witness_and_one_that_is_gone_are_told_in_time(serve: Serve, tmp_path: Path) -> None:
    anchor = serve(lambda _: Saying((), "hold"), timeout=1, deadline=2)
    began = now()
    with pytest.raises(ConnectorError, match="within"):
        anchor.put(offer(10))
    assert now() - began < anchor.seconds
    with Server(lambda _: said()) as server:
        url = server.url
    with pytest.raises(ConnectorError, match="cannot be reached"):
        built(tmp_path, url).put(offer(10))


@pytest.mark.parametrize(
    ("verifier", "why"), [("nonsense", "has the form"), (str(LOG.key), "the key of a log, not of a witness")]
)
def test_a_key_that_is_no_witnesss_is_refused(tmp_path: Path, verifier: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"anchors\.w\.verifier: .*{why}"):
        built(tmp_path, "http://127.0.0.1:1", verifier=verifier)
