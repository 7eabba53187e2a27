"""Whether a home has the anchors that a policy asks for before effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.assembly.home import Home
from keyturn.gateway.core import Gateway
from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy


def anchor_problems(policy: Policy, home: Home) -> tuple[str, ...]:
    """Return what is wrong with each grant that asks for an anchor before the effect, where the home has none."""
    places = [grant.place for grant in policy.grants if grant.id in policy.anchored]
    if not places:
        return ()
    # Imported here: most policies ask for none of it.
    from keyturn.assembly.wiring import read_anchors  # noqa: PLC0415

    try:
        declared: Mapping[str, Any] = read_anchors(home.wiring)
    except ConfigurationError as error:
        return error.problems
    if any(settings.required for settings in declared.values()):
        return ()
    return tuple(
        f'{place}.anchor: "before" needs an anchor that must have each intent; {home.wiring.name} declares none: '
        "say required = true in one of its tables [anchors.NAME]"
        for place in places
    )


def check_anchors(gate: Gateway, home: Home) -> None:
    """Refuse to serve under a policy in force that asks for anchors which the home has not.

    Raises `ConfigurationError` with each place.
    """
    if problems := anchor_problems(gate.ledger.look(gate.policies.in_force), home):
        raise ConfigurationError(*(f"the policy in force: {problem}" for problem in problems))
