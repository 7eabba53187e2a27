"""Who signs an operator's act: as everywhere, but a key that nobody is listed with makes an act that cannot count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from keyturn.cli.signer import Signer, signer_of
from keyturn.model.errors import Refused


def act_signer(people: Mapping[str, Sequence[str]], key: Path | None, as_name: str | None) -> Signer:
    """Return who signs with what. `people` are the reviewers of the policy in force, name → public key lines.

    Raises `Refused` ("not_a_reviewer") for a key that is nobody's, before it is asked to sign; else as `signer_of`.
    """
    try:
        return signer_of(people, key, as_name)
    except click.UsageError as error:
        if key is None:
            raise
        raise Refused("not_a_reviewer", error.message) from error
