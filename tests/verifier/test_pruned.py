"""Retention in a home whose gate did one of everything: what goes, what stays, what is proved, and what is damage."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.ending import close_log
from keyturn.assembly.home import Home
from keyturn.assembly.proposal import activate, read_proposal
from keyturn.assembly.pruning import Pruned, prune_payloads
from keyturn.assembly.standing import open_reader
from keyturn.assembly.wiring import Retention, read_retention
from keyturn.canon import Json
from keyturn.evidence.verify import ALWAYS_DISCLOSED
from keyturn.fold.pruning import pruning
from keyturn.gateway.pruning import Wish
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.verifier import in_words
from tests.cli.operator import tell
from tests.evidence.bundling import bundle_in, examined
from tests.verifier.test_erased import Case, case, found_in
from tests.verifier.world import ACT, Thief, b64, raw, tamper

__all__ = ["case"]  # a fixture of those tests, used here

BASIS = "90 days are over"


def nothing_is_kept(environment: str | None) -> timedelta:
    """A retention by which everything has had its time."""
    return timedelta()


def wish(before: int | datetime | None = None, environment: str | None = None, basis: str = BASIS) -> Wish:
    return Wish(before=before, environment=environment, basis=basis)


def prune(case: Case, asked: Wish | None = None, retention: Any = nothing_is_kept, by: str = "alice") -> Pruned:
    return prune_payloads(case.home, asked or wish(), case.signer(by), retention)


def places(case: Case) -> set[int]:
    """Return the entries that have payloads which may be pruned."""
    return {seq for seq, field, _, _ in case.payloads() if field not in ALWAYS_DISCLOSED}


def first_open(case: Case) -> int:
    """Return the entry of the oldest request that is not over."""
    return int(case.look(lambda view: min(action.seq for action, _ in view.state.open_actions(view.now))))


def environments(case: Case) -> dict[int, str | None]:
    return dict(case.look(lambda view: {seq: view.environment(view.entry(seq)) for seq in places(case)}))


# --- what goes ----------------------------------------------------------------------------------------------------


def test_what_had_its_time_is_in_no_file_of_the_home_and_the_verdict_stands(case: Case) -> None:
    bound = first_open(case) - 1  # the entry before it has a salt of zeros, which are in every file
    going = [row for row in case.payloads() if row[0] < bound and row[1] not in ALWAYS_DISCLOSED]
    assert len(going) > 10
    done = prune(case, wish(before=bound))
    assert [(one.environment, one.before, one.payloads) for one in done.taken] == [(None, bound, len(going))]
    assert done.cleaned.left == ()
    for _, _, salt, _ in going:
        assert found_in(case.home.place.folder, salt) == []
    report = case.world.verify(pinned=case.world.verifier)
    assert report.first_bad is None
    assert {(item.seq, item.before) for item in report.pruned} == {(one.entry, one.before) for one in done.taken}
    assert {(item.by, item.basis) for item in report.pruned} == {("alice", BASIS)}
    assert report.underivable
    assert any(f"before entry {bound}" in line for line in in_words(report))


def test_the_texts_of_policies_and_contracts_stay(case: Case) -> None:
    before = {(seq, field) for seq, field, _, _ in case.payloads() if field in ALWAYS_DISCLOSED}
    prune(case)
    assert {(seq, field) for seq, field, _, _ in case.payloads() if field in ALWAYS_DISCLOSED} == before


def test_each_environment_has_its_own_time(case: Case) -> None:
    known = environments(case)
    assert {"tracker", "staging"} <= set(known.values())
    done = prune(case, retention=lambda environment: timedelta() if environment == "staging" else None)
    [one] = done.taken
    assert one.environment == "staging"
    gone = known.keys() - places(case)
    assert gone == {seq for seq, environment in known.items() if environment == "staging" and seq < one.before}
    assert case.world.verify().first_bad is None


def test_what_belongs_to_an_action_goes_with_the_environment_of_its_request(case: Case) -> None:
    reviewed = case.look(lambda view: [entry.seq for entry in view.history(case.action)])
    where = environments(case)
    assert len({where[seq] for seq in reviewed if seq in where}) == 1


def test_with_everybody_over_a_second_time_goes_further_and_a_third_finds_nothing(case: Case) -> None:
    last = first_open(case)
    prune(case, wish(before=last - 10))
    [one] = prune(case, wish(before=last)).taken
    assert one.before == last
    assert prune(case, wish(before=last)).taken == ()
    report = case.world.verify()
    assert [item.before for item in report.pruned] == [last - 10, last]
    assert report.first_bad is None


def test_a_time_names_the_first_entry_that_is_not_before_it(case: Case) -> None:
    at = case.look(lambda view: view.entry(12).at)
    [one] = prune(case, wish(before=at)).taken
    assert one.before == 12


@pytest.mark.parametrize(
    ("asked", "retention", "by", "code"),
    [
        (lambda case: wish(before=first_open(case) + 1), nothing_is_kept, "alice", "not_over"),
        (lambda case: wish(before=10**6), nothing_is_kept, "alice", "not_there"),
        (lambda case: wish(before=12), lambda _: timedelta(days=90), "alice", "too_early"),
        (lambda case: wish(before=12), nothing_is_kept, "mallory", "not_a_reviewer"),
        (lambda case: wish(before=12, basis=""), nothing_is_kept, "alice", "usage"),
    ],
)
def test_what_has_not_had_its_time_stays(case: Case, asked: Any, retention: Any, by: str, code: str) -> None:
    before = case.payloads()
    with pytest.raises(Refused) as caught:
        prune(case, asked(case), retention, by)
    assert caught.value.code == code
    assert case.payloads() == before


def test_a_log_does_not_end_while_an_action_is_not_over(case: Case) -> None:
    with pytest.raises(Refused) as caught:
        close_log(case.home, None, case.signer())
    assert caught.value.code == "not_over"
    assert case.world.verify().closed is None


# --- what still works -----------------------------------------------------------------------------------------------


def test_everything_that_reads_goes_on_with_a_pruned_log(case: Case, tmp_path: Path) -> None:
    copy = tmp_path / "before.note"
    assert tell("--home", case.home.folder, "audit", "checkpoint", "--out", copy).code == 0
    prune(case)
    home = ("--home", case.home.folder)
    for words in (
        ["audit", "log"], ["action", "list"], ["inbox"], ["audit", "show", case.action],
        ["action", "show", case.action], ["audit", "rebuild"], ["audit", "backup", tmp_path / "after.db"],
        ["audit", "prove", case.action, "--out", tmp_path / "proof"],
        ["audit", "export", "--out", tmp_path / "all.zip"],
        ["audit", "export", "--format", "jsonl", "--out", tmp_path / "all.jsonl"],
    ):  # fmt: skip
        said = tell(*home, *words)
        assert said.code == 0, (words, said.err)
    assert "payloads that were erased or pruned from the log" in (tmp_path / "proof" / "README.txt").read_text()
    # The pruned copy is the one that was anchored before: what was kept of that agrees with it.
    for file in (case.world.database, tmp_path / "after.db", tmp_path / "all.zip"):
        said = tell(*home, "audit", "verify", "--ledger", file, "--against", copy, "--json")
        assert said.code == 0, said.out
        assert said.json["witnessed_size"] > first_open(case)
    with closing(open_reader(case.home, "tests")) as reader:
        size = reader.look(lambda view: view.head.size)
        assert reader.scrub(0, size + 1) == 0


def test_a_backup_from_before_keeps_what_it_has_and_verifies(case: Case, tmp_path: Path) -> None:
    backup = tmp_path / "before.db"
    assert tell("--home", case.home.folder, "audit", "backup", backup).code == 0
    held = case.payloads()
    prune(case)
    report = dataclasses.replace(case.world, database=backup).verify(pinned=case.world.verifier)
    assert (report.first_bad, report.pruned) == (None, ())
    with raw(backup) as db:
        assert db.execute("SELECT seq, field, salt, data FROM payload").fetchall() == held


def test_a_copy_that_holds_what_was_pruned_is_named(case: Case) -> None:
    copy = case.home.place.folder / "replaced-1.db"
    shutil.copy(case.world.database, copy)
    assert prune(case, wish(before=first_open(case) - 1)).cleaned.left == (copy,)


def test_the_one_file_program_lists_what_was_pruned(case: Case, tmp_path: Path) -> None:
    done = prune(case)
    bundle = bundle_in(tmp_path, case.world)
    assert examined(bundle, case.world.verifier) == ("PASS-UNANCHORED", None, None)
    said = tell("audit", "verify", bundle, "--key", case.world.verifier, "--json").json
    assert [item["before"] for item in said["pruned"]] == [one.before for one in done.taken]


# --- damage: each is examined by the program too, in tests/evidence ------------------------------------------------


def bad_of(case: Case) -> tuple[int | None, int]:
    bad = case.world.verify().first_bad
    assert bad is not None
    return bad.seq, bad.proof


def test_an_absence_beyond_the_bound_fails(case: Case) -> None:
    [one] = prune(case, wish(before=12)).taken
    seq, field = min((seq, field) for seq, field, _, _ in case.payloads() if seq >= one.before)
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = ? AND field = ?", (seq, field)))
    assert bad_of(case) == (seq, 6)


def test_an_absence_in_another_environment_fails(case: Case) -> None:
    prune(case, retention=lambda environment: timedelta() if environment == "staging" else None)
    seq = min(seq for seq, environment in environments(case).items() if environment == "tracker")
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = ?", (seq,)))
    assert bad_of(case) == (seq, 6)


def test_a_payload_that_was_pruned_and_is_there_fails(case: Case) -> None:
    mine = min(row for row in case.payloads() if row[1] not in ALWAYS_DISCLOSED)
    prune(case)
    tamper(case.world.database, ("INSERT INTO payload VALUES (?, ?, ?, ?)", mine))
    assert bad_of(case) == (mine[0], 6)


def test_a_policy_that_is_gone_from_below_the_bound_fails(case: Case) -> None:
    prune(case)
    tamper(case.world.database, ("DELETE FROM payload WHERE seq = 2 AND field = 'policy.files'", ()))
    assert bad_of(case) == (2, 6)


def forged(case: Case, facts: Mapping[str, Json], by: str = "alice", signed: Mapping[str, Json] | None = None) -> int:
    """Append a pruning as a holder of the entry key may, with a person's act over `signed`; return its place."""
    meant = pruning(signed or facts)

    def look(view: Any) -> dict[str, Json]:
        return {
            "type": "keyturn.act/v1", "log": view.head.verifier.origin, "after": view.state.policy.seq,
            "verb": meant.verb, "object": meant.object, "digest": meant.digest, "by": by,
            "at": view.entry(view.head.size - 1).at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }  # fmt: skip

    statement = case.look(look)
    act: dict[str, Json] = {"statement": statement, "signature": b64(case.world.people.sign(by, statement, ACT))}
    return Thief(case.world).append("payloads.pruned", {**facts, "act": act}).seq


