"""Policies that ask several people to sign for the next one: what counts, what does not, and who wins a race."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.approvals.statement import ACT_NAMESPACE, ActStatement
from keyturn.assembly.changing import brief, earlier, read_text
from keyturn.assembly.outside import surroundings
from keyturn.canon import Json, encode, manifest_digest
from keyturn.contracts import catalog_of
from keyturn.fold.guarding import MOST_PROPOSALS
from keyturn.fold.state import State
from keyturn.gateway.acts import (
    Candidate,
    draft_activation,
    read_candidate,
    statement_of,
    submit_act,
)
from keyturn.gateway.desk import Job, Look
from keyturn.gateway.policy_changes import draft_endorsement, history, propose
from keyturn.gateway.review import Actor
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.verifier import verify_ledger
from tests.gateway.policy_racer import unchecked
from tests.gateway.world import World

GUARD = '[policy]\napproval = { quorum = 2, from = ["alice", "carol"] }\n\n'
GUARDED = ("version = 1\n", f"version = 1\n\n{GUARD}")
LESS = ('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]')
SOMEBODY = Actor("account", "tests")


@pytest.fixture
def guarded(world: World) -> World:
    """A home whose policy asks alice and carol, both, to sign for the next one."""
    world.activate(GUARDED)
    return world


def candidate(world: World, *changes: tuple[str, str]) -> Candidate:
    path = world.home.folder / "policy.toml"
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return read_candidate(world.home.policy_files(), world.gate.catalog)


def proposed(world: World, *changes: tuple[str, str]) -> Candidate:
    wanted = candidate(world, *changes)
    propose(world.gate.ledger, wanted, SOMEBODY, "because")
    return wanted


def endorse(world: World, wanted: Candidate, who: str, by: str | None = None) -> Entry:
    return world.act(draft_endorsement(world.gate.ledger, wanted.policy.digest, by or who), who)


def activate(world: World, wanted: Candidate, who: str = "alice") -> Entry:
    return world.act(draft_activation(world.gate.ledger, wanted, who), who)


def saying(world: World, wanted: Candidate, by: str) -> ActStatement:
    """Return what `by` would sign to put a policy in force now."""

    def look(view: Look) -> ActStatement:
        assert view.state.policy is not None
        return statement_of(view, "policy.activate", view.state.policy.digest, wanted.policy.digest, by)

    return world.gate.ledger.look(look)


def refused(world: World, job: Callable[..., object], *arguments: object) -> str:
    """Return the code with which something is refused, and hold that nothing was written."""
    size = len(world.entries())
    with pytest.raises(Refused) as caught:
        job(*arguments)
    assert len(world.entries()) == size
    return caught.value.code


# --- what it takes --------------------------------------------------------------------------------------------


def test_what_a_policy_asks_of_the_next_one_stands_beside_its_activation(guarded: World) -> None:
    (entry,) = guarded.entries("policy.guarded")
    activation = guarded.entries("policy.activated")[-1]
    assert entry.seq == activation.seq + 1
    assert entry.facts == {
        "policy": activation.facts["policy"],
        "quorum": 2,
        "from": ["alice", "carol"],
        "reviewers": ["alice", "carol"],
    }


def test_the_next_policy_takes_as_many_people_as_the_one_in_force_asks(guarded: World) -> None:
    wanted = proposed(guarded, LESS)
    assert refused(guarded, activate, guarded, wanted, "alice") == "not_endorsed"
    endorse(guarded, wanted, "carol")
    assert activate(guarded, wanted).facts["policy"] == wanted.policy.digest
    assert guarded.entries("policy")[-1].kind == "policy.guarded"  # the new one asks the same again


def test_two_who_endorsed_let_somebody_else_activate(guarded: World) -> None:
    wanted = proposed(guarded, LESS)
    assert [endorse(guarded, wanted, who).facts["proposal"] for who in ("alice", "carol")] == [
        guarded.entries("policy.proposed")[0].seq
    ] * 2
    assert activate(guarded, wanted, "bob").kind == "policy.activated"


def test_a_policy_that_asks_for_nobody_is_followed_by_one_signature(world: World) -> None:
    wanted = proposed(world, LESS)
    assert refused(world, endorse, world, wanted, "carol") == "not_guarded"
    assert activate(world, wanted).kind == "policy.activated"
    assert world.entries("policy.guarded") == []


def test_the_guard_can_be_taken_away_only_by_those_it_asks(guarded: World) -> None:
    wanted = proposed(guarded, (GUARD, ""))
    assert refused(guarded, activate, guarded, wanted, "alice") == "not_endorsed"
    endorse(guarded, wanted, "carol")
    activate(guarded, wanted)
    assert guarded.gate.ledger.look(lambda view: view.state.guard) is None
    assert activate(guarded, candidate(guarded, LESS), "bob").kind == "policy.activated"


# --- attacks --------------------------------------------------------------------------------------------------


def test_one_person_does_not_count_twice(guarded: World) -> None:
    """Neither by a second entry, nor by endorsing and activating, nor by a second key."""
    wanted = proposed(guarded, LESS)
    endorse(guarded, wanted, "alice")
    assert refused(guarded, endorse, guarded, wanted, "alice") == "endorsed_already"
    assert refused(guarded, activate, guarded, wanted, "alice") == "not_endorsed"


def test_a_second_key_of_one_person_is_not_a_second_person(world: World) -> None:
    line = world.keys["mallory"].with_suffix(".pub").read_text().strip()
    path = world.home.folder / "policy.toml"
    alice = path.read_text().split("[reviewers.alice]")[1].split("keys = [")[1].split("]")[0]
    world.activate((alice, f'{alice}, "{line}"'), GUARDED)
    wanted = proposed(world, LESS)
    endorse(world, wanted, "alice")
    assert refused(world, world.act, unchecked(wanted, saying(world, wanted, "alice")), "mallory") == "not_endorsed"
    drafted = draft_endorsement(world.gate.ledger, wanted.policy.digest, "carol")
    again = replace(drafted, statement=replace(drafted.statement, by="alice"))
    with pytest.raises(LedgerError, match="'alice' endorsed this policy"):
        world.act(again, "mallory")


def test_who_is_not_asked_endorses_nothing(guarded: World) -> None:
    """Bob is a reviewer, but not one of those; mallory is nobody."""
    wanted = proposed(guarded, LESS)
    assert refused(guarded, endorse, guarded, wanted, "bob") == "not_eligible"
    assert refused(guarded, endorse, guarded, wanted, "mallory") == "not_eligible"
    assert refused(guarded, endorse, guarded, wanted, "mallory", "carol") == "not_a_reviewer"


def test_who_endorses_is_said_by_the_policy_in_force_and_not_by_the_candidate(guarded: World) -> None:
    line = guarded.keys["mallory"].with_suffix(".pub").read_text().strip()
    own = ('from = ["alice", "carol"]', 'from = ["alice", "mallory"]')
    wanted = proposed(
        guarded, own, ("[reviewers.alice]", f'[reviewers.mallory]\nkeys = ["{line}"]\n\n[reviewers.alice]')
    )
    assert refused(guarded, endorse, guarded, wanted, "mallory") == "not_eligible"
    assert refused(guarded, activate, guarded, wanted, "alice") == "not_endorsed"


def test_an_endorsement_of_one_text_is_none_of_another(guarded: World) -> None:
    one = proposed(guarded, LESS)
    other = proposed(guarded, (LESS[1], 'limits = ["2 calls per hour"]'))
    endorse(guarded, one, "carol")
    assert refused(guarded, activate, guarded, other, "alice") == "not_endorsed"
    draft = draft_endorsement(guarded.gate.ledger, other.policy.digest, "carol")
    for_one = replace(draft.statement, digest=one.policy.digest)
    signed_for_one = guarded.sign(for_one.signed_bytes, "carol", ACT_NAMESPACE)
    assert refused(guarded, submit_act, guarded.gate.ledger, draft, signed_for_one) == "bad_signature"


def test_an_endorsement_is_void_once_anything_was_activated(guarded: World) -> None:
    """Going back to the policy under which it was given does not bring it back, nor is its signature good again."""
    first = guarded.gate.ledger.look(lambda view: view.state.policy)
    wanted = proposed(guarded, LESS)
    draft = draft_endorsement(guarded.gate.ledger, wanted.policy.digest, "carol")
    signature = guarded.sign(draft.to_sign, "carol", ACT_NAMESPACE)
    submit_act(guarded.gate.ledger, draft, signature)
    activate(guarded, wanted)
    back = proposed(guarded, (LESS[1], LESS[0]))
    assert first is not None
    assert back.policy.digest == first.digest
    endorse(guarded, back, "carol")
    activate(guarded, back)
    again = proposed(guarded, LESS)
    assert again.policy.digest == wanted.policy.digest
    assert refused(guarded, activate, guarded, again, "alice") == "not_endorsed"
    assert refused(guarded, submit_act, guarded.gate.ledger, draft, signature) == "superseded"


def test_what_is_not_proposed_cannot_be_endorsed(guarded: World) -> None:
    wanted = candidate(guarded, LESS)
    assert refused(guarded, endorse, guarded, wanted, "carol") == "not_proposed"


def test_a_policy_is_proposed_once_and_not_while_it_is_in_force(guarded: World) -> None:
    present = candidate(guarded)
    assert refused(guarded, propose, guarded.gate.ledger, present, SOMEBODY, "again") == "already_in_force"
    wanted = proposed(guarded, LESS)
    assert refused(guarded, propose, guarded.gate.ledger, wanted, SOMEBODY, "again") == "already_proposed"


def test_an_activation_without_endorsements_does_not_pass_the_fold(guarded: World) -> None:
    """Whoever reaches the ledger past the gateway's own look is refused by what every process follows."""
    wanted = candidate(guarded, LESS)
    draft = unchecked(wanted, saying(guarded, wanted, "alice"), checked=False)
    size = len(guarded.entries())
    with pytest.raises(LedgerError, match="2 of alice, carol sign"):
        guarded.act(draft)
    assert len(guarded.entries()) == size


