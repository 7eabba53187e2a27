"""Arguments of `update_ticket`."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from keyturn.tools.arguments.base import OPTIONAL, GovernedArguments, Name, OptionalName

Status = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9])?$", max_length=64)]
"""A status as trackers spell it, such as `In Progress`."""

Comment = Annotated[str, Field(min_length=1, max_length=10_000)]
"""The text of one comment."""


class Arguments(GovernedArguments):
    """A new status, a comment, or both; `tracker` may be left out where only one holds the ticket."""

    model_config = ConfigDict(
        # The same rule for the schema. Not a root `anyOf`: hosts drop tools that have one there.
        json_schema_extra={
            "dependentSchemas": {"ticket": {"anyOf": [{"required": ["status"]}, {"required": ["comment"]}]}}
        }
    )

    ticket: Name
    tracker: OptionalName = None
    status: Annotated[Status | None, OPTIONAL] = None
    comment: Annotated[Comment | None, OPTIONAL] = None

    @model_validator(mode="after")
    def _says_something(self) -> Arguments:
        if self.status is None and self.comment is None:
            raise PydanticCustomError("says_nothing", "give status, comment or both")
        return self
