"""What every step of the path shares: the ledger, the contracts, the tools, and the policy in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.contracts import Catalog
from keyturn.contracts.model import ArgumentModel
from keyturn.fold.standing import PolicyInForce
from keyturn.gateway.desk import Desk, Job, Look
from keyturn.gateway.executor import Executor
from keyturn.gateway.ferry import Ferry
from keyturn.gateway.news import News
from keyturn.gateway.probes import Probes
from keyturn.gateway.progress import Progress
from keyturn.gateway.repeats import Repeats
from keyturn.gateway.turns import Turns
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.model.tool import GovernedTool, ReadTool
from keyturn.policy import Policy, read_policy

EFFECT_SECONDS = 600.0
PLAN_SECONDS = 60.0

__all__ = ["ContractsMoved", "Desk", "Gateway", "Job", "Look", "PolicyShelf", "Suppressed"]


class PolicyShelf:
    """The policy in force as the ledger names it, parsed once per digest."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._digest: str | None = None
        self._policy: Policy | None = None

    def in_force(self, view: Look) -> Policy:
        """Return the policy of the ledger's last activation, its text taken from that entry's payload.

        Raises `LedgerError` when there is none, when it does not load with this program's contracts, or when the
        published contracts are not this program's: then nothing may be decided.
        """
        force, catalog = view.state.policy, view.state.catalog
        if force is None or catalog is None:
            raise LedgerError("the ledger holds no policy; make a home with `keyturn init`")
        if catalog.digest != self._catalog.digest:
            raise ContractsMoved(
                "the contracts in tool_schemas/ are not the ones the ledger published; run `keyturn policy check`, "
                "then `keyturn policy pin` and `keyturn policy activate`, and restart"
            )
        if self._policy is None or self._digest != force.digest:
            self._policy, self._digest = self._load(view, force), force.digest
        return self._policy

    @property
    def latest(self) -> Policy | None:
        """The policy that was asked for last, which need not be in force any more."""
        return self._policy

    def _load(self, view: Look, force: PolicyInForce) -> Policy:
        payload = view.payload(view.entry(force.seq), "policy.files")
        if payload is None:
            raise LedgerError(f"entry {force.seq} activates a policy without its text")
        files = canon.decode_object(payload)
        try:
            policy = read_policy({name: str(text) for name, text in files.items()}, self._catalog.contracts)
        except ConfigurationError as error:
            raise LedgerError(f"the policy in force (entry {force.seq}) does not load: {error}") from error
        if policy.digest != force.digest:
            # The digest is what a person signed; the text beside it is only the word of who wrote the entry.
            raise LedgerError(f"the text in entry {force.seq} is not the policy whose activation was signed")
        return policy


class ContractsMoved(LedgerError):
    """This program's contracts are not the published ones: it may not decide until it is restarted."""


@dataclass(frozen=True, kw_only=True)
class Gateway(Desk):
    """Everything one process needs to take actions along their path. Built by `assembly` alone.

    new_id         makes a UUIDv7 for the given time
    reach          the declared back ends as (port, name): only their actions are claimed here
    news           wakes those who wait for something in the ledger
    start_worker   starts a worker unless one is there; of no use to a process that executes itself
    executor       what executes in this process; None where its client may end it at any moment
    timeouts       seconds that an effect of a tool may take
    plan_timeout   seconds that planning, reading and probing may take
    suppressed     refusals of this process that are counted and not recorded one by one
    repeats        what this process knows of the arguments of earlier actions
    progress       what effects say of themselves while they run
    probes         when an unknown outcome was asked about last
    turns          who may ask other systems now
    cover          brings the log up to an entry to the anchors that must have it first, and says why that failed;
                   blocks. None where this process has no such anchors
    ferry          the ledger for this process's event loop: what comes in together is done together
    """

    catalog: Catalog
    models: Mapping[str, type[ArgumentModel]]
    governed: Mapping[str, GovernedTool]
    reading: Mapping[str, ReadTool]
    reach: frozenset[tuple[str, str]]
    new_id: Callable[[datetime], str]
    news: News
    turns: Turns
    start_worker: Callable[[], None]
    policies: PolicyShelf
    executor: Executor | None = None
    timeouts: Callable[[str], float] = lambda _: EFFECT_SECONDS
    plan_timeout: float = PLAN_SECONDS
    suppressed: dict[str, Suppressed] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)
    progress: Progress = field(default_factory=Progress)
    probes: Probes = field(default_factory=Probes)
    cover: Callable[[int], str | None] | None = None
    ferry: Ferry = field(init=False)

    def __post_init__(self) -> None:
        """Put the ferry between event loop and ledger in place."""
        object.__setattr__(self, "ferry", Ferry(self.ledger))

    def reaches(self, action: Action) -> bool:
        """Say whether this process has the tool and the back end of an action."""
        return action.tool in self.governed and (action.backend["port"], action.backend["name"]) in self.reach

    def close(self) -> None:
        """Stop listening for news and close the ledger."""
        self.news.close()
        self.ledger.close()


@dataclass(slots=True)
class Suppressed:
    """Refusals of one principal that were not recorded one by one: how many, since when, and the first reason.

    written    seq and leaf of the entry that says so, which counts once it is found in the ledger
    """

    count: int
    code: str
    since: datetime
    until: datetime
    written: tuple[int, str] | None = None
