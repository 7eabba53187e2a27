"""Bundles that somebody changed: the one-file program, alone with Python, says what `audit verify` says."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from keyturn import canon
from keyturn.log.note import COSIGNATURE, Note, NoteKey, parse_note, signature_of, to_sign
from keyturn.verifier import verify_ledger
from tests.evidence.bundling import (
    Members,
    Rows,
    asked,
    both,
    bundle_of,
    checkpoint_of,
    examined,
    first_bad,
    members_of,
    zipped,
)
from tests.vectors.reading import chain, load, names, stored
from tests.vectors.story import LOG_KEY, OTHER_KEY, VERIFIER
from tests.verifier.world import World

PASSES = ("PASS-UNANCHORED", None, None)


def test_the_good_bundle_gets_the_same_verdict_from_both(bundle: Path, good: World) -> None:
    assert both(bundle, good.verifier) == (PASSES, PASSES)


def test_the_program_says_that_the_policy_was_not_derived_again(bundle: Path, good: World) -> None:
    assert asked(bundle, good.verifier)["policy"] == "not re-derived"


def test_several_processes_say_what_one_says(bundle: Path, good: World) -> None:
    assert asked(bundle, good.verifier, "--jobs", "2") == asked(bundle, good.verifier)


def real(members: Members, name: str) -> str:
    """Return the name of a member, `N` in it standing for the width of a tile that is not full."""
    return next(known for known in members if known == name or (name.endswith("/N") and known.startswith(name[:-1])))


def flipped(name: str) -> Callable[[Members], bytes]:
    """Flip a bit in the middle of one member, and pack the ZIP anew."""

    def damage(members: Members) -> bytes:
        data = bytearray(members[real(members, name)])
        data[len(data) // 2] ^= 1
        return zipped({**members, real(members, name): bytes(data)})

    return damage


def payload_flipped(data: bytes) -> bytes:
    """Flip a bit of the first payload in a file of them."""
    value = json.loads(data)
    field = next(iter(next(iter(value.values())).values()))
    payload = bytearray(base64.b64decode(field["data"]))
    payload[0] ^= 1
    field["data"] = base64.b64encode(payload).decode()
    return canon.encode(value)


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Members], bytes]:
    return lambda members: zipped({**members, real(members, name): change(members[real(members, name)])})


def without(name: str) -> Callable[[Members], bytes]:
    return lambda members: zipped({known: data for known, data in members.items() if known != real(members, name)})


def more(name: str, data: bytes = b"hello") -> Callable[[Members], bytes]:
    return lambda members: zipped({**members, name: data})


def swapped(signatures: bytes) -> bytes:
    return signatures[64:128] + signatures[:64] + signatures[128:]


def last_entry_cut(members: Members) -> bytes:
    """Leave the last entry out of everything but the checkpoint."""
    size = json.loads(members["manifest.json"])["size"]
    kept = dict(members)
    entries, hashes = kept.pop(f"tile/entries/000.p/{size}"), kept.pop(f"tile/0/000.p/{size}")
    place, count = 0, 0
    while count < size - 1:
        place, count = place + 2 + struct.unpack_from(">H", entries, place)[0], count + 1
    kept[f"tile/entries/000.p/{size - 1}"] = entries[:place]
    kept[f"tile/0/000.p/{size - 1}"] = hashes[:-32]
    kept["signatures/000"] = kept["signatures/000"][:-64]
    kept["payloads/000.json"] = _payloads(kept, lambda found: found.pop(str(size - 1), None))
    kept["manifest.json"] = kept["manifest.json"].replace(b'"size":%d' % size, b'"size":%d' % (size - 1))
    kept["manifest.json"] = kept["manifest.json"].replace(b'"end":%d' % size, b'"end":%d' % (size - 1))
    return zipped(kept)


def _payloads(members: Members, change: Callable[[dict[str, Any]], object]) -> bytes:
    found = json.loads(members["payloads/000.json"])
    change(found)
    return canon.encode(found)


def payloads(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], bytes]:
    return lambda members: zipped({**members, "payloads/000.json": _payloads(members, change)})


def manifest(**changes: Any) -> Callable[[Members], bytes]:
    def damage(members: Members) -> bytes:
        value = json.loads(members["manifest.json"])
        value["payloads"] |= changes.pop("payloads", {})
        return zipped({**members, "manifest.json": canon.encode({**value, **changes})})

    return damage


def forget_reason(found: dict[str, Any]) -> None:
    """Take one payload away without saying so."""
    next(fields for fields in found.values() if "reason" in fields).pop("reason")


def other_salt(found: dict[str, Any]) -> None:
    fields = next(fields for fields in found.values() if "reason" in fields)
    fields["reason"]["salt"] = "A" * 43 + "="


def twice(members: Members) -> bytes:
    out = BytesIO(zipped(members))
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("verify.py", b"print('PASS')")
    return out.getvalue()


def symbolic_link(members: Members) -> bytes:
    out = BytesIO(zipped({name: data for name, data in members.items() if name != "verify.py"}))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("verify.py")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def bomb(members: Members) -> bytes:
    """A member that unpacks to a thousand times what it may hold."""
    return zipped({**members, "checkpoint": b"\0" * (64 << 20)})


def lying_bomb(members: Members) -> bytes:
    """The same, whose directory says that it is small."""
    data = bytearray(bomb(members))
    for magic, place in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        struct.pack_into("<I", data, _header(data, magic) + place, 200)
    return bytes(data)


def _header(data: bytearray, magic: bytes) -> int:
    length = 46 if magic == b"PK\1\2" else 30
    at = data.find(magic)
    while data[at + length : at + length + 10] != b"checkpoint":
        at = data.find(magic, at + 1)
    return at


def absolute(members: Members) -> bytes:
    return zipped({**members, "/etc/cron.d/keyturn": b"* * * * * root true"})


def raw_flip(members: Members) -> bytes:
    """One bit of the packed bytes: its checksum does not fit any more."""
    data = bytearray(zipped(members))
    data[len(data) // 3] ^= 0x10
    return bytes(data)


LIVES_FROM = 6
"""Entries of the golden log before its first request."""

DAMAGE: dict[str, tuple[Callable[[Members], bytes], int]] = {
    "a bit of the manifest": (flipped("manifest.json"), 8),
    "a bit of the checkpoint": (flipped("checkpoint"), 14),
    "a bit of an entry": (flipped("tile/entries/000.p/N"), 5),
    "a bit of a hash": (flipped("tile/0/000.p/N"), 7),
    "a bit of a signature": (flipped("signatures/000"), 5),
    "a bit of a payload": (replaced("payloads/000.json", payload_flipped), 6),
    "a bit of the packed bytes": (raw_flip, 8),
    "no checkpoint": (without("checkpoint"), 8),
    "no manifest": (without("manifest.json"), 8),
    "no tile": (without("tile/0/000.p/N"), 8),
    "no entries": (without("tile/entries/000.p/N"), 8),
    "no signatures": (without("signatures/000"), 8),
    "no payloads": (without("payloads/000.json"), 6),
    "signatures swapped": (replaced("signatures/000", swapped), 5),
    "signatures cut": (replaced("signatures/000", lambda data: data[:-1]), 8),
    "entries cut within one": (replaced("tile/entries/000.p/N", lambda data: data[:-5]), 8),
    "a byte after the entries": (replaced("tile/entries/000.p/N", lambda data: data + b"\0"), 8),
    "the last entry cut off": (last_entry_cut, 14),
    "a hash cut off": (replaced("tile/0/000.p/N", lambda data: data[:-32]), 8),
    "a payload missing that the manifest promises": (payloads(forget_reason), 6),
    "a payload with another salt": (payloads(other_salt), 6),
    "a payload of an entry that commits to none": (
        payloads(
            lambda found: (
                found["0"].update(x=1) if "0" in found else found.update({"0": {"x": {"data": "", "salt": ""}}})
            )
        ),
        6,
    ),
    "a payload of no entry": (payloads(lambda found: found.update({"9999": {}})), 8),
    "payloads that the manifest withholds": (manifest(payloads={"withheld": ["reason"]}), 6),
    "the policy withheld": (manifest(payloads={"withheld": ["policy.files"]}), 8),
    "more entries promised": (manifest(size=10**15), 8),
    "another format": (manifest(format="keyturn-bundle/v2"), 8),
    "another log named": (manifest(verifier=str(VERIFIER)), 8),
    "another member": (more("README.txt"), 8),
    "a path that leads out": (more("../../tmp/x"), 8),
    "an absolute path": (absolute, 8),
    "a path of Windows": (more("C:\\x"), 8),
    "a program that says PASS, beside the other": (twice, 8),
    "a symbolic link": (symbolic_link, 8),
    "a bomb": (bomb, 8),
    "a bomb that says it is small": (lying_bomb, 8),
    "no ZIP": (lambda _members: b"PK but no more", 8),
    "something before the ZIP": (lambda members: b"#!/bin/sh\n" + zipped(members), 8),
    "another log's checkpoint": (lambda members: zipped({**members, "checkpoint": _checkpoint_of_the_vectors()}), 14),
}


def _checkpoint_of_the_vectors() -> bytes:
    rows = Rows([(row.body, row.signature) for row in chain()])
    return checkpoint_of(rows, str(VERIFIER), LOG_KEY.sign)


@pytest.mark.parametrize(("damage", "proof"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_bundle_fails_for_both_at_the_same_entry(
    damage: Callable[[Members], bytes], proof: int, members: Members, good: World, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(damage(members))
    said, known = both(file, good.verifier)
    assert said == known
    assert said[::2] == ("FAIL", proof)


def test_a_forged_checkpoint_of_the_entries_fails_for_both(members: Members, good: World, tmp_path: Path) -> None:
    """Signed by the thief of the entry key under the log's name."""
    text = parse_note(members["checkpoint"]).text
    key = NoteKey(good.verifier.split("+")[0], good.entry_key.public)
    note = bytes(Note(text, (signature_of(key, good.entry_key.sign(to_sign(text))),)))
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, "checkpoint": note}))
    size = json.loads(members["manifest.json"])["size"]
    assert both(file, good.verifier) == (("FAIL", size - 1, 14),) * 2


