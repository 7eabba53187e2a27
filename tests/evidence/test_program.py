"""The program as a program, and its readers: what they take, the package takes, and nothing else."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyturn.evidence import verify as program
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import EntryError, read_entry
from keyturn.log.keys import BadKey
from keyturn.log.note import NoteError, parse_note, parse_note_key
from keyturn.model.sshkey import PublicKey
from tests.evidence.bundling import Members, bundle_in, zipped
from tests.vectors.reading import load, names
from tests.vectors.story import LOG_KEY, OTHER_KEY, VERIFIER
from tests.verifier import outside
from tests.verifier.world import Thief, World


def ran(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    """Run the program in this process."""
    monkeypatch.setattr(sys, "argv", ["verify.py", *words])
    code = program.main()
    return code, capsys.readouterr().out


def test_the_words_of_a_good_report(
    bundle: Path, good: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = ran(capsys, monkeypatch, str(bundle), "--key", good.verifier)
    lines = said.splitlines()
    assert (code, lines[0]) == (0, f"PASS-UNANCHORED: {good.verifier}")
    assert any(line.startswith(f"open intent: action {good.actions['begun']}") for line in lines)
    assert any(line.startswith(f"unknown outcome: action {good.actions['unknown']}") for line in lines)
    assert lines[-1].startswith("the policy was not re-derived")


def test_the_words_of_a_bad_bundle_cannot_steer_a_terminal(
    members: Members, good: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, "\x1b[2Jx": b""}))
    code, said = ran(capsys, monkeypatch, str(file), "--key", good.verifier)
    assert code == 7
    assert said.startswith("FAIL: nothing of a log was proved")
    assert "\x1b" not in said


def test_who_has_seen_the_end_is_told(
    thief: Thief, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, size = outside.Witness(), len(thief.all)
    outside.record_anchor(thief, size, outside.note(thief.world, size, one))
    bundle, kept = bundle_in(tmp_path, thief.world), tmp_path / "kept"
    kept.write_bytes(outside.receipt(thief.world, 5))
    words = [str(bundle), "--key", thief.world.verifier, "--witness", one.vkey, "--against", str(kept)]
    code, said = ran(capsys, monkeypatch, *words)
    assert code == 0
    assert said.startswith("PASS: ")
    assert f"the first {size} entries were seen by {one.name}+" in said
    code, said = ran(capsys, monkeypatch, *words, "--json")
    assert (code, json.loads(said)["verdict"]) == (0, "PASS")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda it: it,
        lambda it: {"_meta": {"io.keyturn/receipt": it}},
        lambda it: {"result": {"_meta": {"io.keyturn/receipt": it}}},
    ],
)
def test_a_receipt_is_found_where_results_carry_it(good: World, tmp_path: Path, wrap: object) -> None:
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(wrap(json.loads(outside.receipt(good, 3)))), "utf-8")  # type: ignore[operator]  # one of three
    assert program.read_brought(str(file)).size == 4


@pytest.mark.parametrize(
    "text", ["{}", '{"payload": 1}', "hello", '{"payload": "e30=", "signatures": []}', "[" * 9999]
)
def test_what_is_no_receipt_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "receipt.json"
    file.write_text(text, "utf-8")
    with pytest.raises(ValueError):
        program.read_brought(str(file))


NOTE = (
    b"acme/0123456789abcdef0123456789abcdef\n20\n" + base64.b64encode(bytes(range(32))) + b"\n\n"
    + "\N{EM DASH} acme/0123456789abcdef0123456789abcdef ".encode() + base64.b64encode(bytes(68)) + b"\n"
)  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, len(NOTE)), st.integers(0, 2), st.binary(min_size=1, max_size=3)), max_size=3)
)
@example([])
@settings(max_examples=300, deadline=None)
def test_a_changed_note_is_taken_by_both_or_by_neither(edits: list[tuple[int, int, bytes]]) -> None:
    data = NOTE
    for place, cut, put in edits:
        data = data[:place] + put + data[place + cut :]
    try:
        known = parse_checkpoint(parse_note(data).text)
    except NoteError:
        with pytest.raises(ValueError):
            program.Note(data)
    else:
        read = program.Note(data)
        assert (read.origin, read.size, read.root) == (known.origin, known.size, known.root)


VKEY = str(VERIFIER)


@given(st.integers(0, len(VKEY)), st.integers(0, 2), st.text(max_size=2))
@settings(max_examples=200, deadline=None)
def test_a_changed_verifier_key_is_taken_by_both_or_by_neither(place: int, cut: int, put: str) -> None:
    text = VKEY[:place] + put + VKEY[place + cut :]
    try:
        known = parse_note_key(text)
    except (BadKey, ValueError):
        with pytest.raises(ValueError):
            program.NoteKey(text)
    else:
        assert program.NoteKey(text).id == known.id


KEY_LINES = [
    f"ssh-ed25519 {base64.b64encode(b''.join(len(p).to_bytes(4, 'big') + p for p in (b'ssh-ed25519', raw))).decode()}"
    for raw in (LOG_KEY.public.raw, OTHER_KEY.public.raw, bytes([1]) + bytes(31), b"\xff" * 32, b"short")
]


@pytest.mark.parametrize(
    "line", [*KEY_LINES, "ssh-dss AAAA", "ssh-ed25519", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==", ""]
)
def test_a_persons_key_is_taken_by_both_or_by_neither(line: str) -> None:
    try:
        known = PublicKey.parse(line)
    except ValueError:
        with pytest.raises(ValueError):
            program.ssh_key_of(line)
    else:
        assert program.line_of(program.ssh_key_of(line)) == known.line


def bodies() -> list[bytes]:
    return [load(f"entries/{name}.json")["body"].encode() for name in names("entries")]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_changed_body_is_an_entry_for_both_or_for_neither(data: st.DataObject) -> None:
    """Each value of an entry of each kind is replaced by another: only what its kind defines is taken."""
    body = json.loads(data.draw(st.sampled_from(bodies())))
    place = body
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name]:
            break
        place = place[name]
    name = data.draw(st.sampled_from(sorted(place)))
    other = st.sampled_from(
        [None, True, 0, 1, -1, 2**53 - 1, "", "x", "x" * 201, "a\u202eb", [], ["x"], [1], {}, {"x": 1}, "0" * 32,
         "0" * 64, "sha256:" + "0" * 64, "2026-11-21T09:00:00.000000Z", "2026-02-30T09:00:00.000000Z", "AA==", "all",
         "019aa5b2-7d80-7000-8000-000000000001", "AB==", "hold", "approve", {"type": "person", "name": "x"}]
    )  # fmt: skip
    if data.draw(st.booleans()):
        place[name] = data.draw(other)
    else:
        del place[name]
    changed = program.canonical(body)
    try:
        read_entry(changed, bytes(64))
    except EntryError:
        with pytest.raises(program.Bad):
            parsed(changed)
    else:
        assert parsed(changed) == body


def parsed(body: bytes) -> dict[str, object]:
    return program.Log.parsed(program.Row(0, body, b"", b"", {}))
