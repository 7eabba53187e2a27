"""Questions about whole policies: who can call a tool, and who gains and loses what from one policy to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.case_files import case_files
from keyturn.assembly.changing import look_at, moved_calendars
from keyturn.assembly.home import MAX_POLICY, POLICY, Home
from keyturn.assembly.included_files import included_files
from keyturn.assembly.plain_files import text_of
from keyturn.assembly.ports import tool_ports
from keyturn.canon import Json
from keyturn.contracts import Catalog, RefusedArguments, parse_arguments
from keyturn.gateway.in_force import read_in_force
from keyturn.gateway.policy_changes import files_of, find_version
from keyturn.gateway.replaying import Replay, compare
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.policy import Policy, read_policy
from keyturn.policy.difference import Change, Outlook, difference
from keyturn.policy.reach.who_can import Ability, Answer, Inquiry, abilities, overall
from keyturn.tools.arguments import models

IN_FORCE = "in-force"
"""What stands for the policy in force where a policy is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Who can: `policy` is the digest of the policy that was asked, `at` the time the answer holds for.

    `in_force` says that it was the policy in force, and not the file.
    """

    policy: str
    in_force: bool
    at: datetime
    answer: Answer
    found: tuple[Ability, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changes from one policy to another. `replay` is None in a home without a ledger."""

    old: str
    new: str
    changes: tuple[Change, ...]
    replay: Replay | None


def who_can(home: Home, tool: str, environment: str, *, without_approval: bool, in_force: bool) -> Abilities:
    """Ask the policy file, or with `in_force` the policy in force, who can call a tool in an environment now.

    Raises `Refused` ("not_found") for a tool or an environment that is not there and ("usage") for a tool that no
    policy governs; `ConfigurationError` for files that do not load.
    """
    catalog = read_own_catalog(home)
    files = _named(home, IN_FORCE) if in_force else home.policy_files()
    policy = read_policy(files, catalog.contracts)
    _check_asked(policy, tool, environment)
    now = look_at(home, lambda view: view.now)
    found = abilities(
        Inquiry(
            policy=policy,
            tool=tool,
            environment=environment,
            now=now,
            without_approval=without_approval,
            port=tool_ports().get(tool),
            takes=taking(catalog),
        )
    )
    return Abilities(policy=policy.digest, in_force=in_force, at=now, answer=overall(found), found=found)


def compare_policies(home: Home, old: str, new: str | None) -> Comparison:
    """Compare two policies, each a file, an entry or digest of the ledger, or `in-force`; None is the proposal.

    Raises `Refused` ("not_found") for one that is not there, `ConfigurationError` for one that does not load.
    """
    catalog = read_own_catalog(home)
    sides = [_named(home, old), home.policy_files() if new is None else _named(home, new)]
    before, after = (read_policy(files, catalog.contracts) for files in sides)
    now = look_at(home, lambda view: view.now)
    outlook = Outlook(now, taking(catalog), tool_ports())
    return Comparison(
        old=before.digest,
        new=after.digest,
        changes=difference(before, after, outlook, moved_calendars(*sides)),
        replay=look_at(home, lambda view: compare(view, before, after)),
    )


def taking(catalog: Catalog) -> Callable[[str, Mapping[str, Json]], bool]:
    """Return what says whether the contract of a tool takes arguments."""
    known = models()

    def takes(tool: str, arguments: Mapping[str, Json]) -> bool:
        parsed = parse_arguments(catalog.contracts[tool], known[tool], arguments)
        return not isinstance(parsed, RefusedArguments)

    return takes


def _named(home: Home, name: str) -> dict[str, str]:
    """Return the files of a policy by its name."""
    if name == IN_FORCE:
        return look_at(home, lambda view: dict(read_in_force(view).files))
    path = Path(name)
    if path.is_dir() or path.is_file():
        return _files_at(path / POLICY if path.is_dir() else path)
    return look_at(home, lambda view: files_of(view, find_version(view, name)))


def _files_at(path: Path) -> dict[str, str]:
    """Read a policy file with what it brings in, which lies beside it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_POLICY:
        raise ConfigurationError(f"{path}: {len(data)} bytes; a policy has at most {MAX_POLICY}")
    text = text_of(path, data)
    return {POLICY: text, **included_files(path.parent, text), **case_files(path.parent, text)}


def _check_asked(policy: Policy, tool: str, environment: str) -> None:
    contract = policy.contracts.get(tool)
    if contract is None:
        raise Refused("not_found", f"there is no tool {tool!r}; there are: {', '.join(sorted(policy.contracts))}")
    if contract.kind == "self":
        raise Refused("usage", f"{tool} is about the caller's own actions: every principal may call it")
    if environment not in policy.environments:
        known = ", ".join(sorted(policy.environments)) or "none"
        raise Refused("not_found", f"the policy has no environment {environment!r}; it has: {known}")
