"""Signed notes and checkpoints: by the vectors of others, and against everything that looks like one and is none."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.keys import BadKey, VerifyKey
from keyturn.log.note import (
    COSIGNATURE,
    ED25519,
    Note,
    NoteError,
    NoteKey,
    NoteSignature,
    parse_note,
    parse_note_key,
    signature_of,
    to_sign,
    verify_note,
)

PUBLIC = Path(__file__).parent.parent / "vectors" / "public"


def read(path: str) -> Any:
    return json.loads((PUBLIC / path).read_text())


class Signer:
    """A key pair that signs notes, under any name and as either kind."""

    def __init__(self, name: str, seed: int = 1, algorithm: int = ED25519) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = NoteKey(name, VerifyKey(self.private.public_key().public_bytes_raw()), algorithm)

    def sign(self, text: str, time: int | None = None) -> NoteSignature:
        return signature_of(self.key, self.private.sign(to_sign(text, time)), time)


TEXT = Checkpoint("shop/" + "0" * 32, 3, bytes(32)).text


@pytest.mark.parametrize("case", read("signed-note/open.json"), ids=lambda case: case["name"])
def test_notes_open_as_elsewhere(case: dict[str, Any]) -> None:
    keys = [parse_note_key(text) for text in case["vkeys"]]
    data = base64.b64decode(case["msg_b64"])
    if not case["ok"]:
        with pytest.raises(NoteError):
            verify_note(parse_note(data), keys)
        return
    note = parse_note(data)
    assert [signed.key.name for signed in verify_note(note, keys)] == case["verified"]
    assert bytes(note) == data


def test_a_note_is_signed_as_elsewhere() -> None:
    case = read("signed-note/sign.json")
    _, _, name, _, encoded = case["skey"].split("+", 4)
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(encoded)[1:])
    key = NoteKey(name, VerifyKey(private.public_key().public_bytes_raw()))
    line = signature_of(key, private.sign(to_sign(case["text"])))
    assert bytes(Note(case["text"], (line,))).decode() == case["want"]
    for text in case["bad_text"]:
        with pytest.raises(NoteError, match="ends in a newline"):
            to_sign(text)


def test_verifier_keys_are_read_as_elsewhere_and_no_neighbour_of_one_is() -> None:
    case = read("signed-note/vkeys.json")
    for text in case["good"]:
        assert str(parse_note_key(text)) == text
    good = case["good"][0]
    parts = {good[begin:end] for begin in range(len(good)) for end in range(begin, len(good) + 1)} - {good}
    bumped = {good[:at] + chr(ord(good[at]) + 1) + good[at + 1 :] for at in range(len(good))}
    for text in [*case["bad"], *parts, *bumped]:
        with pytest.raises(BadKey):
            parse_note_key(text)


@pytest.mark.parametrize("path", ["signed-note/c2sp_example.json", "checkpoint/sumdb_real.json"])
def test_real_notes_verify(path: str) -> None:
    case = read(path)
    (signed,) = verify_note(parse_note(case["note"].encode()), [parse_note_key(case["vkey"])])
    assert signed.time is None


@pytest.mark.parametrize("case", read("checkpoint/parse.json"), ids=lambda case: case["name"])
def test_checkpoints_are_read_as_elsewhere_but_for_roots_that_are_no_hashes(case: dict[str, Any]) -> None:
    with pytest.raises(NoteError, match="not 32 bytes" if case["ok"] else "checkpoint"):
        parse_checkpoint(case["body"])


def test_a_witness_cosigns_what_it_saw_and_when() -> None:
    case = read("witness/monkeys.json")
    note = parse_note(case["init"].encode())
    log, witness = parse_note_key(case["log_vkey"]), Signer("witness.example/w", 2, COSIGNATURE)
    head = parse_checkpoint(note.text)
    assert (head.origin, head.size) == ("monkeys", 5)
    cosigned = Note(note.text, (*note.signatures, witness.sign(note.text, 1_795_000_000)))
    signed = verify_note(parse_note(bytes(cosigned)), [log, witness.key])
    assert [(one.key.name, one.time) for one in signed] == [("monkeys", None), ("witness.example/w", 1_795_000_000)]


@pytest.mark.parametrize("case", read("cosignature/timestamp.json"), ids=["good", "a plain signature", "garbage"])
def test_the_time_of_a_cosignature_is_where_it_is_elsewhere(case: dict[str, Any]) -> None:
    line = f"\N{EM DASH} witness {case['sig']}\n"
    if "err" in case and "\n" in case["sig"]:
        with pytest.raises(NoteError):
            parse_note(f"text\n\n{line}".encode())
        return
    (signature,) = parse_note(f"text\n\n{line}".encode()).signatures
    assert ("err" in case) == (len(signature.blob) != 72)
    if "unix" in case:
        assert int.from_bytes(signature.blob[:8], "big") == case["unix"]


@pytest.mark.parametrize("time", [2**63, 2**64 - 1])
def test_a_cosignature_from_beyond_time_is_refused(time: int) -> None:
    witness = Signer("w", 2, COSIGNATURE)
    with pytest.raises(NoteError, match="cannot name the time"):
        to_sign(TEXT, time)
    message = f"cosignature/v1\ntime {time}\n{TEXT}".encode()
    line = NoteSignature("w", witness.key.id, time.to_bytes(8, "big") + witness.private.sign(message))
    with pytest.raises(NoteError, match="names a time beyond"):
        verify_note(Note(TEXT, (line,)), [witness.key])


def test_a_log_signature_does_not_pose_as_a_cosignature_nor_the_other_way_round() -> None:
    log, witness = Signer("w"), Signer("w", algorithm=COSIGNATURE)
    plain, timed = log.sign(TEXT), witness.sign(TEXT, 7)
    posing = NoteSignature("w", witness.key.id, (7).to_bytes(8, "big") + plain.blob)
    with pytest.raises(NoteError, match="does not verify"):
        verify_note(Note(TEXT, (posing,)), [witness.key])
    with pytest.raises(NoteError, match="does not verify"):
        verify_note(Note(TEXT, (NoteSignature("w", log.key.id, timed.blob[8:]),)), [log.key])
    with pytest.raises(NoteError, match="not a signature of this kind"):
        signature_of(log.key, bytes(64), 7)


def test_a_known_key_whose_signature_fails_rejects_the_note_whoever_else_signed_it() -> None:
    log, other = Signer("log"), Signer("other", 2)
    broken = NoteSignature("other", other.key.id, bytes(64))
    with pytest.raises(NoteError, match="the signature of other does not verify"):
        verify_note(Note(TEXT, (log.sign(TEXT), broken)), [log.key, other.key])
    assert len(verify_note(Note(TEXT, (log.sign(TEXT), broken)), [log.key])) == 1


def test_the_same_name_with_another_key_is_a_stranger() -> None:
    log, stranger = Signer("log"), Signer("log", 2)
    with pytest.raises(NoteError, match="none of the known keys"):
        verify_note(Note(TEXT, (stranger.sign(TEXT),)), [log.key])


def test_one_key_under_two_names_signs_for_each_alone() -> None:
    one, two = Signer("one"), Signer("two")
    with pytest.raises(NoteError, match="none of the known keys"):
        verify_note(Note(TEXT, (one.sign(TEXT),)), [two.key])
    with pytest.raises(NoteError, match="none of the known keys"):
        verify_note(Note(TEXT, (NoteSignature("two", one.key.id, one.sign(TEXT).blob),)), [two.key])


def test_two_known_keys_that_answer_to_one_claim_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Signer("log"), Signer("log", 2)
    monkeypatch.setattr(NoteKey, "id", property(lambda _: b"same"))  # 32 bits collide for whoever tries long enough
    with pytest.raises(NoteError, match="nobody can tell"):
        verify_note(Note(TEXT, (one.sign(TEXT),)), [one.key, two.key])


@pytest.mark.parametrize("size", ["+3", "03", "-1", "1_0", "٣", " 3", "3 ", "", str(2**63), "9" * 20, "3.0", "0x3"])
def test_a_size_is_written_in_one_way(size: str) -> None:
    with pytest.raises(NoteError, match="line 2"):
        parse_checkpoint(TEXT.replace("\n3\n", f"\n{size}\n"))


@pytest.mark.parametrize(
    "root", ["A" * 43, "A" * 44, "B" * 42 + "B=", "A" * 43 + "=\r", " " + "A" * 43 + "=", "_" * 43 + "="]
)
def test_a_root_is_written_in_one_way(root: str) -> None:
    with pytest.raises(NoteError, match="line 3"):
        parse_checkpoint(f"log\n3\n{root}\n")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data + b"garbage\n",
        lambda data: data.replace(b"\n\n", b"\n"),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf\x00" + data,
        lambda data: data.replace("\N{EM DASH}".encode(), b"-"),
        lambda data: data.replace(b"= ", b"=  "),
        lambda data: data[:-2] + b"\n",
        lambda data: data.replace("\N{EM DASH} log ".encode(), "\N{EM DASH} l+g ".encode()),
        lambda data: b"\xff" + data,
        lambda data: data + data.splitlines(keepends=True)[-1] * 100,
        lambda data: b"x" * 70_000 + data,
    ],
)
def test_a_note_that_is_damaged_is_refused(damage: Any) -> None:
    log = Signer("log")
    data = bytes(Note(TEXT, (log.sign(TEXT),)))
    damaged = damage(data)
    if damaged != data:
        with pytest.raises(NoteError):
            verify_note(parse_note(damaged), [log.key])


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_read_back_to_the_byte(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteError:
        return
    assert bytes(note) == data


@given(
    st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(st.from_regex(r"[!-~]+", fullmatch=True))
)
def test_what_a_checkpoint_says_is_read_back(size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint("log", size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint.text) == checkpoint
