"""The golden vectors: made again they are the same, the good are accepted, the bad refused for their reason."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn import canon
from keyturn.log import commitment
from keyturn.log.chain import ChainError, follow, parse
from keyturn.log.entry import read_entry
from keyturn.log.keys import VerifyKey, parse_verifier
from keyturn.log.kinds import BY_THE_LOG_KEY, KINDS
from keyturn.model.time import format_timestamp
from keyturn.sshsig import armor
from tests.vectors.make import files, kept
from tests.vectors.reading import FOLDER, chain, head_after, load, names, stored
from tests.vectors.story import ENTRY_KEY, LOG_KEY, NEXT_KEY, Key


def test_making_the_vectors_again_changes_no_byte() -> None:
    made = files()
    assert set(made) == kept()
    for path, data in made.items():
        assert (FOLDER / path).read_bytes() == data, path


def test_there_is_a_vector_of_every_kind() -> None:
    assert set(names("entries")) == set(KINDS)


@pytest.mark.parametrize("kind", names("entries"))
def test_a_golden_entry_says_what_it_should(kind: str) -> None:
    value = load(f"entries/{kind}.json")
    row = stored(value)
    entry = read_entry(row.body, row.signature)
    said = {
        "v": 1, "log": entry.log, "seq": entry.seq, "prev": entry.prev, "ts": format_timestamp(entry.at),
        "boot": entry.boot, "up": entry.up, "kid": entry.kid, "kind": entry.kind, "action": entry.action,
        "data": entry.data, "facts": entry.facts,
    }  # fmt: skip
    assert said == value["expect"]
    assert entry.kind == kind
    assert entry.leaf == row.leaf


@pytest.mark.parametrize("kind", names("entries"))
def test_a_golden_entry_is_signed_by_the_key_of_its_seed(kind: str) -> None:
    value = load(f"entries/{kind}.json")
    row = stored(value)
    entry = read_entry(row.body, row.signature)
    key = Key(bytes.fromhex(value["private_key_seed"])).public
    assert key.kid == entry.kid == value["kid"]
    assert key.verifies(entry.signed_bytes, entry.signature)


@pytest.mark.parametrize("kind", names("entries"))
def test_the_payloads_of_a_golden_entry_open_its_commitments(kind: str) -> None:
    row = stored(load(f"entries/{kind}.json"))
    entry = read_entry(row.body, row.signature)
    assert set(entry.data) == set(row.payloads)
    for field, (salt, data) in row.payloads.items():
        assert commitment.opens(entry.data[field], salt, field, data)
        assert field == "diff" or canon.encode(canon.decode(data)) == data


def test_the_golden_log_is_followed_to_its_end() -> None:
    rows = chain()
    head = head_after(rows)
    assert head.size == len(rows)
    assert head.leaf == rows[-1].leaf
    assert head.verifier == parse_verifier(load("chain.json")["verifier"])
    assert head.keys == {key.public.kid: key.public for key in (ENTRY_KEY, NEXT_KEY)}
    assert (head.signs(ENTRY_KEY.public.kid), head.signs(NEXT_KEY.public.kid)) == (False, True)


def test_the_golden_log_needs_no_signatures_but_those_that_add_keys_when_the_last_one_vouches() -> None:
    rows = chain()
    head = head_after(rows[:2])
    for seq, row in enumerate(rows[2:], 2):
        entry = parse(seq, row.body, row.signature)
        head = follow(head, entry if entry.kind in BY_THE_LOG_KEY else replace(entry, signature=b""), signed=False)
    assert head.leaf == rows[-1].leaf
    with pytest.raises(ChainError, match="signature"):
        follow(head_after(rows[:1]), parse(1, rows[1].body, b""), signed=False)


@pytest.mark.parametrize("name", names("bad"))
def test_a_damaged_entry_is_refused_for_its_reason(name: str) -> None:
    value = load(f"bad/{name}.json")
    head = head_after(chain()[: value["after"]])
    body, signature = base64.b64decode(value["body_base64"]), base64.b64decode(value["signature"])
    with pytest.raises(ChainError) as caught:
        follow(head, parse(value["after"], body, signature))
    expected = value["expect"]
    assert (caught.value.seq, caught.value.proof) == (expected["seq"], expected["proof"])
    assert expected["reason"] in caught.value.reason
    assert str(caught.value) == f"entry {expected['seq']}: {caught.value.reason}"


@pytest.mark.parametrize(
    ("seq", "namespace"),
    [
        (8, "keyturn.review.v1"),
        (11, "keyturn.act.v1"),
        (12, "keyturn.act.v1"),
        (24, "keyturn.act.v1"),
        (25, "keyturn.act.v1"),
        (29, "keyturn.act.v1"),
        (30, "keyturn.act.v1"),
    ],
)
def test_stock_ssh_keygen_accepts_what_people_signed(seq: int, namespace: str, tmp_path: Path) -> None:
    row = chain()[seq]
    facts = canon.decode_object(row.body)
    signed = facts if "statement" in facts else facts["act"]
    assert isinstance(signed, dict)
    (tmp_path / "signers").write_text(f"alice {(FOLDER / 'keys' / 'alice.pub').read_text('ascii')}")
    (tmp_path / "sig").write_text(armor(base64.b64decode(str(signed["signature"]))))
    arguments = ["-Y", "verify", "-n", namespace, "-I", "alice", "-f", "signers", "-s", "sig"]
    done = subprocess.run(
        ["ssh-keygen", *arguments],
        input=canon.encode(signed["statement"]),
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_test_keys_are_told_apart() -> None:
    assert LOG_KEY.public.kid != ENTRY_KEY.public.kid
    assert VerifyKey(ENTRY_KEY.public.raw) == ENTRY_KEY.public
