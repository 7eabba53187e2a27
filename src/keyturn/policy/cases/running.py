"""Runs a policy's cases: what each got and wanted, and which rules no case reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from keyturn.model.decision import Decision, Deny
from keyturn.policy.cases.case import Case, Earlier
from keyturn.policy.explanation import explain
from keyturn.policy.policy import Policy
from keyturn.policy.shown import shown
from keyturn.policy.usage import Usage

_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case and what the policy said to it: `rules` are the ids that spoke; `wrong` is empty where it passed."""

    case: Case
    decision: Decision
    rules: tuple[str, ...]
    reached: frozenset[str]
    wrong: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The decision in a word."""
        return type(self.decision).__name__.lower()

    @property
    def failure(self) -> str:
        """Where it stands and what was wrong, in one line."""
        return f'{self.case.place} "{self.case.name}": {"; ".join(self.wrong)}'


@dataclass(frozen=True, slots=True)
class TestRun:
    """Every case of a policy with its result, and `unreached`: (kind, id, place) of the rules no case reached."""

    __test__ = False  # it is no test of pytest's

    results: tuple[CaseResult, ...]
    unreached: tuple[tuple[str, str, str], ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """One line per case that did not pass."""
        return tuple(result.failure for result in self.results if result.wrong)


def run_cases(policy: Policy) -> TestRun:
    """Decide every case of a policy with the usage it states; the same policy always gives the same run."""
    results = tuple(run_case(policy, case) for case in policy.cases)
    reached = frozenset().union(*(result.reached for result in results))
    rules = (("grant", policy.grants), ("forbid", policy.forbids))
    left = ((kind, rule.id, rule.place) for kind, written in rules for rule in written if rule.id not in reached)
    return TestRun(results, tuple(left))


def run_case(policy: Policy, case: Case) -> CaseResult:
    """Decide one case and hold the decision against what it expects."""
    explained = explain(policy, case.request, _usage(policy, case), case.at)
    decision = explained.decision
    spoke = _spoke(decision)
    applied = {trace.rule for trace in explained.rules if trace.verdict == "applies"}
    return CaseResult(
        case=case,
        decision=decision,
        rules=tuple(rule for rule in spoke if rule in applied),
        reached=frozenset(spoke) & applied,
        wrong=tuple(_wrong(case, decision, [rule for rule in spoke if rule in applied])),
    )


def _spoke(decision: Decision) -> list[str]:
    """Return the ids of the rules that a decision names, each once."""
    given = (reason.rule for reason in decision.reasons if reason.rule is not None)
    return list(dict.fromkeys((*decision.rules, *given)))


def _wrong(case: Case, decision: Decision, rules: list[str]) -> Iterable[str]:
    verdict = type(decision).__name__.lower()
    why = "; ".join(f"{reason.code}: {reason.text}" for reason in decision.reasons[:_TOLD])
    if verdict != case.expect:
        yield f"expected {case.expect}, got {verdict} ({why})"
        return
    if case.rule is not None and case.rule not in rules:
        spoke = ", ".join(map(shown, rules)) or "no rule"
        yield f"expected the rule {shown(case.rule)} to speak, but {spoke} did"
    codes = {reason.code for reason in decision.reasons}
    if case.code is not None and case.code not in codes:
        yield f"expected the code {case.code}, got {', '.join(sorted(codes))}"


def _usage(policy: Policy, case: Case) -> Usage:
    usage = Usage()
    # Oldest first, as a ledger would tell it: how old a use is, the latest one says.
    for index, earlier in enumerate(sorted(case.used, key=lambda item: item.ago, reverse=True)):
        _use(policy, case, earlier, (usage, f"earlier-{index}"))
    return usage


def _use(policy: Policy, case: Case, earlier: Earlier, place: tuple[Usage, str]) -> None:
    usage, name = place
    principal = earlier.principal or case.request.principal
    known = policy.principals.get(principal)
    target = earlier.target or case.request.target or ""
    usage.reserve(
        name,
        at=_before(case.at, earlier),
        principal=principal,
        owner=known.owner if known else None,
        tool=earlier.tool or case.request.tool,
        target=target,
        environment=earlier.environment or _environment(policy, target),
        amounts=earlier.amounts,
        pending=earlier.pending,
    )
    if not earlier.pending:
        usage.settle(name, release=earlier.ended == "failed")
        _note(usage, principal, earlier, case)


def _note(usage: Usage, principal: str, earlier: Earlier, case: Case) -> None:
    """Note how an earlier action ended, for risk scores."""
    target, at = earlier.target or case.request.target or "", _before(case.at, earlier)
    if earlier.ended == "failed":
        usage.history.failed(target, at)
        return
    usage.history.succeeded(principal, earlier.tool or case.request.tool)
    if earlier.ended == "undone":
        usage.history.undone(target, at)


def _before(at: datetime, earlier: Earlier) -> datetime:
    return at - earlier.ago


def _environment(policy: Policy, target: str) -> str:
    found = policy.environment_of(target)
    return "" if isinstance(found, Deny) else found
