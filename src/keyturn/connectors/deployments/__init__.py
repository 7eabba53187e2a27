"""The port to systems that run one version of something and can go back to an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from keyturn.canon import Json
from keyturn.connectors.checking import Finding
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.plan import Backend, Inverse
from keyturn.model.tool import ActionRef

PREVIOUS = "previous"
"""The word that asks for the version that was live before the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One line of an environment's history: `new` became live at `at` (as text), by `principal`.

    `old` is None for a first deployment, `action` for a switch that was not Keyturn's.
    """

    new: str
    old: str | None
    principal: str
    at: str
    action: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A version that could be live; `live_at` is when it last became so, None if history does not know.

    `images` are the container images it runs, none where the back end has none.
    """

    version: str
    live_at: str | None
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one environment runs and can run.

    previous   the version live before the current one; None when history does not say
    revisions  last deployed first, then those never deployed, by name
    history    oldest first
    health     in words, None where the back end does not watch it
    owner      who else manages it (a GitOps tool, Helm), None where nobody is seen to
    """

    environment: str
    current: str
    previous: str | None
    revisions: tuple[Revision, ...]
    history: tuple[Switch, ...]
    health: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs between the live version and the one to go back to."""

    path: str
    status: Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A reviewed change of one environment: from the live version to another, under reviewed facts.

    `location` is the back end that was reviewed; whoever applies or probes touches no other. "" in a preview.
    """

    environment: str
    current: str
    target: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The exact effect of going back.

    diff        unified diff from the live version to the target; its first line says whether it is complete
    added       lines added as limits count them, where a file that is not shown counts as written anew
    removed     lines removed as limits count them
    summarised  files shown by digest only
    guard       what was seen beside the reviewed facts
    source      whose preview it is: the system's own dry run, or worked out here
    notes       what a reviewer should know beside the diff, a sentence each
    """

    rollback: Rollback
    diff: str
    files: tuple[FileChange, ...]
    added: int
    removed: int
    summarised: int
    guard: Mapping[str, Json]
    source: str = "worked out by Keyturn"
    notes: tuple[str, ...] = ()


Objection: TypeAlias = Callable[[Preview], str | None]
"""Says why a change must not be made although all reviewed facts hold, from its preview as it is now; or None."""


class Deployments(Protocol):
    """One named deployment in one or several environments. All methods raise `ConnectorError`."""

    @property
    def name(self) -> str:
        """The name in the wiring."""
        ...

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments it runs in, at least one."""
        ...

    def backend(self, environment: str) -> Backend:
        """Identify the system behind one environment."""
        ...

    async def snapshot(self, environment: str) -> Snapshot:
        """Read what runs and what could."""
        ...

    async def preview(self, environment: str, to: str) -> Preview:
        """Work out going back to the version `to` or to `PREVIOUS`, by reads alone; refuses what cannot be done."""
        ...

    async def apply(self, rollback: Rollback, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Make the change once: a known action is answered from its mark, moved facts are `Stale`.

        Where the facts hold, `objection` is asked before anything is changed; what it says is a failure that has no
        effect.
        """
        ...

    async def probe(self, rollback: Rollback, action: ActionRef) -> Probe:
        """Settle an action; one that has not happened is fenced, so that a late `apply` does nothing."""
        ...

    def inverse(self, rollback: Rollback) -> Inverse:
        """Say how to undo the change once it is made."""
        ...

    async def check(self) -> tuple[Finding, ...]:
        """Look who we are there, what we may do and what is missing (see `checking`)."""
        ...


def declared(deployments: Mapping[str, Deployments], name: str) -> Deployments:
    """Return the deployment called `name`; refused (`ConnectorError`) without naming the others."""
    found = deployments.get(name)
    if found is None:
        raise ConnectorError(f'deployment "{name}" is not declared')
    return found


def chosen(deployment: Deployments, environment: str | None) -> str:
    """Return the environment that an argument selects; it may be left out where there is only one."""
    if environment is None:
        if len(deployment.environments) > 1:
            names = ", ".join(deployment.environments)
            raise ConnectorError(f'deployment "{deployment.name}" has several environments; name one of: {names}')
        return deployment.environments[0]
    if environment not in deployment.environments:
        raise ConnectorError(f'deployment "{deployment.name}" has no environment "{environment}"')
    return environment
