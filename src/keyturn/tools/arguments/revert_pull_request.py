"""Arguments of `revert_pull_request`."""

from __future__ import annotations

from typing import Annotated

from keyturn.tools.arguments.base import OPTIONAL, GovernedArguments, Name
from keyturn.tools.arguments.merge_pull_request import Number
from keyturn.tools.arguments.open_pull_request import Body, Title


class Arguments(GovernedArguments):
    """Take back what the merged pull request `number` changed, as a new pull request."""

    repository: Name
    number: Number
    title: Annotated[Title | None, OPTIONAL] = None
    body: Annotated[Body | None, OPTIONAL] = None
    draft: bool = True
