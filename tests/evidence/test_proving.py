"""The evidence of one action, checked by the tools that its README.txt names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyturn.cli import keyturn
from keyturn.log.entry import leaf_hash, read_entry
from keyturn.log.envelope import read_envelope
from keyturn.log.keys import parse_verifier
from keyturn.log.note import NoteKey
from keyturn.log.proof import parse_entry_proof, verify_entry_proof
from tests.evidence.bundling import told
from tests.verifier.world import World


@pytest.fixture
def folder(home: Path, good: World, tmp_path: Path) -> Path:
    out = tmp_path / "proof"
    told(home, "audit", "prove", good.actions["two"], "--out", str(out))
    return out


def commands(readme: str) -> list[str]:
    """Return the commands of a README: what stands three spaces in and begins like one, with what it goes on with."""
    return re.findall(r"^   (?=openssl|\(printf|ssh-keygen)((?:.*\\\n)*.*)", readme, re.MULTILINE)


def test_every_command_of_the_readme_says_what_the_readme_promises(folder: Path) -> None:
    readme = (folder / "README.txt").read_text("utf-8")
    found = commands(readme)
    outputs = [
        subprocess.run(["bash", "-c", one], cwd=folder, capture_output=True, text=True, check=True).stdout
        for one in found
    ]
    assert len(found) == 4
    assert "Signature Verified Successfully" in outputs[0]
    assert outputs[1].split()[0] in readme.split("gives")[1]
    commitment = outputs[2].split()[-1]
    assert any(commitment in path.read_text("utf-8") for path in folder.glob("entries/*.body"))
    assert 'Good "keyturn.review.v1" signature for alice' in outputs[3]


def test_each_entry_is_an_envelope_with_a_proof_that_holds(folder: Path) -> None:
    log = parse_verifier((folder / "log.vkey").read_text("ascii").strip())
    key = NoteKey(log.origin, log.key)
    proofs = sorted(folder.glob("entries/*.tlog-proof"))
    assert len(proofs) == 6  # the key, the request, two reviews, intent and outcome
    for path in proofs:
        envelope = read_envelope(json.loads(path.with_suffix(".json").read_text("utf-8")))
        entry = read_entry(envelope.body, envelope.signature)
        proof = parse_entry_proof(path.read_bytes())
        assert proof.index == entry.seq
        verify_entry_proof(proof, bytes.fromhex(leaf_hash(envelope.body)), [key])


def test_every_review_checks_with_stock_ssh_keygen_and_no_other_text_does(folder: Path) -> None:
    reviews = sorted(path for path in (folder / "signed").glob("*.review"))
    assert [path.name.split("-")[1] for path in reviews] == ["alice.review", "carol.review"]
    for path in reviews:
        who = path.name.split("-")[1].removesuffix(".review")
        arguments = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            str(folder / "signers"),
            "-I",
            who,
            "-n",
            "keyturn.review.v1",
        ]
        arguments += ["-s", f"{path}.sig"]
        good = subprocess.run(arguments, input=path.read_bytes(), capture_output=True, check=False)
        other = subprocess.run(arguments, input=path.read_bytes() + b" ", capture_output=True, check=False)
        assert (good.returncode, other.returncode != 0) == (0, True), good.stderr


def test_a_withheld_payload_is_not_written(home: Path, good: World, tmp_path: Path) -> None:
    out = tmp_path / "proof"
    told(home, "audit", "prove", good.actions["two"], "--out", str(out), "--withhold", "review.reason")
    assert not list(out.rglob("review.reason"))
    assert list(out.rglob("plan"))
    assert "(2 more were not disclosed)" in (out / "README.txt").read_text("utf-8")


def test_a_folder_that_is_there_is_not_written_into(home: Path, good: World, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        keyturn, ["--home", str(home), "audit", "prove", good.actions["two"], "--out", str(tmp_path)]
    )
    assert done.exit_code != 0
    assert not list(tmp_path.iterdir())


def test_the_signers_of_the_policy_in_force_are_listed_for_both_namespaces(home: Path, good: World) -> None:
    lines = told(home, "audit", "signers").splitlines()
    assert [line.split()[0] for line in lines] == ["alice", "bob", "carol", "dave"]
    assert all(' namespaces="keyturn.review.v1,keyturn.act.v1" ' in line for line in lines)
    assert lines[0].endswith(good.people.line("alice"))


def test_the_signers_of_an_action_and_what_they_signed_are_written(home: Path, good: World, tmp_path: Path) -> None:
    out = tmp_path / "signers"
    told(home, "audit", "signers", good.actions["two"], "--out", str(out))
    names = sorted(path.name for path in out.iterdir())
    assert [re.sub(r"^\d+-", "", name) for name in names] == [
        "alice.review", "alice.review.sig", "carol.review", "carol.review.sig", "signers",
    ]  # fmt: skip