# --- cases ----------------------------------------------------------------------------------------------------

CASES = """
[[cases]]
name = "a comment on a ticket goes through"
principal = "claude"
tool = "update_ticket"
arguments = { ticket = "OPS-1", comment = "hello" }
target = "tickets:ops/OPS-1"
expect = "EXPECTED"
"""


def with_cases(world: World, expected: str) -> None:
    folder = world.home.folder / "policy_tests"
    folder.mkdir(exist_ok=True)
    (folder / "tickets.toml").write_text(CASES.replace("EXPECTED", expected))
    path = world.home.folder / "policy.toml"
    if "tests = " not in path.read_text():
        path.write_text(path.read_text().replace("version = 1\n", 'version = 1\ntests = "policy_tests/"\n'))


def test_a_policy_whose_cases_fail_is_neither_activated_nor_proposed(world: World) -> None:
    with_cases(world, "deny")
    with pytest.raises(ConfigurationError, match=r"policy_tests/tickets.toml: cases\[0\].*expected deny, got permit"):
        candidate(world)
    with_cases(world, "permit")
    assert activate(world, candidate(world)).kind == "policy.activated"


def test_cases_are_part_of_what_is_signed(world: World) -> None:
    with_cases(world, "permit")
    wanted = candidate(world)
    assert set(wanted.files) == {"policy.toml", "policy_tests/tickets.toml"}
    draft = draft_activation(world.gate.ledger, wanted, "alice")
    text = wanted.files["policy_tests/tickets.toml"] + "# another text\n"
    swapped = read_candidate({**wanted.files, "policy_tests/tickets.toml": text}, world.gate.catalog)
    assert swapped.policy.digest != wanted.policy.digest
    other = draft_activation(world.gate.ledger, swapped, "alice")
    signature = world.sign(draft.to_sign, "alice", ACT_NAMESPACE)
    assert refused(world, submit_act, world.gate.ledger, other, signature) == "bad_signature"


