"""What stands with a request in its commit: what it reserves, and that it is withheld for a person's hand.

A verifier takes neither from the ledger's word. What a request reserves is what the policy in force declares for its
tool (11), and it is withheld by exactly the rules that the decision names (11).
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.log.entry import Entry
from keyturn.model.decision import Decision, Hold, Permit
from keyturn.policy import Policy
from keyturn.policy.costs import COST, RUNTIME
from keyturn.verifier.proofs import NotProved

_RESERVED = "action.reserved"
_WITHHELD = "action.withheld"


class Beside:
    """What has yet to follow the request that was taken last; nothing, once another entry has come."""

    def __init__(self) -> None:
        self._action: str | None = None
        self._amounts: dict[str, int] = {}
        self._rules: Sequence[str] | None = ()

    def expect(self, request: Entry, policy: Policy, decision: Decision | None) -> None:
        """Take a request. `decision` is None where payloads are erased, so that nobody can say what withholds it."""
        shadow = request.facts["decision"] == "shadow"
        amounts = {} if shadow else policy.reserved_by(request.text("tool"))
        self._action = request.action
        self._amounts = {unit: amounts.get(unit, 0) for unit in (COST, RUNTIME)} if amounts else {}
        self._rules = decision.manual if isinstance(decision, Permit | Hold) else () if decision or shadow else None

    def check(self, entry: Entry) -> None:
        """Prove 11 of any entry: it is what has yet to follow the last request. Raises `NotProved`."""
        if entry.kind == _RESERVED:
            if entry.action != self._action or not self._amounts or entry.facts["amounts"] != self._amounts:
                raise NotProved(entry.seq, 11, f"the policy has it reserve {_words(self._amounts)}")
            self._amounts = {}
            return
        if self._amounts:
            due = _words(self._amounts)
            raise NotProved(entry.seq, 11, f"the policy has the request before it reserve {due}: nothing says so")
        self._check_withheld(entry)
        self._action, self._rules = None, ()

    def _check_withheld(self, entry: Entry) -> None:
        if entry.kind != _WITHHELD:
            if self._rules:
                raise NotProved(entry.seq, 11, "the policy withholds the request before it: nothing says so")
        elif entry.action != self._action or self._rules not in (None, tuple(_listed(entry.facts["rules"]))):
            raise NotProved(entry.seq, 11, "the policy does not withhold its action by these rules")


def _words(amounts: dict[str, int]) -> str:
    return ", ".join(f"{amount} {unit}" for unit, amount in amounts.items()) or "nothing"


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