def test_another_log_than_the_one_named_fails_for_both(bundle: Path) -> None:
    assert both(bundle, str(VERIFIER)) == (("FAIL", 0, 12),) * 2


@pytest.mark.parametrize("name", [name for name in names("bad") if load(f"bad/{name}.json")["after"] <= LIVES_FROM])
def test_each_entry_that_must_be_refused_is_refused_in_a_bundle_by_the_same_proof(name: str, tmp_path: Path) -> None:
    bad = load(f"bad/{name}.json")
    rows = Rows([(row.body, row.signature) for row in chain()[: bad["after"]]])
    for seq, row in enumerate(chain()[: bad["after"]]):
        rows.payloads |= {(seq, field): opening for field, opening in row.payloads.items()}
    taken = stored({**bad, "body": "", "leaf": "", "payloads": {}})
    body = base64.b64decode(bad["body_base64"])
    if len(body) > 65_535 or len(taken.signature) != 64:
        pytest.skip("a bundle has no room for it")
    rows.bodies.append((body, taken.signature))
    file = tmp_path / "bundle.zip"
    file.write_bytes(bundle_of(rows, str(VERIFIER), checkpoint_of(rows, str(VERIFIER), LOG_KEY.sign)))
    assert examined(file, str(VERIFIER)) == ("FAIL", bad["expect"]["seq"], bad["expect"]["proof"])


