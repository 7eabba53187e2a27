"""Arguments of `create_ticket`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keyturn.tools.arguments.base import ARRAY, OPTIONAL, UNSEEN, GovernedArguments, OptionalName
from keyturn.tools.arguments.open_pull_request import Body, Title

Label = Annotated[str, Field(pattern=rf"^[^ {UNSEEN}][^{UNSEEN}]*$", min_length=1, max_length=100)]
"""A label as trackers spell it, such as `good first issue`."""

Labels = Annotated[tuple[Label, ...], ARRAY, Field(max_length=20)]
"""At most 20 labels."""


class Arguments(GovernedArguments):
    """A new ticket in `tracker`, which may be left out where there is only one."""

    tracker: OptionalName = None
    title: Title
    body: Body = ""
    labels: Annotated[Labels | None, OPTIONAL] = None
