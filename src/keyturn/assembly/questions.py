"""Questions to a policy, the proposed or the one in force: asked of a home without touching its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio

from keyturn.assembly.build import open_explainer
from keyturn.assembly.home import Home
from keyturn.gateway.desk import Look
from keyturn.gateway.explaining import Asked, Explained, Question, answer, ask
from keyturn.model.errors import Refused
from keyturn.policy import Policy, read_policy


@dataclass(frozen=True, slots=True)
class Explanations:
    """The digest of the policy that was asked, the request it was asked about, and what it says at each time.

    `environment` is the one the target lies in, also where a denial comes before that is looked at.
    """

    policy: str
    asked: Asked
    environment: str | None
    answers: tuple[Explained, ...]


def explain(home: Home, question: Question, times: Sequence[datetime] = (), *, in_force: bool) -> Explanations:
    """Ask the policy file, or with `in_force` the policy in force, about a call; planned by reads, nothing written.

    Without `times` it is about now. Raises `Refused` as `ask` does and ("not_found") for a principal the policy does
    not know, `ConfigurationError` for files that do not load.
    """
    explainer = open_explainer(home, "keyturn policy explain")
    try:
        candidate = None if in_force else read_policy(home.policy_files(), explainer.catalog.contracts)
        policy = candidate or explainer.reader.look(explainer.policies.in_force)
        _check_known(policy, question.principal)
        asked = anyio.run(ask, explainer, question)

        def look(view: Look) -> Explanations:
            answers = answer(view, policy, asked.request, times)
            return Explanations(policy.digest, asked, _lies_in(policy, asked.request.target), answers)

        return explainer.reader.look(look)
    finally:
        explainer.reader.close()


def _lies_in(policy: Policy, target: str | None) -> str | None:
    found = None if target is None else policy.environment_of(target)
    return found if isinstance(found, str) else None


def _check_known(policy: Policy, principal: str) -> None:
    if principal not in policy.principals:
        names = ", ".join(sorted(policy.principals)) or "none"
        raise Refused("not_found", f"the policy has no principal {principal!r}; it has: {names}")
