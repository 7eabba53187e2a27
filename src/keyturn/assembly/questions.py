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
from keyturn.policy import read_policy


@dataclass(frozen=True, slots=True)
class Explanations:
    """The digest of the policy that was asked, the request it was asked about, and what it says at each time."""

    policy: str
    asked: Asked
    answers: tuple[Explained, ...]


def explain(home: Home, question: Question, times: Sequence[datetime] = (), *, in_force: bool) -> Explanations:
    """Ask the policy file, or with `in_force` the policy in force, about a call; planned by reads, nothing written.

    Without `times` it is about now. Raises `Refused` as `ask` does, `ConfigurationError` for files that do not load.
    """
    explainer = open_explainer(home, "keyturn policy explain")
    try:
        candidate = None if in_force else read_policy(home.policy_files(), explainer.catalog.contracts)
        asked = anyio.run(ask, explainer, question)

        def look(view: Look) -> Explanations:
            policy = candidate or explainer.policies.in_force(view)
            return Explanations(policy.digest, asked, answer(view, policy, asked.request, times))

        return explainer.reader.look(look)
    finally:
        explainer.reader.close()
