"""Arguments of `merge_pull_request`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from keyturn.tools.arguments.base import GovernedArguments, Name

Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""The number a forge gives to a pull request."""


class Arguments(GovernedArguments):
    """Merge the pull request `number` of `repository` into its base, in one of three ways."""

    repository: Name
    number: Number
    method: Literal["merge", "squash", "rebase"] = "merge"
