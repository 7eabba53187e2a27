"""Arguments of `open_pull_request`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keyturn.tools.arguments.base import UNSEEN, GovernedArguments, Name
from keyturn.tools.arguments.files import FileChanges

Branch = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_+@#=-]*(?:[./][A-Za-z0-9_][A-Za-z0-9_+@#=-]*)*$", max_length=200),
]
"""A short branch name, narrower than git-check-ref-format(1): no leading dash, no `..`, no `@{`."""

Title = Annotated[str, Field(pattern=rf"^[^ {UNSEEN}][^{UNSEEN}]*$", min_length=1, max_length=200)]
"""One visible line."""

Body = Annotated[str, Field(max_length=20_000)]
"""A longer text, in Markdown."""


class Arguments(GovernedArguments):
    """A change to `repository`, proposed against `base`."""

    repository: Name
    base: Branch
    title: Title
    body: Body = ""
    files: FileChanges
    draft: bool = True
