"""`keyturn audit export`: what goes into a bundle, what stays out, and the lines for other tools."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyturn.assembly.evidence import Choice, export_bundle, export_lines
from keyturn.assembly.home import Home
from keyturn.cli import keyturn
from keyturn.evidence.exports import _in_extension, _in_head
from keyturn.log.envelope import pae
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.model.time import format_timestamp
from keyturn.verifier import verify_ledger
from tests.evidence.bundling import PROGRAM, asked, both, members_of, told
from tests.verifier.test_erased import SECRET, Case, case
from tests.verifier.world import World, b64, entries

__all__ = ["case"]  # a fixture of the verifier's tests, used here

PASSES = ("PASS-UNANCHORED", None, None)


def export(home: Path, out: Path, *words: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(told(home, "audit", "export", "--out", str(out), "--json", *words))
    return said


def disclosed(bundle: Path) -> dict[int, set[str]]:
    found = json.loads(members_of(bundle.read_bytes())["payloads/000.json"])
    return {int(seq): set(fields) for seq, fields in found.items()}


def test_an_exported_bundle_passes_for_both_verifiers(home: Path, good: World, tmp_path: Path) -> None:
    out = tmp_path / "B.zip"
    said = export(home, out)
    assert (said["verifier"], said["size"], said["checkpoint"]) == (good.verifier, said["size"], said["size"])
    assert both(out, good.verifier) == (PASSES, PASSES)


def test_the_bundle_holds_every_member_of_the_layout_and_the_program_word_for_word(
    home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "B.zip"
    size = export(home, out)["size"]
    members = members_of(out.read_bytes())
    assert list(members) == sorted(members)
    assert set(members) == {
        "manifest.json", "checkpoint", "verify.py", "payloads/000.json", "signatures/000",
        f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}",
    }  # fmt: skip
    assert members["verify.py"] == PROGRAM.read_bytes()


def test_the_same_choice_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "1.zip", tmp_path / "2.zip"
    export(home, one)
    export(home, two)
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_mode & 0o777 == 0o600


def test_only_payloads_of_a_named_action_go_along_and_the_policy(home: Path, good: World, tmp_path: Path) -> None:
    out, action = tmp_path / "B.zip", good.actions["two"]
    export(home, out, "--action", action[-8:])
    story = {entry.seq for entry in entries(good.database) if entry.action == action and entry.data}
    policy = {
        entry.seq for entry in entries(good.database) if entry.kind in {"policy.activated", "catalog.published"}
    }
    assert set(disclosed(out)) == story | policy
    assert both(out, good.verifier) == (PASSES, PASSES)


def test_what_is_left_out_is_told_and_decisions_over_it_are_listed(home: Path, good: World, tmp_path: Path) -> None:
    out = tmp_path / "B.zip"
    export(home, out, "--withhold", "plan", "--withhold", "reason")
    assert not any({"plan", "reason"} & fields for fields in disclosed(out).values())
    assert both(out, good.verifier) == (PASSES, PASSES)
    report = verify_ledger(out, pinned=good.verifier)
    assert report.opened == "as a bundle; payloads without plan, reason are in it"
    assert report.underivable
    assert all("plan" in " ".join(item.missing) for item in report.underivable)
    assert asked(out, good.verifier)["withheld"] > 0


def test_a_name_that_leaves_nothing_out_is_pointed_at(home: Path, good: World, tmp_path: Path) -> None:
    for verb in (
        ["export", "--out", str(tmp_path / "B.zip")],
        ["prove", good.actions["two"], "--out", str(tmp_path / "E")],
    ):
        arguments = ["--home", str(home), "audit", *verb, "--withhold", "plan", "--withhold", "reasson"]
        said = CliRunner().invoke(keyturn, arguments)
        assert said.exit_code == 0, said.output
        assert "no entry carries a payload 'reasson'" in said.stderr
        assert "'plan'" not in said.stderr


def test_payloads_of_a_time_are_those_of_its_entries(home: Path, good: World, tmp_path: Path) -> None:
    out, all_entries = tmp_path / "B.zip", entries(good.database)
    since, until = all_entries[9], all_entries[20]
    said = export(home, out, "--since", format_timestamp(since.at), "--until", format_timestamp(until.at))
    assert since.at <= all_entries[said["first"]].at
    assert all_entries[said["end"] - 1].at < until.at
    beside = {seq for seq in disclosed(out) if not said["first"] <= seq < said["end"]}
    assert {all_entries[seq].kind for seq in beside} <= {"policy.activated", "catalog.published"}
    assert both(out, good.verifier) == (PASSES, PASSES)


def test_the_texts_of_the_policy_are_never_withheld(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="never withheld"):
        export(home, tmp_path / "B.zip", "--withhold", "policy.files")
    assert not list(tmp_path.iterdir())


def test_a_time_in_which_nothing_happened_makes_no_file(home: Path, good: World, tmp_path: Path) -> None:
    late = entries(good.database)[-1].at + timedelta(days=1)
    with pytest.raises(Refused, match="no entry"):
        export(home, tmp_path / "B.zip", "--since", format_timestamp(late))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_as_it_is(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "B.zip"
    out.write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="File exists"):
        export(home, out)
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "-4h"])
def test_a_time_that_is_none_is_a_wrong_command(home: Path, tmp_path: Path, text: str) -> None:
    done = CliRunner().invoke(
        keyturn, ["--home", str(home), "audit", "export", "--out", str(tmp_path / "x"), f"--since={text}"]
    )
    assert "is no time" in str(done.exception) + done.output


def lines(home: Path, out: Path, form: str, *words: str) -> list[str]:
    export(home, out, "--format", form, *words)
    return out.read_text("utf-8").splitlines()


def test_jsonl_holds_every_entry_with_its_payloads(home: Path, good: World, tmp_path: Path) -> None:
    found = [json.loads(line) for line in lines(home, tmp_path / "log.jsonl", "jsonl")]
    known = entries(good.database)
    assert [item["seq"] for item in found] == [entry.seq for entry in known]
    for item, entry in zip(found, known, strict=True):
        assert (item["leaf"], item["kind"], set(item["payloads"])) == (entry.leaf, entry.kind, set(entry.data))


def test_jsonl_leaves_out_what_is_withheld_and_keeps_to_an_action(home: Path, good: World, tmp_path: Path) -> None:
    out, action = tmp_path / "log.jsonl", good.actions["two"]
    found = [json.loads(line) for line in lines(home, out, "jsonl", "--action", action, "--withhold", "plan")]
    assert {item["action"] for item in found} == {action}
    assert not any("plan" in item["payloads"] for item in found)


OCSF_REQUIRED = {
    "activity_id": int, "category_uid": int, "class_uid": int, "severity_id": int, "type_uid": int, "time": int,
    "metadata": dict, "actor": dict, "api": dict, "src_endpoint": dict,
}  # fmt: skip
"""What API Activity (6003) of OCSF 1.3 requires."""


def test_ocsf_events_have_all_that_their_class_requires(home: Path, good: World, tmp_path: Path) -> None:
    events = [json.loads(line) for line in lines(home, tmp_path / "events.jsonl", "ocsf")]
    assert len(events) == sum(
        entry.kind in {"read.served", "action.requested", "action.undoing", "action.denied", "action.reviewed",
                       "execution.finished", "execution.resolved"}
        for entry in entries(good.database)
    )  # fmt: skip
    for event in events:
        assert all(isinstance(event[name], kind) for name, kind in OCSF_REQUIRED.items())
        assert (event["class_uid"], event["category_uid"]) == (6003, 6)
        assert event["type_uid"] == 600300 + event["activity_id"]
        assert event["metadata"]["product"]["vendor_name"]
        assert event["metadata"]["version"] == "1.3.0"
        assert event["api"]["operation"]
        assert event["actor"]["user"]["name"]


def test_an_outcome_in_ocsf_names_the_assistant_the_target_and_what_came_of_it(
    home: Path, good: World, tmp_path: Path
) -> None:
    out, action = tmp_path / "events.jsonl", good.actions["two"]
    events = [json.loads(line) for line in lines(home, out, "ocsf", "--action", action)]
    assert [event["activity_name"] for event in events] == ["Request", "Review", "Review", "Update"]
    assert [event["actor"]["user"]["name"] for event in events] == ["claude", "alice", "carol", "claude"]
    last = events[-1]
    assert (last["status"], last["status_id"], last["activity_id"]) == ("succeeded", 1, 3)
    assert last["resources"][0]["name"] == "deployments:web/production"
    assert last["api"]["operation"] == "rollback_deployment"
    assert last["metadata"]["correlation_uid"] == action


def test_cef_is_one_line_an_event_and_escapes_what_it_must(home: Path, tmp_path: Path) -> None:
    found = lines(home, tmp_path / "events.cef", "cef")
    assert all(
        re.fullmatch(r"CEF:0\|Keyturn\|Keyturn\|[^|]+\|[a-z.]+\|[A-Za-z]+\|\d\|rt=\d+ .*", line) for line in found
    )
    assert (_in_head("a|b\\c\nd"), _in_extension("a=b\\c\nd")) == ("a\\|b\\\\c d", "a\\=b\\\\c\\nd")


def statements(home: Path, out: Path, *words: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each envelope with the statement inside it."""
    envelopes = [json.loads(line) for line in lines(home, out, "in-toto", *words)]
    return [(envelope, json.loads(base64.b64decode(envelope["payload"]))) for envelope in envelopes]


