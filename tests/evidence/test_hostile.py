"""Bundles and words of somebody hostile: both verifiers refuse them alike, soon, and without much memory."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from keyturn.evidence import verify as program
from keyturn.ledger.keys import make_key
from keyturn.log.note import COSIGNATURE, Note, NoteKey, signature_of, to_sign
from keyturn.model.errors import ConfigurationError
from keyturn.verifier import verify_ledger
from keyturn.verifier.bundle import open_bundle
from keyturn.verifier.erased import named_in
from tests.evidence.bundling import Members, Rows, asked, both, bundle_in, bundle_of, first_bad, zipped
from tests.verifier import outside
from tests.verifier.outside import Witness
from tests.verifier.test_thief import activation
from tests.verifier.world import Thief, World, policy_text

LAST = struct.Struct("<4s4H2LH")


def before(members: Members) -> bytes:
    return b"PK\3\4 a member of another archive " + zipped(members)


def before_and_counted(members: Members) -> bytes:
    """Put bytes before the ZIP that all its places count from."""
    out = BytesIO(b"PK\3\4 a member of another archive")
    out.seek(0, 2)
    with zipfile.ZipFile(out, "a") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def behind(members: Members) -> bytes:
    return zipped(members) + b"and more"


def within(members: Members) -> bytes:
    """Let a note lie inside another member, whose bytes nobody checks."""
    note, name = members["checkpoint"], b"anchors/7.note"
    header = struct.pack(
        "<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 33, zlib.crc32(note), *[len(note)] * 2, len(name), 0
    )
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for known, data in members.items():
            archive.writestr(known, header + name + note + bytes(5000) if known == "verify.py" else data)
        inner = zipfile.ZipInfo(name.decode())
        inner.CRC, inner.compress_size, inner.file_size = zlib.crc32(note), len(note), len(note)
        inner.header_offset = archive.getinfo("verify.py").header_offset + 30 + len("verify.py")
        archive.filelist.append(inner)
    return out.getvalue()


def told_twice(members: Members) -> bytes:
    """Let the last record name an empty directory, and one for large files name the real one."""
    data = zipped(members)
    mark, *disks, count, size, place, _ = LAST.unpack(data[-LAST.size :])
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, place)
    there = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - LAST.size, 1)
    return data[: -LAST.size] + large + there + LAST.pack(mark, *disks[:2], 0, 0, 0, place + size, 0)


@pytest.mark.parametrize("made", [before, before_and_counted, behind, within, told_twice])
def test_a_zip_that_another_reader_could_see_otherwise_fails_for_both(
    made: Callable[[Members], bytes], members: Members, good: World, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(made(members))
    assert both(file, good.verifier) == (("FAIL", None, 8),) * 2


def names(count: int) -> bytes:
    return b",".join(b'"%06d":0' % place for place in range(count))


TABLES = {
    "lists": b"[" + b"[]," * 2_000_000 + b"[]]",
    "lists in an entry": b'{"0":' + b"[" + b"[]," * 2_000_000 + b"[]]}",
    "more payloads than entries commit to": b'{"0":{%s}}'
    % b",".join(b'"a%06d":{"data":"","salt":""}' % place for place in range(200_000)),
    "a name twice behind many": b"{" + names(400_000) + b',"000000":0}',
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_payloads_that_would_become_gigabytes_are_refused_before_they_are_read(
    table: bytes, members: Members, good: World, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, "payloads/000.json": table}))
    tracemalloc.start()
    try:
        report = verify_ledger(file, pinned=good.verifier)
        opened = program.Bundle(str(file))
        with pytest.raises(program.Bad, match="no table of payloads"):
            list(opened.rows())
        opened.close()
        assert tracemalloc.get_traced_memory()[1] < 4 * len(table) + (4 << 20)
    finally:
        tracemalloc.stop()
    assert report.first_bad is not None
    assert report.first_bad.proof == 8
    assert "no table of payloads" in report.first_bad.reason


POOR = """
import os, resource, sys
from pathlib import Path
from keyturn.evidence import verify
from keyturn.model.errors import LedgerError
from keyturn.verifier import verify_ledger
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + (32 << 20), resource.RLIM_INFINITY))
which, bundle, key = sys.argv[1:]
if which == "package":
    try:
        verify_ledger(Path(bundle), pinned=key)
    except LedgerError as error:
        sys.exit(str(error))