def facts_of(before: int, environment: str | None = None) -> dict[str, Json]:
    return {"environment": environment, "before": before, "basis": BASIS}


def sweep_below(case: Case, before: int) -> None:
    fields = ", ".join(f"'{field}'" for field in ALWAYS_DISCLOSED)
    tamper(case.world.database, (f"DELETE FROM payload WHERE seq < ? AND field NOT IN ({fields})", (before,)))


def test_a_key_holder_alone_prunes_nothing(case: Case) -> None:
    seq = forged(case, facts_of(12), "mallory")
    sweep_below(case, 12)
    assert bad_of(case) == (seq, 9)


def test_a_key_holder_prunes_no_more_than_was_signed_for(case: Case) -> None:
    seq = forged(case, facts_of(14), signed=facts_of(12))
    sweep_below(case, 14)
    assert bad_of(case) == (seq, 9)


def test_a_key_holder_with_a_persons_word_prunes_nothing_that_is_not_over(case: Case) -> None:
    bound = first_open(case) + 1
    seq = forged(case, facts_of(bound))
    sweep_below(case, bound)
    assert bad_of(case) == (seq, 9)


def test_nothing_is_pruned_twice(case: Case) -> None:
    forged(case, facts_of(12))
    seq = forged(case, facts_of(12))
    sweep_below(case, 12)
    assert bad_of(case) == (seq, 9)