# --- what every process knows ---------------------------------------------------------------------------------


def test_another_process_and_a_snapshot_know_what_was_endorsed(guarded: World) -> None:
    wanted = proposed(guarded, LESS)
    endorse(guarded, wanted, "carol")
    state = guarded.gate.ledger.look(lambda view: view.state)
    told = State.from_json(state.to_json())
    assert (told.guard, told.proposals) == (state.guard, state.proposals)
    other = Ledger(guarded.home.place, State, surroundings("another"))
    try:
        proposals = other.look(lambda view: view.state.proposals)
        assert proposals[wanted.policy.digest].endorsed.keys() == {"carol"}
    finally:
        other.close()


RACERS = 8


def test_of_eight_processes_that_activate_at_once_exactly_one_does(guarded: World, tmp_path: Path) -> None:
    path = guarded.home.folder / "policy.toml"
    original = path.read_text()
    for number in range(RACERS):
        path.write_text(f"{original}\n# racer {number}\n")
        wanted = candidate(guarded)
        propose(guarded.gate.ledger, wanted, SOMEBODY, "a race")
        endorse(guarded, wanted, "carol")
    path.write_text(original)
    before = len(guarded.entries("policy.activated"))
    # All are signed under one activation: whoever comes second finds another one in force.
    racers = [racer(guarded, tmp_path, number, f"{original}\n# racer {number}\n") for number in range(RACERS)]
    for process in racers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate()[0].strip() for process in racers]
    assert sorted(said.isdigit() for said in told) == [False] * (RACERS - 1) + [True]
    assert {said for said in told if not said.isdigit()} == {"superseded"}
    assert len(guarded.entries("policy.activated")) == before + 1


