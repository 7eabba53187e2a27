"""Arguments of `list_actions`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keyturn.approvals.action import State
from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import OPTIONAL


class Arguments(ArgumentModel):
    """Which of the caller's actions, and how many at most."""

    status: Annotated[State | None, OPTIONAL] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