def test_nothing_is_pruned_ahead(case: Case) -> None:
    seq = forged(case, facts_of(10_000))
    assert bad_of(case)[1] in {6, 9}
    assert seq < 10_000


def test_a_pruning_that_was_taken_back_leaves_absences_that_fail(case: Case) -> None:
    prune(case, wish(before=12))
    size = case.look(lambda view: view.head.size)
    tamper(
        case.world.database,
        ("DELETE FROM checkpoint WHERE size >= ?", (size,)),
        ("DELETE FROM entry WHERE seq = ?", (size - 1,)),
    )
    assert bad_of(case)[1] == 6


# --- kill -9 --------------------------------------------------------------------------------------------------------

_KILLED = """
import sys
from datetime import timedelta
from pathlib import Path
from keyturn.assembly.home import Home
from keyturn.assembly.proposal import activate, read_proposal
from keyturn.assembly.pruning import prune_payloads
from keyturn.gateway.pruning import Wish
from keyturn.sshsig.signing import sign
def signer(people):
    def signed(data, space):
        made = sign(data, key=Path(sys.argv[2]), namespace=space, environment={})
        print("go", flush=True)
        return made
    return "alice", signed
wish = Wish(before=None, environment=None, basis="90 days are over")
prune_payloads(Home(Path(sys.argv[1])), wish, signer, lambda environment: timedelta())
"""


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.02, 0.05])
def test_killed_at_any_step_it_leaves_a_log_that_opens_and_is_pruned_again(case: Case, delay: float) -> None:
    arguments = [sys.executable, "-c", _KILLED, str(case.home.folder), str(case.world.people.files["alice"])]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        time.sleep(delay)  # where it is by then differs from machine to machine: each place must do
        os.kill(child.pid, signal.SIGKILL)
    assert case.world.verify().first_bad is None
    bound = first_open(case)
    prune(case)
    report = case.world.verify()
    assert report.first_bad is None
    assert max(item.before for item in report.pruned if item.environment is None) == bound
    assert all(seq >= bound for seq in places(case))


