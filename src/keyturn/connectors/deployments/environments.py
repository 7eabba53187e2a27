"""The environments of a deployment, whatever kind it is: which names they may have, and each by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from keyturn.connectors.deployments import Rollback
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Inverse
from keyturn.model.text import visible

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def check_names(names: Iterable[str]) -> None:
    """Refuse (`ValueError`, for settings) what is no name of an environment."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{visible(name)!r} is not a name (letters, digits, `.`, `_`, `-`; at most 64)")


def member(deployment: str, environments: Mapping[str, T], environment: str) -> T:
    """Return what a deployment keeps for an environment. Raises `ConnectorError` where it has none of this name."""
    if environment not in environments:
        raise ConnectorError(f'deployment "{deployment}" has no environment "{visible(environment)}"')
    return environments[environment]


def way_back(deployment: str, rollback: Rollback, version: str) -> Inverse:
    """Return the rollback to what was live before another one; `version` is what its summary calls that."""
    return Inverse(
        summary=f"Put {version} back in service in {rollback.environment}.",
        tool="rollback_deployment",
        arguments={"deployment": deployment, "environment": rollback.environment, "to": rollback.current},
    )
