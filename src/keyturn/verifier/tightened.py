"""Proof 11 of what a policy wants suspended while something is wrong: nothing went on that it stops."""

from __future__ import annotations

from keyturn.fold.state import State
from keyturn.fold.suspensions import SUSPENDED, Scope, stricter
from keyturn.log.entry import Entry
from keyturn.policy import Policy
from keyturn.policy.degrade import due
from keyturn.verifier.proofs import NotProved


def check_tightened(entry: Entry, about: Entry, policy: Policy, state: State, *, reads: bool = False) -> None:
    """Prove that the policy had nothing suspended by now that covers what `about` names. Raises `NotProved`."""
    if not policy.degrade:
        return
    environment = about.text("environment")
    for item in due(policy.degrade, state.alarms(entry.at), entry.at):
        scope = Scope("all") if item.environment is None else Scope("environment", item.environment)
        covers = item.environment in (None, environment) and (not reads or item.mode == SUSPENDED)
        if covers and stricter(state.suspensions.of(scope), item.mode):
            raise NotProved(entry.seq, 11, f"{item.rule} of the policy ({item.why}) wanted {scope} {item.mode}")