# --- how long payloads are kept ------------------------------------------------------------------------------------


def declare(home: Home, text: str) -> None:
    with home.wiring.open("a", encoding="utf-8") as file:
        file.write(f"\n[retention]\n{text}\n")


def test_the_wiring_says_how_long_by_environment(case: Case) -> None:
    assert read_retention(case.home.wiring) == Retention()
    assert not Retention().says_anything
    declare(case.home, 'default = "365d"\nstaging = "30d"\nproduction = "forever"')
    said = read_retention(case.home.wiring)
    assert [said.of(name) for name in ("staging", "production", "tracker", None)] == [
        timedelta(days=30),
        None,
        timedelta(days=365),
        timedelta(days=365),
    ]


def test_without_a_word_on_retention_nothing_has_had_its_time(case: Case) -> None:
    with pytest.raises(ConfigurationError, match=r"add a table \[retention\]"):
        prune(case, retention=None)


def test_a_lane_of_the_policy_says_how_long_and_goes_before_the_wiring(case: Case) -> None:
    path = case.home.folder / "policy.toml"
    staging = 'targets = ["deployments:web/staging"]\n'
    text = path.read_text()
    assert staging in text
    path.write_text(text.replace(staging, staging + 'lane = "brief"\n') + '\n[lanes.brief]\nretention = "7d"\n')
    _, sign = case.signer()({})
    activate(case.home, read_proposal(case.home), "data protection", "alice", sign)
    declare(case.home, 'default = "forever"\nstaging = "1s"')
    with pytest.raises(Refused, match="of staging, whose payloads are kept for 7 days") as caught:
        prune(case, wish(first_open(case), "staging"), retention=None)
    assert caught.value.code == "too_early"
    assert prune(case, retention=None).taken == ()


def test_a_period_that_is_none_is_refused_with_its_place(case: Case) -> None:
    declare(case.home, 'staging = "soon"')
    with pytest.raises(ConfigurationError, match=r"retention\.staging.*forever"):
        read_retention(case.home.wiring)


@pytest.mark.parametrize("before", [12, None])
def test_an_environment_that_is_nowhere_is_not_said_to_be_pruned(case: Case, before: int | None) -> None:
    with pytest.raises(
        Refused, match=r"no payload is of an environment 'stagng'; the policy has: .*staging"
    ) as caught:
        prune(case, wish(before, "stagng"))
    assert caught.value.code == "not_found"


def test_the_verb_prunes_by_place_and_by_what_the_wiring_says(case: Case) -> None:
    key = case.world.people.files["alice"]
    home = ("--home", case.home.folder, "audit", "prune", "--key", key, "--json")
    said = tell(*home, "--before", "12", "--basis", BASIS)
    assert said.code == 0, said.err
    [row] = said.json
    assert (row["before"], row["environment"]) == (12, None)
    declare(case.home, 'staging = "1s"')
    said = tell(*home)
    assert said.code == 0, said.err
    assert {row["environment"] for row in said.json} <= {"staging"}
    told = tell("--home", case.home.folder, "audit", "log")
    assert f"alice pruned the payloads before entry 12, on the ground of {BASIS}" in told.out
    assert tell(*home, "--before", "tomorrowish").code == 2
    assert tell(*home, "--before", datetime(2001, 1, 1, tzinfo=UTC).isoformat()).json == []


def test_a_person_who_may_not_sign_is_told_before_anything_goes(case: Case) -> None:
    asked: list[Sequence[str]] = []

    def nobody(people: Mapping[str, Sequence[str]]) -> Any:
        asked.append(sorted(people))
        raise ConfigurationError("no key at hand")

    with pytest.raises(ConfigurationError):
        prune_payloads(case.home, wish(), nobody, nothing_is_kept)
    assert "alice" in asked[0]
