"""Arguments of `get_action`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import ActionId


class Arguments(ArgumentModel):
    """The action to follow, and for how many seconds to wait for its end (0: answer at once)."""

    action_id: ActionId
    wait_seconds: Annotated[int, Field(ge=0, le=45)] = 0
