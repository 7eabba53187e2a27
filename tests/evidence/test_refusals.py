"""What the one-file program refuses by itself, part by part, and the words it has for what is rare."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyturn.evidence import verify as program
from keyturn.ledger.keys import make_key
from keyturn.log.note import Note
from keyturn.log.tree import root_of
from tests.evidence.bundling import Members, Rows, asked, both, bundle_of, checkpoint_of, first_bad, zipped
from tests.evidence.test_program import ran
from tests.vectors.story import OTHER_KEY, VERIFIER
from tests.verifier import outside
from tests.verifier.outside import Witness
from tests.verifier.world import World

P256 = program.CURVES[b"nistp256"]
RAW = OTHER_KEY.public.raw


def wire(*fields: bytes) -> bytes:
    """Write strings as SSH does."""
    return b"".join(struct.pack(">I", len(field)) + field for field in fields)


KEY = wire(b"ssh-ed25519", RAW)
HARDWARE = b"sk-ssh-ed25519@openssh.com"
KEYS: dict[str, tuple[bytes, str]] = {
    "too large": (wire(b"ssh-ed25519", bytes(5000)), "too large"),
    "no application": (wire(HARDWARE, RAW, b""), "names no application"),
    "an application that is no text": (wire(HARDWARE, RAW, b"ssh:\n"), "names no application"),
    "RSA of eight bits": (wire(b"ssh-rsa", b"\3", b"\x7f"), "too short"),
    "ECDSA without a point": (wire(b"ecdsa-sha2-nistp256", b"nistp256", b"\4"), "not a point"),
    "ECDSA of another curve": (wire(b"ecdsa-sha2-nistp256", b"nistp384", b"\4" + bytes(96)), "not a point"),
    "a number that is padded": (wire(b"ssh-rsa", b"\0\3", b"\x7f"), "padded"),
    "a number below zero": (wire(b"ssh-rsa", b"\xff", b"\x7f"), "not positive"),
    "bytes left over": (KEY + b"\0", "left over"),
    "a type nobody takes": (wire(b"ssh-dss", RAW), "not accepted"),
}


@pytest.mark.parametrize(("blob", "words"), KEYS.values(), ids=KEYS.keys())
def test_a_persons_key_of_another_form_is_refused(blob: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        program.SshKey(blob)


def test_a_line_whose_type_is_not_that_of_its_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="not that of its bytes"):
        program.ssh_key_of("ssh-rsa " + base64.b64encode(KEY).decode())


def test_no_more_keys_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "KEYS", {bytes([n >> 8, n & 255]): program.SshKey(KEY) for n in range(4096)})
    assert program.ssh_key(KEY).blob == KEY
    assert list(program.KEYS) == [KEY]


def signed(
    *, key: bytes = KEY, reserved: bytes = b"", name: bytes = b"sha512", kind: bytes = b"ssh-ed25519"
) -> bytes:
    inner = wire(kind, bytes(64)) + (b"\1\0\0\0\1" if key != KEY else b"")
    return b"SSHSIG" + struct.pack(">I", 1) + wire(key, b"here", reserved, name, inner)


SIGNATURES: dict[str, tuple[bytes, str]] = {
    "too large": (bytes(9000), "too large"),
    "of another version": (b"SSHSIG" + struct.pack(">I", 2), "version 1"),
    "with something reserved": (signed(reserved=b"x"), "not of the form"),
    "over another hash": (signed(name=b"md5"), "not of the form"),
    "of another type than its key": (signed(kind=b"ssh-rsa"), "not of the key's type"),
    "by hardware for something else": (signed(key=wire(HARDWARE, RAW, b"web:x"), kind=HARDWARE), "not bound to ssh:"),
}


@pytest.mark.parametrize(("blob", "words"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_a_persons_signature_of_another_form_is_refused(blob: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        program.ssh_verify(b"message", blob, b"here")


def test_what_is_no_point_or_no_signature_verifies_nothing() -> None:
    assert program.point_of(b"\xff" * 32) is None
    assert not program.Ed25519Key(bytes([2]) + bytes(31)).verifies(b"", bytes(64))
    point = (P256.x, P256.y)
    assert program.plus(P256, point, (P256.x, P256.p - P256.y)) is None
    assert program.plus(P256, None, point) == point
    assert not program.ecdsa_verifies(P256, point, 0, 1, b"")
    assert not program.ecdsa_verifies(P256, (P256.x, P256.y + 1), 1, 1, b"")
    assert not program.rsa_verifies(3, 2**2048 - 1, b"short", b"")


def vkey(name: str, algorithm: int, raw: bytes = RAW, key_id: str | None = None) -> str:
    data = bytes([algorithm]) + raw
    found = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4].hex()
    return f"{name}+{key_id or found}+{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "has the form"),
        (vkey("a b", 1), "has the form"),
        (vkey("x", 2), "neither of a log nor of a witness"),
        (vkey("x", 1, key_id="00000000"), "does not belong"),
        (vkey("x", 1, bytes(32)), "small order"),
        (vkey("x", 1, b"short"), "32 bytes"),
        (vkey("x", 1, b"\xfe" + b"\xff" * 31), "not canonically"),
        (vkey(VERIFIER.origin, 4), "not the verifier string of a log"),
        (vkey("no origin of a log".replace(" ", "-"), 1), "not the verifier string of a log"),
    ],
)
def test_a_verifier_string_of_another_form_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        program.log_key_of(text)


HEAD, LINE = f"{VERIFIER.origin}\n1\n{base64.b64encode(bytes(32)).decode()}\n", "\N{EM DASH} x AAAAAAA=\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * 70_000, "too large"),
        ("a\tb\n\n" + LINE, "no signed note"),
        (HEAD + LINE, "no signed note"),
        (HEAD + "\n" + LINE * 101, "too many signatures"),
        (HEAD + "\n" + LINE.replace("x", "x y"), "no signature"),
        (HEAD + "\n\N{EM DASH} x AAAAAA==\n", "no signature"),
        ("a\n1\n\n" + LINE, "no checkpoint"),
        (HEAD.replace("\n1\n", "\n01\n") + "\n" + LINE, "no checkpoint"),
        (HEAD.replace("\n1\n", f"\n{2**63}\n") + "\n" + LINE, "no checkpoint"),
        ("a\n1\nAAAA\n\n" + LINE, "no checkpoint"),
    ],
)
def test_a_note_of_another_form_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        program.Note(text.encode())


def test_a_note_of_another_log_or_unsigned_by_its_own_is_not_believed() -> None:
    note, log = program.Note((HEAD + "\n" + LINE).encode()), program.NoteKey(str(VERIFIER))
    with pytest.raises(ValueError, match="has not signed"):
        note.cosigned(log, [])
    with pytest.raises(ValueError, match="another log"):
        note.cosigned(program.NoteKey(vkey("other", 1)), [])


def test_the_root_of_every_earlier_size_is_known_in_a_tree_of_several_tiles() -> None:
    leaves = [hashlib.sha256(b"%d" % n).digest() for n in range(700)]
    tree = program.Tree(lambda level, index: nodes(leaves, 8 * level, 256 * index, 256))
    for leaf in leaves:
        tree.add(leaf)
    for size in (1, 2, 255, 256, 257, 511, 512, 513, 600, 700):
        assert tree.root(size) == root_of(size, partial(nodes, leaves))


def nodes(leaves: list[bytes], level: int, first: int, count: int) -> list[bytes]:
    """Return nodes of a level, each over 2^level leaves."""
    below = leaves
    for _ in range(level):
        below = [program.node_hash(one, two) for one, two in zip(below[::2], below[1::2], strict=False)]
    return below[first : first + count]


# ----------------------------------------------------------------------------------------------- the program as such


def test_a_doctored_program_in_a_bundle_changes_no_verdict(members: Members, good: World, tmp_path: Path) -> None:
    """Who takes the program from elsewhere is not told PASS by the one that lies beside the evidence."""
    doctored = {**members, "verify.py": b"import sys\nprint('PASS')\nsys.exit(0)\n"}
    fine, bad = tmp_path / "fine.zip", tmp_path / "bad.zip"
    fine.write_bytes(zipped(doctored))
    signatures = bytearray(members["signatures/000"])
    signatures[64 * 7] ^= 1
    bad.write_bytes(zipped({**doctored, "signatures/000": bytes(signatures)}))
    assert both(fine, good.verifier) == (("PASS-UNANCHORED", None, None),) * 2
    assert both(bad, good.verifier) == (("FAIL", 7, 5),) * 2
    assert first_bad(asked(bad, good.verifier, "--jobs", "2")) == ("FAIL", 7, 5)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *words: ran(capsys, monkeypatch, *map(str, words))


def test_who_asks_for_an_anchor_is_told_that_there_is_none(run: Run, bundle: Path, good: World) -> None:
    assert run(bundle, "--key", good.verifier, "--require-anchor")[0] == 11
    assert run(bundle, "--key", good.verifier)[0] == 0


def test_a_file_that_cannot_be_read_gets_no_verdict(run: Run, good: World, tmp_path: Path) -> None:
    assert run(tmp_path / "none.zip", "--key", good.verifier) == (1, "")


@pytest.mark.parametrize("more", [("--witness", str(VERIFIER)), ("--against", "/nowhere/at/all"), ("--witness", "x")])
def test_what_is_given_wrong_is_a_wrong_command(run: Run, bundle: Path, good: World, more: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(bundle, "--key", good.verifier, *more)
    assert ended.value.code == 2


def test_what_was_kept_of_more_entries_than_there_are_tells_that_the_end_was_cut(
    run: Run, good: World, tmp_path: Path
) -> None:
    rows, kept, short = Rows.of(good.database), tmp_path / "kept", tmp_path / "short.zip"
    kept.write_bytes(outside.receipt(good, len(rows.bodies) - 1))
    rows.bodies = rows.bodies[:-2]
    short.write_bytes(bundle_of(rows, good.verifier, checkpoint_of(rows, good.verifier, good.log_key.sign)))
    code, said = run(short, "--key", good.verifier, "--against", kept)
    assert (code, "proof 15" in said, "it was cut off" in said) == (7, True, True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_work_is_told_on_a_terminal_and_short_work_is_not() -> None:
    screen = Terminal()
    with contextlib.redirect_stderr(screen):
        program.watch(100)(50)
        assert screen.getvalue() == ""
        told = program.watch(5_000)
        told(256)
        told(5_000)
    assert screen.getvalue() == "\r256 of 5000\r5000 of 5000\n"


def test_everything_rare_has_its_line(run: Run, bundle: Path, good: World) -> None:
    opened = program.Bundle(str(bundle))
    with contextlib.closing(opened):
        examination = program.Examination(opened, program.log_key_of(good.verifier), [], [], 1)
        told: dict[str, Any] = program.as_json(examination.run(lambda done: None), examination)
    told |= {"withheld": 3, "erased": 2}
    words = "\n".join(program.lines_of(told))
    assert "withheld: 3 payloads" in words
    assert "erased: 2 payloads" in words


def test_an_obligation_lets_more_people_count_once_it_escalates() -> None:
    obligation = {"reviewers": ["alice"], "escalate": [{"after": 60, "reviewers": ["carol", "bob"]}]}
    action = program.Action(
        {"action": "a", "seq": 1, "ts": "2026-11-21T09:00:00.000000Z", "expires_at": "2026-11-21T10:00:00.000000Z",
         "excluded": ["bob"]}, "00")  # fmt: skip
    assert action.eligible(obligation, program.time_of("2026-11-21T09:00:59.000000Z")) == ["alice"]
    assert action.eligible(obligation, program.time_of("2026-11-21T09:01:00.000000Z")) == ["alice", "carol"]


@pytest.mark.parametrize(("ended", "over"), [("unknown", False), ("failed", True)])
def test_an_action_of_unknown_outcome_is_not_over(ended: str, over: bool) -> None:
    at = program.time_of("2026-11-21T09:00:00.000000Z")
    action = program.Action(
        {"action": "a", "seq": 1, "ts": "2026-11-21T09:00:00.000000Z", "expires_at": "2026-11-21T10:00:00.000000Z"},
        "00",
    )
    action.ended, action.ended_at = ended, at
    assert action.over_since(at) == (at if over else None)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((Witness(), Witness(name="witness.example/two")), "have one key: name it once"),
        # Found by trying: two seeds whose keys have one four-byte id under this name.
        (tuple(Witness(seed=seed.to_bytes(32, "big")) for seed in (98_955, 123_298)), "two witnesses answer to"),
    ],
    ids=["one key", "one name and id"],
)
def test_witnesses_that_nobody_can_tell_apart_are_refused(pair: tuple[Witness, Witness], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        program.read_witnesses([one.vkey for one in pair])


def test_a_key_that_is_named_twice_is_one_witness_and_one_of_a_log_is_none() -> None:
    (only,) = program.read_witnesses([Witness().vkey, f" {Witness().vkey}\n"])
    assert only.name == Witness().name
    with pytest.raises(ValueError, match="not that of a witness"):
        program.read_witnesses([str(VERIFIER)])


def test_a_checkpoint_of_no_entries_is_none_to_bring(good: World, tmp_path: Path) -> None:
    text = outside.text_of(good, 0, hashlib.sha256().digest())
    file = tmp_path / "none.txt"
    file.write_bytes(bytes(Note(text, (outside.log_signature(good, text),))))
    with pytest.raises(ValueError, match="a checkpoint of no entries"):
        program.read_brought(str(file))


@pytest.mark.parametrize("bad", [-1, 0, 2])
def test_of_several_signatures_the_first_that_is_not_its_keys_is_named(bad: int) -> None:
    keys = [make_key(bytes([place]) * 32) for place in (1, 2, 1, 2)]
    bodies = [b"body %d" % place for place in range(4)]
    work = [
        (key.public.raw, body if place < bad or bad < 0 else body + b"!", key.sign(program.pae("entry", body)))
        for place, (key, body) in enumerate(zip(keys, bodies, strict=True))
    ]
    assert program.first_bad_signature(work) == bad
