"""Arguments of `list_actions`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import OPTIONAL

Status = Literal[
    "denied",
    "shadowed",
    "pending",
    "approved",
    "running",
    "succeeded",
    "failed",
    "unknown",
    "rejected",
    "expired",
    "cancelled",
    "stale",
]
"""Where an action can stand."""


class Arguments(ArgumentModel):
    """Which of the caller's actions, and how many at most."""

    status: Annotated[Status | None, OPTIONAL] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
