"""Deployments of Kubernetes: one Deployment object per environment, rolled back as `kubectl rollout undo` does.

Versions are revision numbers. A revision that is put back gets a new, higher number, and the one that was live keeps
its own: after 3 -> 2, the numbers are 3 and 4, and 4 holds what 2 held. So a rollback is undone by going back to the
number that was live, which no other revision can have taken by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from keyturn.connectors.checking import Finding
from keyturn.connectors.deployments import Objection, Preview, Rollback, Snapshot
from keyturn.connectors.deployments.environments import check_names, member, way_back
from keyturn.connectors.deployments.kubernetes.changing import ATTEMPTS, Rolling, refuse_owned
from keyturn.connectors.deployments.kubernetes.looking import look
from keyturn.connectors.deployments.kubernetes.seeing import Seen, Subject, resolved, settled, snapshot_of
from keyturn.connectors.deployments.kubernetes.working import Moved, work_out
from keyturn.connectors.kubernetes import OWN, Reaching, cluster_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe, Stale
from keyturn.model.plan import Backend, Inverse
from keyturn.model.time import parse_duration
from keyturn.model.tool import ActionRef

LONGEST_ROLLOUT: Final = 3600  # seconds

_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"  # RFC 1123, as Kubernetes names namespaces
_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_REACHING: Final = frozenset(Reaching.model_fields)


class Where(Reaching):
    """One environment: which Deployment, and what of the way to its cluster differs from the shared settings."""

    namespace: str | None = Field(default=None, pattern=_LABEL)
    deployment: str = Field(pattern=_SUBDOMAIN)


class Settings(Reaching):
    """`[deployments.<name>]` of the wiring: environments, and how their clusters are reached.

    What stands beside `environments` holds for all of them. An environment that names a way of its own (kubeconfig,
    in_cluster or url) takes none of the shared way.
    """

    kind: Literal["kubernetes"]
    environments: dict[str, Where] = Field(min_length=1, max_length=50)
    health_timeout: str = "5m"
    dry_run: bool = True

    @model_validator(mode="before")
    @classmethod
    def _together(cls, value: Any) -> Any:
        """Give each environment what is shared, so that each says by itself how it is reached."""
        if not isinstance(value, dict) or not isinstance(value.get("environments"), dict):
            return value
        shared = {name: item for name, item in value.items() if name in _REACHING}
        environments = {name: _joined(shared, own) for name, own in value["environments"].items()}
        own = {name: item for name, item in value.items() if name not in _REACHING}
        return {**own, "environments": environments}

    @model_validator(mode="after")
    def _one_way(self) -> Settings:
        """What is shared was given to the environments; there each has to be whole."""
        return self

    @field_validator("environments")
    @classmethod
    def _named(cls, value: dict[str, Where]) -> dict[str, Where]:
        check_names(value)
        for name, where in value.items():
            if where.url is not None and where.namespace is None:
                raise ValueError(f"{name} needs a namespace: with url there is nothing else that names one")
        return value

    @field_validator("health_timeout")
    @classmethod
    def _bounded(cls, value: str) -> str:
        if parse_duration(value).total_seconds() > LONGEST_ROLLOUT:
            raise ValueError(f"a rollout is waited for at most {LONGEST_ROLLOUT} s")
        return value


def _joined(shared: Mapping[str, Any], own: Any) -> Any:
    if not isinstance(own, dict):
        return own
    if {"kubeconfig", "in_cluster", "url"} & own.keys():
        shared = {name: item for name, item in shared.items() if name not in OWN}
    return {**shared, **own}


def build(name: str, settings: Settings, world: World, *, poll: float = 2.0) -> KubernetesDeployments:
    """Build the back end; nothing is read or opened yet, so a cluster that is away keeps nobody from starting.

    `poll` is in seconds, between two looks at a rollout. Raises `ConfigurationError` for a credential that names no
    source, and where two environments are one Deployment.
    """
    subjects: dict[str, Subject] = {}
    seen: dict[tuple[object, ...], str] = {}
    for environment, where in settings.environments.items():
        place = f"deployments.{name}.environments.{environment}"
        way = (where.kubeconfig, where.context, where.in_cluster, where.url)
        twin = seen.setdefault((*way, where.namespace, where.deployment), environment)
        if twin != environment:
            raise ConfigurationError(f'{place}: is the same Deployment as "{twin}"; give each its own')
        cluster = cluster_of(place, where, world)
        subjects[environment] = Subject(
            place=f"{name}/{environment}", cluster=cluster, namespace=where.namespace, name=where.deployment
        )
    return KubernetesDeployments(
        name=name,
        subjects=subjects,
        patience=parse_duration(settings.health_timeout).total_seconds(),
        poll=poll,
        dry=settings.dry_run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesDeployments:
    """One deployment whose environments are Deployments in clusters; implements `Deployments`."""

    name: str
    subjects: Mapping[str, Subject]
    patience: float
    poll: float
    dry: bool

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments, in the order of the wiring."""
        return tuple(self.subjects)

    def backend(self, environment: str) -> Backend:
        """Identify an environment by the address of its Deployment in the cluster's API."""
        location = self._subject(environment).location
        return Backend(port="deployments", name=self.name, kind="kubernetes", location=location)

    async def snapshot(self, environment: str) -> Snapshot:
        """Read what runs and what could."""
        return snapshot_of(environment, await self._subject(environment).there())

    async def preview(self, environment: str, to: str) -> Preview:
        """Work out going back to `to`, by the cluster's own dry run where it has one.

        Refused: a paused Deployment (as kubectl does), and one that Argo CD or Flux would set back.
        """
        subject = self._subject(environment)
        for _ in range(ATTEMPTS):
            seen = await subject.there()
            refuse_owned(seen)
            _refuse_paused(seen)
            current = settled(seen)
            target = resolved(seen, current, to)
            wanted = Rollback(environment=environment, current=str(current.revision), target=str(target.revision))
            try:
                return await work_out(subject, seen, wanted, dry=self.dry)
            except Moved:
                continue
        raise ConnectorError(
            f"{subject.place}: it keeps changing while it is planned on", kind="retry", retry_after=5
        )

    async def apply(self, rollback: Rollback, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Put the revision back once, and wait for its rollout."""
        subject = self._subject(rollback.environment)
        if rollback.location and rollback.location != subject.location:
            return Stale(("backend",))
        return await self._rolling(subject, rollback, action, objection).run()

    async def probe(self, rollback: Rollback, action: ActionRef) -> Probe:
        """Settle an action by its mark, or by a fence in the place of one."""
        try:
            subject = self._subject(rollback.environment)
            if rollback.location and rollback.location != subject.location:
                return CannotTell(f"{subject.place}: is another Deployment now than the one that was reviewed")
            return await self._rolling(subject, rollback, action, None).settle()
        except ConnectorError as error:
            return CannotTell(str(error))

    def inverse(self, rollback: Rollback) -> Inverse:
        """Going back to the number that was live: it stays that revision's own, see the module."""
        return way_back(self.name, rollback, f"revision {rollback.current}")

    async def check(self) -> tuple[Finding, ...]:
        """Look at every environment's cluster: who we are, what we may do, and what is missing."""
        found: list[Finding] = []
        for subject in self.subjects.values():
            found += await look(subject)
        return tuple(found)

    def _subject(self, environment: str) -> Subject:
        return member(self.name, self.subjects, environment)

    def _rolling(
        self, subject: Subject, rollback: Rollback, action: ActionRef, objection: Objection | None
    ) -> Rolling:
        return Rolling(
            deployment=self.name,
            subject=subject,
            rollback=rollback,
            action=action,
            patience=self.patience,
            poll=self.poll,
            dry=self.dry,
            objection=objection,
        )


def _refuse_paused(seen: Seen) -> None:
    if seen.live.paused:
        raise ConnectorError(
            f"{seen.place}: its rollout is paused; run `kubectl rollout resume deployment/{seen.live.name}` first"
        )