def test_a_named_witness_makes_it_pass_for_both(members: Members, good: World, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(_cosigned(members, 1_800_000_000))
    key = str(NoteKey("witness.example/one", OTHER_KEY.public, COSIGNATURE))
    report = verify_ledger(file, pinned=good.verifier, witnesses=[key])
    said = asked(file, good.verifier, "--witness", key)
    assert said["verdict"] == report.verdict == "PASS"
    assert said["witnessed"] == report.size


def test_a_cosignature_that_does_not_verify_fails_for_both(members: Members, good: World, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    note = members_of(_cosigned(members, 1_800_000_000))["checkpoint"]
    key = NoteKey("witness.example/one", OTHER_KEY.public, COSIGNATURE)
    text = parse_note(note).text
    forged = signature_of(key, bytes(64), 1_800_000_000)
    log = parse_note(note).signatures[0]
    file.write_bytes(zipped({**members, "checkpoint": bytes(Note(text, (log, forged)))}))
    report = verify_ledger(file, pinned=good.verifier, witnesses=[str(key)])
    assert first_bad(asked(file, good.verifier, "--witness", str(key))) == first_bad(report.to_json())
    assert report.verdict == "FAIL"


def _cosigned(members: Members, seconds: int) -> bytes:
    note = parse_note(members["checkpoint"])
    key = NoteKey("witness.example/one", OTHER_KEY.public, COSIGNATURE)
    line = signature_of(key, OTHER_KEY.sign(to_sign(note.text, seconds)), seconds)
    return zipped({**members, "checkpoint": bytes(Note(note.text, (*note.signatures, line)))})
