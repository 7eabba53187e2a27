"""Changing the policy of a home: its cases, its past, going back, and what several people sign for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account
from keyturn.assembly.proposal import Proposal, diff_to_force, in_force
from keyturn.assembly.standing import open_ledger, open_reader
from keyturn.contracts import Catalog
from keyturn.gateway import policy_changes
from keyturn.gateway.acts import Candidate, Sign, read_candidate, sign_act
from keyturn.gateway.desk import Look
from keyturn.gateway.in_force import InForce, read_in_force
from keyturn.gateway.policy_changes import Standing, Version, draft_endorsement, files_of, find_version, find_waiting
from keyturn.gateway.replaying import Replay, compare, replay
from keyturn.gateway.review import Actor
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.policy import Policy, read_policy
from keyturn.policy.cases.running import TestRun, run_cases
from keyturn.policy.difference import Change, Outlook, difference

R = TypeVar("R")

PROGRAM = "keyturn policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What people see before they sign for a policy.

    difference  the unified diff of its files
    changes     who gains, who loses, and what reads otherwise, in sentences
    replay      the recorded requests that the policy in force and this one decide differently
                both None where the policy in force cannot be read with this program's contracts
    """

    version: Version
    candidate: Candidate
    force: InForce
    standing: Standing
    difference: str
    changes: tuple[Change, ...] | None
    replay: Replay | None

    @property
    def signed(self) -> tuple[str, ...]:
        """Who of those asked has endorsed it so far."""
        asked = () if self.standing.guard is None else self.standing.guard.reviewers
        return tuple(item.by for item in self.version.endorsed if item.by in asked)


@dataclass(frozen=True, slots=True)
class Tested:
    """A policy's digest and the run of its cases."""

    policy: str
    run: TestRun


def look_at(home: Home, job: Callable[[Look], R]) -> R:
    """Look at a home's ledger once, read-only."""
    reader = open_reader(home, PROGRAM)
    try:
        return reader.look(job)
    finally:
        reader.close()


def history_of(home: Home) -> tuple[tuple[Version, ...], Standing]:
    """Return every policy a home had or was proposed, the oldest first, and what the present one asks."""
    return look_at(home, lambda view: (policy_changes.history(view), policy_changes.standing(view)))


def standing_of(home: Home) -> Standing:
    """Return what the policy in force asks of the next one, and what waits."""
    return look_at(home, policy_changes.standing)


def read_text(home: Home, named: str | None) -> Policy:
    """Read a policy: the file on disk, or the one of the ledger that `named` says by entry or digest.

    Raises `ConfigurationError` with every problem, and `Refused` where the ledger has no such policy.
    """
    files = home.policy_files() if named is None else _files_named(home, named)
    return read_policy(files, read_own_catalog(home).contracts)


def earlier(home: Home, named: str) -> Proposal:
    """Read a policy of the ledger to put it in force again, or for the first time; as `read_proposal`.

    Raises `ConfigurationError` where it does not load with the contracts there are now, or its cases fail.
    """
    return Proposal(read_candidate(_files_named(home, named), read_own_catalog(home)), in_force(home))


def run_tests(home: Home, named: str | None) -> Tested:
    """Run the cases of a policy. Raises `ConfigurationError` where it does not load or has none."""
    policy = read_text(home, named)
    if not policy.cases:
        raise ConfigurationError(
            'policy.toml: tests: there is no case to run; name a folder: tests = "policy_tests/"'
        )
    return Tested(policy.digest, run_cases(policy))


def replay_all(home: Home, named: str | None) -> tuple[Policy, Replay]:
    """Decide what the ledger recorded once more by a policy, and hold it against what was decided."""
    policy = read_text(home, named)
    return policy, look_at(home, lambda view: replay(view, policy))


def propose(home: Home, candidate: Candidate, reason: str) -> int:
    """Record a policy for endorsement under this operating system account; returns its entry's place."""
    ledger = open_ledger(home, f"{PROGRAM} propose")
    try:
        return policy_changes.propose(ledger, candidate, Actor("account", account()), reason).seq
    finally:
        ledger.close()


def brief(home: Home, named: str | None) -> Brief:
    """Gather what people should see before they sign for a proposed policy; None names the only one that waits.

    Raises `Refused` where it does not wait, `ConfigurationError` where it does not load any more or its cases fail.
    """
    catalog = read_own_catalog(home)

    def look(view: Look) -> Brief:
        version = _waiting(view, named)
        candidate = read_candidate(files_of(view, version), catalog)
        force = read_in_force(view)
        old = _readable(force, catalog)
        return Brief(
            version=version,
            candidate=candidate,
            force=force,
            standing=policy_changes.standing(view),
            difference=diff_to_force(force, candidate.files),
            changes=None if old is None else _changes(old, candidate, force, view),
            replay=None if old is None else compare(view, old, candidate.policy),
        )

    return look_at(home, look)


def endorse(home: Home, digest: str, reason: str, by: str, sign: Sign) -> int:
    """Have the endorsement of a proposed policy signed by `by` and record it; returns its entry's place.

    Raises `Refused` where it does not count; nothing is written then.
    """
    ledger = open_ledger(home, f"{PROGRAM} endorse")
    try:
        return sign_act(ledger, draft_endorsement(ledger, digest, by, reason), sign).seq
    finally:
        ledger.close()


def _waiting(view: Look, named: str | None) -> Version:
    present = view.state.proposals
    if named is None:
        if len(present) != 1:
            text = "no policy waits for endorsements: keyturn policy propose -m REASON"
            several = f"{len(present)} policies wait for endorsements: say which, by entry or digest"
            raise Refused("usage" if present else "not_found", several if present else text)
        named = str(next(iter(present.values())).seq)
    return find_waiting(view, named)


def moved_calendars(old: Mapping[str, str], new: Mapping[str, str]) -> frozenset[str]:
    """Return the paths of the calendars that are not the same text in the files of two policies."""
    return frozenset(path for path in {*old, *new} if path.endswith(".ics") and old.get(path) != new.get(path))


def _changes(old: Policy, candidate: Candidate, force: InForce, view: Look) -> tuple[Change, ...]:
    return difference(old, candidate.policy, Outlook(view.now), moved_calendars(force.files, candidate.files))


def _files_named(home: Home, named: str) -> dict[str, str]:
    return look_at(home, lambda view: files_of(view, find_version(view, named)))


def _readable(force: InForce, catalog: Catalog) -> Policy | None:
    try:
        return read_policy(force.files, catalog.contracts)
    except ConfigurationError:
        return None
