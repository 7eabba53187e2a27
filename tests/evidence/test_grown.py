"""Longer logs, several processes, and what was kept elsewhere: both verifiers, one answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from keyturn.verifier import verify_ledger
from tests.evidence.bundling import (
    PROGRAM,
    PYTHON,
    Members,
    Rows,
    asked,
    both,
    bundle_in,
    bundle_of,
    examined,
    first_bad,
    members_of,
    zipped,
)
from tests.verifier import outside
from tests.verifier.world import Thief, World

SIZE = 600
PASSES = ("PASS-UNANCHORED", None, None)


@pytest.fixture(scope="module")
def grown(good: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A copy of the ledger that goes on to 600 entries: two full tiles and a part."""
    world = good.copied(tmp_path_factory.mktemp("grown"))
    outside.fill(world, SIZE)
    return world


@pytest.fixture(scope="module")
def parts(grown: World, tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of its bundle."""
    return members_of(bundle_in(tmp_path_factory.mktemp("parts"), grown).read_bytes())


def written(folder: Path, members: Members) -> Path:
    file = folder / "bundle.zip"
    file.write_bytes(zipped(members))
    return file


def flipped(members: Members, name: str, place: int) -> Members:
    data = bytearray(members[name])
    data[place] ^= 1
    return {**members, name: bytes(data)}


def test_a_log_of_several_tiles_passes_for_both(parts: Members, grown: World, tmp_path: Path) -> None:
    assert {name for name in parts if name.startswith("tile/")} == {
        "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88",
    }  # fmt: skip
    assert both(written(tmp_path, parts), grown.verifier) == (PASSES, PASSES)


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("tile/1/000.p/2", 5, ("FAIL", 255, 14)),
        ("tile/1/000.p/2", 40, ("FAIL", 511, 14)),
        ("tile/0/001", 33, ("FAIL", 257, 7)),
        ("signatures/001", 64 * 44 + 1, ("FAIL", 300, 5)),
    ],
)
def test_a_bit_in_a_later_tile_is_named_by_both(
    parts: Members, grown: World, tmp_path: Path, *, name: str, place: int, expected: tuple[str, int, int]
) -> None:
    bundle = written(tmp_path, flipped(parts, name, place))
    assert both(bundle, grown.verifier) == (expected, expected)


def test_the_first_bad_signature_comes_first_however_many_processes_look(
    parts: Members, grown: World, tmp_path: Path
) -> None:
    bad = flipped(flipped(parts, "signatures/001", 64 * 44), "signatures/000", 64 * 200)
    late = flipped(bad, "tile/0/001", 33)
    for members in (bad, late):
        bundle = written(tmp_path, members)
        assert (
            examined(bundle, grown.verifier, jobs=1) == examined(bundle, grown.verifier, jobs=2) == ("FAIL", 200, 5)
        )


def test_a_bad_signature_beside_something_worse_before_it_is_told_the_same(
    parts: Members, grown: World, tmp_path: Path
) -> None:
    bundle = written(tmp_path, flipped(flipped(parts, "tile/0/000", 32 * 60), "signatures/001", 64 * 44))
    assert examined(bundle, grown.verifier, jobs=1) == examined(bundle, grown.verifier, jobs=2) == ("FAIL", 60, 7)


def kept(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_a_receipt_or_checkpoint_that_was_kept_makes_it_pass_for_both(
    grown: World, parts: Members, tmp_path: Path
) -> None:
    bundle, last = written(tmp_path, parts), SIZE - 1
    for data in (outside.receipt(grown, last), outside.note(grown, SIZE)):
        said = asked(bundle, grown.verifier, "--against", kept(tmp_path, "kept", data))
        report = verify_ledger(bundle, pinned=grown.verifier, against=[("kept", data)])
        assert (said["verdict"], report.verdict) == ("PASS", "PASS")


def test_a_receipt_of_another_entry_fails_for_both(grown: World, parts: Members, tmp_path: Path) -> None:
    bundle = written(tmp_path, parts)
    other = json.loads(outside.receipt(grown, 100))
    rewritten = grown.copied(tmp_path)
    outside.rewrite(rewritten, {100: lambda fields: fields.update(count=2)})
    data = outside.receipt(rewritten, 100)
    assert json.loads(data) != other
    said = asked(bundle, grown.verifier, "--against", kept(tmp_path, "kept", data))
    report = verify_ledger(bundle, pinned=grown.verifier, against=[("kept", data)])
    assert first_bad(said) == first_bad(report.to_json()) == ("FAIL", 100, 15)


def test_what_was_kept_of_a_longer_log_fails_for_both(good: World, grown: World, tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path, good)
    data = outside.receipt(grown, SIZE - 1)
    said = asked(bundle, good.verifier, "--against", kept(tmp_path, "kept", data))
    report = verify_ledger(bundle, pinned=good.verifier, against=[("kept", data)])
    assert first_bad(said) == first_bad(report.to_json())
    assert report.first_bad is not None
    assert report.first_bad.proof == 15


def test_a_recorded_anchor_with_a_named_witness_passes_for_both_and_its_note_lies_beside(
    thief: Thief, tmp_path: Path
) -> None:
    world, one, two = thief.world, outside.Witness(), outside.Witness("witness.example/two", bytes([8]) * 32)
    size = len(thief.all)
    recorded = outside.record_anchor(thief, size, outside.note(world, size, one, two))
    bundle = bundle_in(tmp_path, world)
    note = members_of(bundle.read_bytes())[f"anchors/{recorded.seq}.note"]
    assert all(witness.name.encode() in note for witness in (one, two))
    for witness in (one, two):
        said = asked(bundle, world.verifier, "--witness", witness.vkey)
        report = verify_ledger(bundle, pinned=world.verifier, witnesses=[witness.vkey])
        assert (said["verdict"], report.verdict) == ("PASS", "PASS")
        assert (said["witnessed"], report.witnessed_size) == (size, size)
    assert asked(bundle, world.verifier)["verdict"] == "PASS-UNANCHORED"


def test_an_anchor_of_another_tree_fails_for_both(thief: Thief, tmp_path: Path) -> None:
    size = len(thief.all)
    of = outside.root(thief.world, size - 1)
    forged = outside.record_anchor(thief, size, outside.note(thief.world, size, of=of), root=of.hex())
    bundle = bundle_in(tmp_path, thief.world)
    expected = ("FAIL", size - 1, 14)  # the note lies beside the entries, and is due when they reach its size
    assert forged.seq == size
    assert both(bundle, thief.world.verifier) == (expected, expected)


def test_the_cosignatures_of_anchors_are_put_on_the_checkpoint_of_the_same_tree(thief: Thief, tmp_path: Path) -> None:
    world, one = thief.world, outside.Witness()
    size = len(thief.all)
    plain = outside.note(world, size)
    outside.record_anchor(thief, size, outside.note(world, size, one))
    members = members_of(bundle_of(Rows.of(world.database), world.verifier, plain))
    assert members["checkpoint"] == outside.note(world, size, one)


def test_the_report_for_people_says_what_the_json_says(grown: World, parts: Members, tmp_path: Path) -> None:
    bundle = written(tmp_path, flipped(parts, "signatures/001", 64))
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(PROGRAM), str(bundle), "--key", grown.verifier],
        env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert done.stdout.splitlines()[0].startswith("FAIL: ")
    assert "first bad: entry 257, proof 5" in done.stdout
    assert "the policy was not re-derived" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--key", "nonsense"], 2, "verifier"),
        (["--key", "{key}", "--witness", "{key}"], 2, "not that of a witness"),
        (["--key", "{key}", "--against", "/nowhere"], 2, "No such file"),
        (["--key", "{key}", "--require-anchor"], 11, ""),
        ([], 2, "--key"),
    ],
)
def test_a_wrong_command_is_told_from_a_verdict(
    bundle: Path, good: World, words: list[str], code: int, said: str
) -> None:
    given = [word.format(key=good.verifier) for word in words]
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(PROGRAM), str(bundle), *given], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert said in done.stderr


def test_a_file_that_is_not_there_is_no_verdict(good: World, tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(PROGRAM), str(tmp_path / "none.zip"), "--key", good.verifier],
        env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