def test_every_entry_is_a_statement_of_in_toto_that_an_entry_key_signed(
    home: Path, good: World, tmp_path: Path
) -> None:
    found, known = statements(home, tmp_path / "log.intoto.jsonl"), entries(good.database)
    assert len(found) == len(known)
    key = Ed25519PublicKey.from_public_bytes(good.entry_key.public.raw)
    for (envelope, said), entry in zip(found, known, strict=True):
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
        (signature,) = envelope["signatures"]
        assert signature["keyid"] == good.entry_key.public.kid
        key.verify(
            base64.b64decode(signature["sig"]), pae(envelope["payloadType"], base64.b64decode(envelope["payload"]))
        )
        assert said.keys() == {"_type", "subject", "predicateType", "predicate"}
        assert said["_type"] == "https://in-toto.io/Statement/v1"
        assert said["predicateType"] == "https://keyturn.io/attestation/entry/v1"
        assert said["subject"] == [{"name": f"{entry.log}#{entry.seq}", "digest": {"sha256": entry.leaf}}]


def test_the_predicate_of_a_statement_proves_its_subject_and_its_payloads(
    home: Path, good: World, tmp_path: Path
) -> None:
    """As `docs/format.md` says: bytes from the canonical form, from them leaf hash and signature; and commitments."""
    keys = {key.public.kid: key.public for key in (good.entry_key, good.log_key)}
    for _, said in statements(home, tmp_path / "log.intoto.jsonl"):
        predicate = said["predicate"]
        body = rfc8785.dumps(predicate["entry"])
        assert hashlib.sha256(b"\0" + body).hexdigest() == said["subject"][0]["digest"]["sha256"]
        signed = pae("application/vnd.keyturn.entry.v1+json", body)
        assert keys[predicate["entry"]["kid"]].verifies(signed, base64.b64decode(predicate["signature"]))
        assert predicate["verifier"] == good.verifier
        assert predicate["payloads"].keys() == predicate["entry"].get("data", {}).keys()
        for field, payload in predicate["payloads"].items():
            salt, data = base64.b64decode(payload["salt"]), base64.b64decode(payload["data"])
            mac = hmac.new(salt, f"keyturn/payload/v1\n{field}\n".encode() + data, "sha256").hexdigest()
            assert predicate["entry"]["data"][field] == f"hmac-sha256:{mac}"