sys.argv = ["verify.py", bundle, "--key", key]
sys.exit(verify.main())
"""


@pytest.mark.parametrize("which", ["package", "program"])
def test_without_the_memory_that_payloads_take_there_is_no_verdict_and_a_sentence(
    which: str, members: Members, good: World, tmp_path: Path
) -> None:
    table = b'{"0":{"a":{"data":"%s","salt":""}}}' % (b"A" * (24 << 20))
    (file := tmp_path / "bundle.zip").write_bytes(zipped({**members, "payloads/000.json": table}))
    command = [sys.executable, "-c", POOR, which, str(file), good.verifier]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith(
        "no verdict: verify it where there is more" if which == "package" else "no verdict"
    )
    assert "Traceback" not in done.stderr


def test_many_large_notes_are_not_held_all_at_once(members: Members, good: World, tmp_path: Path) -> None:
    text, signatures = members["checkpoint"].decode().split("\n\n")
    note = f"{text}\n{'a' * 60_000}\n\n{signatures}".encode()
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, **{f"anchors/{place}.note": note for place in range(400)}}))
    tracemalloc.start()
    try:
        with open_bundle(file):
            pass
        program.Bundle(str(file)).close()
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()


def test_entries_that_only_look_like_erasures_cost_little(good: World, tmp_path: Path) -> None:
    """They are looked for in all entries before any of them is proved."""
    rows = Rows.of(good.database)
    looks = b'{"a":[' + b"[]," * 21_700 + b'[]],"kind":"payload.erased"}'
    rows.bodies += [(looks, bytes(64))] * 3
    file = tmp_path / "bundle.zip"
    file.write_bytes(bundle_of(rows, good.verifier, outside.note(good, 53)))
    opened = program.Bundle(str(file))
    bodies = opened.bodies(0)
    tracemalloc.start()
    try:
        assert list(opened.erased()) == []
        assert list(named_in(bodies)) == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
        opened.close()
    assert both(file, good.verifier) == (("FAIL", 53, 1),) * 2


@pytest.mark.parametrize(
    ("first", "end", "words"), [(0, 10**9, "as a bundle, with all payloads"), (5, 2, "as a bundle; no payloads are")]
)
def test_the_report_does_not_repeat_what_a_manifest_says_of_entries_that_are_not_there(
    first: int, end: int, words: str, good: World, tmp_path: Path
) -> None:
    assert verify_ledger(bundle_in(tmp_path, good, first=first, end=end)).opened.startswith(words)


def test_one_key_under_two_names_is_no_quorum_for_both(thief: Thief, tmp_path: Path) -> None:
    """A reviewer who signs for such a policy would agree with himself from then on."""
    people = thief.world.people
    text = policy_text(people, thief.world.catalog).replace(people.line("carol"), people.line("alice"))
    known: Any = next(entry for entry in thief.all if entry.kind == "policy.activated").facts["reviewers"]
    seq = activation(thief, text=text, reviewers={**known, "carol": known["alice"]})
    assert both(bundle_in(tmp_path, thief.world), thief.world.verifier) == (("FAIL", seq, 10),) * 2


def cosigned(folder: Path, world: World, *witnesses: NoteKey, sign: Callable[[bytes], bytes]) -> Path:
    """Write a bundle whose checkpoint bears cosignatures that one key made."""
    rows = Rows.of(world.database)
    text = outside.text_of(world, len(rows.bodies))
    lines = [signature_of(key, sign(to_sign(text, outside.NOON)), outside.NOON) for key in witnesses]
    file = folder / "bundle.zip"
    file.write_bytes(bundle_of(rows, world.verifier, bytes(Note(text, (outside.log_signature(world, text), *lines)))))
    return file


def refused(bundle: Path, world: World, witnesses: list[NoteKey]) -> str:
    """Return why both refuse these witnesses: with an error, and no verdict."""
    keys = [str(key) for key in witnesses]
    with pytest.raises(ConfigurationError) as known:
        verify_ledger(bundle, pinned=world.verifier, witnesses=keys)
    given = [word for key in keys for word in ("--witness", key)]
    with pytest.raises(AssertionError) as said:  # it prints no report
        asked(bundle, world.verifier, *given)
    assert str(known.value) in str(said.value)
    return str(known.value)


@pytest.mark.parametrize("key", ["log_key", "entry_key"])
def test_a_key_of_the_log_is_no_witness_of_it_for_both(key: str, good: World, tmp_path: Path) -> None:
    secret = getattr(good, key)
    own = NoteKey("witness.example/own", secret.public, COSIGNATURE)
    assert "is a key of this log" in refused(cosigned(tmp_path, good, own, sign=secret.sign), good, [own])


def test_one_key_under_two_names_is_not_two_witnesses_for_both(good: World, tmp_path: Path) -> None:
    one, two = Witness(), Witness(name="witness.example/two")
    bundle = cosigned(tmp_path, good, one.key, two.key, sign=one.secret.sign)
    assert "have one key" in refused(bundle, good, [one.key, two.key])


def test_two_witnesses_whose_key_ids_collide_are_refused_by_both(good: World, bundle: Path) -> None:
    # Found by trying: two seeds whose keys have one four-byte id under this name.
    pair = [Witness(seed=seed.to_bytes(32, "big")).key for seed in (98_955, 123_298)]
    assert "two witnesses answer to" in refused(bundle, good, pair)


def test_a_bad_entry_is_told_whoever_is_named_as_a_witness(members: Members, good: World, tmp_path: Path) -> None:
    own = NoteKey("witness.example/own", good.entry_key.public, COSIGNATURE)
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, "signatures/000": bytes(len(members["signatures/000"]))}))
    known = verify_ledger(file, pinned=good.verifier, witnesses=[str(own)]).to_json()
    for jobs in ("1", "2"):
        said = asked(file, good.verifier, "--witness", str(own), "--jobs", jobs)
        assert first_bad(said) == first_bad(known) == ("FAIL", 0, 5)


def by_another(world: World, size: int) -> bytes:
    text = outside.text_of(world, size, bytes(32))
    return bytes(Note(text, (outside.log_signature(world, text, make_key(bytes(32))),)))


def receipt(world: World, **changes: Any) -> bytes:
    """The receipt of the last entry, with another signature or key id."""
    value = json.loads(outside.receipt(world, size_of(world) - 1))
    value["signatures"][0].update(changes)
    return json.dumps(value).encode()


def of_another_log(world: World) -> bytes:
    value = json.loads(outside.receipt(world, 9))
    body = base64.b64decode(value["payload"])
    origin = outside.origin(world).encode()
    other = body.replace(origin, origin[:-32] + b"0" * 32)
    return json.dumps({**value, "payload": base64.b64encode(other).decode()}).encode()


def size_of(world: World) -> int:
    return len(Rows.of(world.database).bodies)


KEPT: dict[str, tuple[Callable[[World], bytes], int]] = {
    "a checkpoint of fewer entries by another key": (lambda world: by_another(world, 20), 0),
    "a checkpoint of more entries by another key": (lambda world: by_another(world, 500), 0),
    "a receipt of another log": (of_another_log, 0),
    "a receipt with another signature": (lambda world: receipt(world, sig=base64.b64encode(bytes(64)).decode()), -1),
    "a receipt under another key": (lambda world: receipt(world, keyid="0" * 32), -1),
}


@pytest.mark.parametrize(("made", "place"), KEPT.values(), ids=KEPT)
def test_what_was_forged_to_be_held_against_it_fails_for_both_at_the_same_entry(
    made: Callable[[World], bytes], place: int, bundle: Path, good: World, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(made(good))
    said = asked(bundle, good.verifier, "--against", str(kept))
    known = verify_ledger(bundle, pinned=good.verifier, against=[(str(kept), kept.read_bytes())]).to_json()
    assert first_bad(said) == first_bad(known) == ("FAIL", place if place >= 0 else size_of(good) - 1, 15)
    assert "cut off" not in said["first_bad"]["reason"]


def nothing(world: World) -> bytes:
    return outside.note(
        world, 0, of=bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    )


def of_another_type(world: World) -> bytes:
    value = json.loads(outside.receipt(world, 9))
    return json.dumps({**value, "payloadType": "application/vnd.in-toto+json"}).encode()


@pytest.mark.parametrize("made", [nothing, of_another_type])
def test_what_vouches_for_no_entry_is_not_taken_by_either(
    made: Callable[[World], bytes], bundle: Path, good: World, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(made(good))
    with pytest.raises(ConfigurationError):
        verify_ledger(bundle, pinned=good.verifier, against=[(str(kept), kept.read_bytes())])
    with pytest.raises(AssertionError, match=str(kept)):
        asked(bundle, good.verifier, "--against", str(kept))
