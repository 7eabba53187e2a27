"""Arguments of `get_deployment`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import Name, OptionalName


class Arguments(ArgumentModel):
    """The deployment to look at; `environment` only selects and must agree."""

    deployment: Name
    environment: OptionalName = None