def racer(world: World, folder: Path, number: int, text: str) -> subprocess.Popen[str]:
    """Start a process that has an activation signed by alice, of a text that carol endorsed."""
    said = saying(world, read_candidate({"policy.toml": text}, world.gate.catalog), "alice").signed_bytes
    parts = (text.encode(), said, world.sign(said, "alice", ACT_NAMESPACE))
    files = [folder / f"racer-{number}-{part}" for part in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(part)
    command = [sys.executable, "-m", "tests.gateway.policy_racer", str(world.home.folder), *map(str, files)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def propose_much(world: World, wanted: Candidate, count: int) -> None:
    for number in range(count):
        files = {**wanted.files, "policy.toml": f"# {number}"}
        junk = replace(wanted, files=files, policy=replace(wanted.policy, digest=manifest_digest(files)))
        propose(world.gate.ledger, junk, SOMEBODY, "much")


def test_a_text_that_is_proposed_anew_is_told_with_the_endorsements_since_then(guarded: World) -> None:
    wanted = proposed(guarded, LESS)
    propose_much(guarded, wanted, MOST_PROPOSALS)
    propose(guarded.gate.ledger, wanted, SOMEBODY, "again")
    endorse(guarded, wanted, "carol")
    activate(guarded, wanted)
    versions = guarded.gate.ledger.look(history)
    told = [(v.kind, [item.by for item in v.endorsed]) for v in versions if v.policy == wanted.policy.digest]
    assert told == [("proposed", []), ("proposed", ["carol"]), ("activated", ["carol"])]


def test_whoever_proposes_much_keeps_nobody_from_changing_the_policy(guarded: World) -> None:
    wanted = proposed(guarded, LESS)
    endorse(guarded, wanted, "carol")
    propose_much(guarded, wanted, MOST_PROPOSALS + 5)
    waiting = guarded.gate.ledger.look(lambda view: State.from_json(view.state.to_json()).proposals)
    assert len(waiting) == MOST_PROPOSALS
    activate(guarded, wanted)


def test_contracts_that_moved_alone_can_be_endorsed_and_activated(guarded: World) -> None:
    same = candidate(guarded)
    assert refused(guarded, propose, guarded.gate.ledger, same, SOMEBODY, "because") == "already_in_force"
    files = dict(same.catalog.files)
    path = next(iter(files))
    moved = replace(same, catalog=catalog_of({**files, path: files[path] + "\n"}))
    propose(guarded.gate.ledger, moved, SOMEBODY, "because")
    endorse(guarded, moved, "carol")
    activate(guarded, moved)
    assert guarded.kinds()[-3:] == ["policy.activated", "catalog.published", "policy.guarded"]
    assert verify_ledger(guarded.home.place.database).verdict == "PASS-UNANCHORED"


def test_nobody_is_shown_another_text_than_they_sign_for(guarded: World) -> None:
    """Who has the entry key may put a harmless text beside the digest of another one."""
    harmless, other = candidate(guarded, LESS), candidate(guarded, (LESS[1], LESS[1].replace("1 calls", "999 calls")))

    def job(tx: Job) -> Entry:
        facts: dict[str, Json] = {
            "policy": other.policy.digest,
            "previous": tx.state.policy.digest if tx.state.policy else "",
            "by": {"type": "account", "name": "tests"},
        }
        return tx.append("policy.proposed", facts, data={"policy.files": encode(dict(harmless.files))})

    entry = guarded.gate.ledger.transact(job)
    for show in (brief, earlier, read_text):
        with pytest.raises(LedgerError, match="another policy than it says"):
            show(guarded.home, str(entry.seq))