def test_statements_leave_out_what_is_withheld_and_keep_to_an_action(home: Path, good: World, tmp_path: Path) -> None:
    out, action = tmp_path / "log.intoto.jsonl", good.actions["two"]
    found = [said for _, said in statements(home, out, "--action", action, "--withhold", "plan")]
    assert {said["predicate"]["entry"]["action"] for said in found} == {action}
    request = found[0]["predicate"]
    assert "plan" in request["entry"]["data"]
    assert "plan" not in request["payloads"]


def test_without_the_entry_key_there_are_no_statements_and_no_file(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    (copy / "state/keys/entry.key").unlink()
    with pytest.raises(LedgerError, match=re.escape("entry.key")):
        export(copy, tmp_path / "log.intoto.jsonl", "--format", "in-toto")
    assert not (tmp_path / "log.intoto.jsonl").exists()


@pytest.mark.parametrize("form", ["bundle", "jsonl", "in-toto"])
def test_whoever_watches_an_export_is_told_how_far_it_is(home: Path, tmp_path: Path, form: str) -> None:
    told: list[tuple[int, int]] = []
    size = len(entries(home / "state/ledger.db"))
    if form == "bundle":
        export_bundle(Home(home), tmp_path / "out", Choice(), lambda *at: told.append(at))
    else:
        export_lines(Home(home), tmp_path / "out", Choice(), form, lambda *at: told.append(at))
    assert told == [(size, size)]


def test_what_was_erased_is_in_no_later_export(case: Case, tmp_path: Path) -> None:
    gone = [
        (salt, data) for _, field, salt, data in case.payloads() if field == "argument.comment" and SECRET in data
    ]
    case.erase(case.action, "argument.comment", "plan", "diff")
    home, out = case.home.folder, tmp_path / "B.zip"
    export(home, out)
    told(home, "audit", "prove", case.action, "--out", str(tmp_path / "proof"))
    lines(home, tmp_path / "log.jsonl", "jsonl")
    said = [item["predicate"]["payloads"] for _, item in statements(home, tmp_path / "log.intoto.jsonl")]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and home not in path.parents]
    written = b"\n".join([*files, *members_of(out.read_bytes()).values()])
    assert gone
    for salt, data in gone:
        for needle in (SECRET, salt, data, salt.hex().encode(), b64(salt).encode(), b64(data).encode()):
            assert needle not in written
        assert b64(salt) not in json.dumps(said)
        assert b64(data) not in json.dumps(said)
    assert both(out, case.world.verifier) == (PASSES, PASSES)
    assert asked(out, case.world.verifier)["erased"] == len(verify_ledger(out).erased) > 0
