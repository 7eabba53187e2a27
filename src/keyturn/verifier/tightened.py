"""Proof 11 of what a policy wants suspended while something is wrong: nothing went on that it stops."""

from __future__ import annotations

from keyturn.fold.degrading import scope_of, still_due
from keyturn.fold.state import State
from keyturn.fold.suspensions import SUSPENDED
from keyturn.log.entry import Entry
from keyturn.policy import Policy
from keyturn.verifier.proofs import NotProved


def check_tightened(entry: Entry, about: Entry, policy: Policy, state: State, *, reads: bool = False) -> None:
    """Prove that the policy had nothing suspended by now that covers what `about` names. Raises `NotProved`."""
    environment = about.text("environment")
    for item in still_due(policy.degrade, state, entry.at):
        if item.environment in (None, environment) and (not reads or item.mode == SUSPENDED):
            wanted = f"{scope_of(item)} {item.mode}"
            raise NotProved(entry.seq, 11, f"{item.rule} of the policy ({item.why}) wanted {wanted}")
