"""Arguments of `rollback_deployment`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keyturn.tools.arguments.base import GovernedArguments, Name, OptionalName

Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$", max_length=100)]
"""A version or revision, or the word `previous`."""


class Arguments(GovernedArguments):
    """Put the version `to` of `deployment` back in service; `environment` only selects and must agree."""

    deployment: Name
    environment: OptionalName = None
    to: Version
