"""The one-file program on every golden bundle, in words; and what no bundle is made of."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from keyturn import canon
from keyturn.approvals.statement import REVIEW_NAMESPACE
from keyturn.evidence import bundle as bundles
from keyturn.evidence.bundle import write_bundle
from keyturn.evidence.signers import allowed_signers
from keyturn.log.keys import parse_verifier
from keyturn.log.manifest import Manifest
from keyturn.model.errors import LedgerError, Refused
from tests.evidence.bundling import Members, Rows, bundle_of, checkpoint_of, examined, members_of, zipped
from tests.evidence.test_program import ran
from tests.vectors.reading import FOLDER, load, names
from tests.verifier.world import World

CASES = {name: load(f"bundles/{name}.json") for name in names("bundles")}
LINES = {
    "closed": "goes on from it",
    "closed-for-good": "no log goes on from it",
    "pruned": "pruned: payloads",
    "succeeds": "goes on from acme/",
    "some-withheld": "withheld: ",
}


def verdict_of(case: dict[str, Any]) -> str:
    expect: dict[str, Any] = case["expect"]
    return str(expect.get("without_policy", expect["verdict"]))


@pytest.mark.parametrize("name", CASES)
def test_the_program_has_words_for_every_golden_bundle(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    witnesses = [word for key in case["witnesses"] for word in ("--witness", key)]
    code, said = ran(
        capsys, monkeypatch, str(FOLDER / "bundles" / case["bundle"]), "--key", case["verifier"], *witnesses
    )
    first = said.splitlines()[0].partition(":")[0]
    if first != verdict_of(case):
        assert "this Python reads no policy" in said
        return
    assert code == (7 if first == "FAIL" else 0)
    assert LINES.get(name, "") in said
    bad = case["expect"]["first_bad"]
    assert first != "FAIL" or f"proof {bad['proof']}" in said


def kept_of(name: str, folder: Path) -> Path:
    """Take the checkpoint out of a golden bundle, as an auditor kept it."""
    kept = folder / f"{name}.checkpoint"
    kept.write_bytes(members_of((FOLDER / "bundles" / f"{name}.zip").read_bytes())["checkpoint"])
    return kept


@pytest.mark.parametrize(
    ("name", "other"), [("good", "succeeds"), ("succeeds", "succeeds"), ("last-entry-cut", "good")]
)
def test_a_checkpoint_is_held_against_the_log_it_is_of(
    name: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    words = [str(FOLDER / "bundles" / case["bundle"]), "--key", case["verifier"], "--against"]
    code, said = ran(capsys, monkeypatch, *words, str(kept_of(other, tmp_path)))
    if (name, other) == ("succeeds", "succeeds"):
        assert (code, said.partition(":")[0]) == (0, "PASS")
    else:
        assert code == 7
        assert said.startswith("FAIL")


PAYLOADS = {
    "of an entry of another group": b'{"900":{"plan":{"data":"","salt":""}}}',
    "of no number": b'{"x":{"plan":{"data":"","salt":""}}}',
    "without a salt": b'{"3":{"plan":{"data":""}}}',
    "that is no object": b'{"3":[]}',
    "that are a list": b"[]",
}


@pytest.mark.parametrize("data", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_payloads_of_another_form_fail(data: bytes, members: Members, good: World, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped({**members, "payloads/000.json": data}))
    assert examined(file, good.verifier)[::2] == ("FAIL", 8)


# ----------------------------------------------------------------------------------------------- what makes no bundle


def manifest_of(good: World, size: int) -> Manifest:
    return Manifest(verifier=parse_verifier(good.verifier), size=size, first=0, end=size)


def test_a_ledger_with_a_hole_makes_no_bundle(good: World) -> None:
    rows = Rows.of(good.database)
    checkpoint = checkpoint_of(rows, good.verifier, good.log_key.sign)
    with pytest.raises(LedgerError, match="not all there"):
        write_bundle(BytesIO(), rows, manifest_of(good, len(rows.bodies) + 1), checkpoint)


def test_payloads_beyond_what_readers_take_make_no_bundle(good: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows.of(good.database)
    monkeypatch.setattr(bundles, "MAX_PAYLOADS", 100)
    with pytest.raises(LedgerError, match="too large for one bundle"):
        bundle_of(rows, good.verifier, checkpoint_of(rows, good.verifier, good.log_key.sign))


def test_an_anchor_whose_note_is_no_text_leaves_no_note(good: World) -> None:
    rows = Rows.of(good.database)
    rows.payloads[(4, "anchor.note")] = (bytes(32), canon.encode(["no", "text"]))
    made = members_of(bundle_of(rows, good.verifier, checkpoint_of(rows, good.verifier, good.log_key.sign)))
    assert not [name for name in made if name.startswith("anchors/")]


@pytest.mark.parametrize("name", ["*", "a b", "../x", ""])
def test_a_name_that_ssh_keygen_would_read_as_a_pattern_is_refused(name: str, good: World) -> None:
    with pytest.raises(Refused, match="cannot name"):
        allowed_signers({name: (good.people.line("alice"),)}, [REVIEW_NAMESPACE])
