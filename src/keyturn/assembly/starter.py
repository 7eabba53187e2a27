"""The starter files of a new home: carried in the wheel, or the repository's own root in a checkout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keyturn
from keyturn.model.errors import ConfigurationError
from keyturn.model.sshkey import PublicKey

PEOPLE_BEGIN = "# --- people "
PEOPLE_END = "# --- end of people "


@dataclass(frozen=True, slots=True)
class NewPrincipal:
    """An assistant to be named in a new home's policy; without an owner four eyes are not enforced for it."""

    name: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class NewReviewer:
    """A reviewer to be named in a new home's policy."""

    name: str
    key: PublicKey


def starter_folder() -> Path:
    """Return the folder that holds the starter `policy.toml`, `keyturn.toml` and `tool_schemas/`."""
    package = Path(keyturn.__file__).parent
    for folder in (package / "starter", package.parents[1]):
        if (folder / "policy.toml").is_file() and (folder / "tool_schemas").is_dir():
            return folder
    raise ConfigurationError("this installation carries no starter files; reinstall keyturn")


def starter_policy(principals: Sequence[NewPrincipal], reviewers: Sequence[NewReviewer], *, bare: bool) -> str:
    """Return the text of a new home's policy: the starter's rules with these people in it, or no rules when bare."""
    text = (starter_folder() / "policy.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition(PEOPLE_BEGIN)
    _, _, rules = rest.partition(PEOPLE_END)
    rules = rules.partition("\n")[2]
    return "".join([head if not bare else "version = 1\n\n", _people(principals, reviewers), "" if bare else rules])


def _people(principals: Sequence[NewPrincipal], reviewers: Sequence[NewReviewer]) -> str:
    parts = [_principal(item) for item in principals] + [_reviewer(item) for item in reviewers]
    known = {item.name for item in reviewers}
    owners = {item.owner for item in principals if item.owner and item.owner not in known}
    parts += [f"[people.{owner}]\n" for owner in sorted(owners)]
    return "\n".join(parts)


def _principal(item: NewPrincipal) -> str:
    owner = f'owner = "{item.owner}"\n' if item.owner else ""
    return (
        f'[principals.{item.name}]\n{owner}groups = ["assistants"]\n'
        'scopes = ["pr:write", "pr:read", "deploy:rollback", "deploy:read", "ticket:write", "ticket:read"]\n'
    )


def _reviewer(item: NewReviewer) -> str:
    return f'[reviewers.{item.name}]\nkeys = ["{item.key.line}"]\ngroups = ["sre"]\n'
