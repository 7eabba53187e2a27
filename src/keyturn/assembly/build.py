"""Building a gateway over a home, and starting the worker that executes for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, new_action_id, new_instance
from keyturn.assembly.ports import build_ports, build_tools, world_of
from keyturn.assembly.standing import lock_held, open_reader, require_founded, worker_starter
from keyturn.assembly.wiring import Wiring, read_wiring
from keyturn.assembly.writing import open_writing
from keyturn.contracts import Catalog, catalog_changes, catalog_of, check_pins, disagreements, read_catalog
from keyturn.fold.state import State
from keyturn.gateway.claim import claimable
from keyturn.gateway.core import Gateway, Look, PolicyShelf
from keyturn.gateway.executor import Executor
from keyturn.gateway.explaining import Explainer
from keyturn.gateway.in_force import texts_of
from keyturn.gateway.news import News
from keyturn.gateway.probes import Probes
from keyturn.gateway.progress import Progress
from keyturn.gateway.slots import Slots
from keyturn.gateway.turns import Turns
from keyturn.ledger.bell import Listener
from keyturn.ledger.lock import take_instance
from keyturn.ledger.writer import Ledger, Reader
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.policy import read_policy
from keyturn.tools.arguments import models

WORKER_IDLE = 10  # seconds an on-demand worker stays without work


@dataclass(frozen=True, slots=True)
class Standing:
    """A read-only look at a home: its ledger followed, and the policy in force with the home's contracts."""

    reader: Reader[State]
    policies: PolicyShelf


def open_gateway(home: Home, program: str, executor: Executor | None = None, *, commands: bool = True) -> Gateway:
    """Build everything for a process that takes actions along their path, and executes them where it has an executor.

    `commands` allows back ends to run programs for credentials: what serves or works does.
    Raises `ConfigurationError` (all problems of wiring and contracts) or `LedgerError`.
    """
    require_founded(home)
    wiring = read_wiring(home.wiring)
    catalog = read_own_catalog(home)
    tools = build_tools(build_ports(wiring, world_of(home, commands=commands)))
    _check_timeouts(wiring, home, tools.governed)
    ledger = open_writing(home, program, wiring.anchors)
    return Gateway(
        ledger=ledger,
        catalog=catalog,
        models=models(),
        governed=tools.governed,
        reading=tools.reading,
        reach=tools.reach,
        new_id=new_action_id,
        entropy=entropy,
        news=news_of(home, ledger),
        turns=Turns(Slots(home.place.run / "turns")),
        start_worker=worker_starter(home),
        policies=PolicyShelf(catalog),
        executor=executor,
        timeouts=wiring.timeouts.of,
        plan_timeout=wiring.timeouts.plan,
        progress=Progress(home.place.run),
        probes=Probes(home.place.run),
    )


def _check_timeouts(wiring: Wiring, home: Home, tools: Iterable[str]) -> None:
    names = ", ".join(sorted(tools))
    if strangers := wiring.timeouts.unknown(tools):
        problem = f"is neither default, nor plan, nor a tool that changes something; these do: {names}"
        raise ConfigurationError(*(f"{home.wiring.name}: timeouts.{name}: {problem}" for name in strangers))


def news_of(home: Home, ledger: Ledger[State]) -> News:
    """Return the news of a home for one process."""
    return News(ledger, lambda: Listener(home.place.run, new_instance()))


def open_standing(home: Home, program: str) -> Standing:
    """Open a home for reading: no keys, no lock, no back ends."""
    require_founded(home)
    catalog = read_own_catalog(home)
    return Standing(open_reader(home, program), PolicyShelf(catalog))


def open_explainer(home: Home, program: str) -> Explainer:
    """Open a home for asking what a policy would say: its back ends are read, its signing key is not.

    Raises `ConfigurationError` (all problems of wiring and contracts) or `LedgerError`.
    """
    require_founded(home)
    catalog = read_own_catalog(home)
    tools = build_tools(build_ports(read_wiring(home.wiring), world_of(home, commands=False)))
    return Explainer(
        reader=open_reader(home, program),
        catalog=catalog,
        models=models(),
        governed=tools.governed,
        reading=tools.reading,
        policies=PolicyShelf(catalog),
    )


def read_own_catalog(home: Home) -> Catalog:
    """Read the contracts of a home and prove that this program enforces exactly them.

    Raises `ConfigurationError` with each difference.
    """
    catalog = read_catalog(home.schemas)
    known = models()
    problems = [
        f"{home.schemas.name}/{tool}: {difference}"
        for tool, contract in catalog.contracts.items()
        for difference in (
            disagreements(contract, known[tool]) if tool in known else ("this program has no such tool",)
        )
    ]
    if problems:
        raise ConfigurationError(*problems)
    return catalog


def check_consent(gate: Gateway) -> None:
    """Refuse to serve unless the contracts are those that the policy in force pins and the ledger published.

    Raises `ConfigurationError` with the differences and the command that mends them.
    """

    def look(view: Look) -> list[str]:
        catalog = view.state.catalog
        if catalog is None:
            raise LedgerError("the ledger publishes no contracts; make a home with `keyturn init`")
        if catalog.digest == gate.catalog.digest:
            return check_pins(gate.catalog, gate.policies.in_force(view).pins())
        published = catalog_of(texts_of(view, catalog.seq, "catalog.files"))
        return [
            *catalog_changes(published, gate.catalog),
            "to consent to them: keyturn policy pin, then keyturn policy activate -m REASON",
        ]

    if problems := gate.ledger.look(look):
        raise ConfigurationError(*problems)


def check_proposal_loads(gate: Gateway, home: Home) -> str | None:
    """Return what to say when `policy.toml` is not the policy in force, or None when it is.

    Raises `ConfigurationError` when the file is missing, cannot be read or does not load: somebody is in the middle
    of changing the rules, and a server is not started on such a home. One that runs is not disturbed.
    """
    policy = read_policy(home.policy_files(), gate.catalog.contracts)
    force = gate.ledger.look(lambda view: view.state.policy)
    if force is None or force.digest == policy.digest:
        return None
    return (
        f"policy.toml is not the policy in force (entry {force.seq}): it counts for nothing until it is activated, "
        "with keyturn policy activate -m REASON"
    )


def work_waits(gate: Gateway, home: Home) -> bool:
    """Say whether an action may run now, or was left behind in the middle by an executor that is dead."""

    def look(view: Look) -> tuple[bool, list[str]]:
        begun = [action.started for action, state in view.state.open_actions(view.now) if state == "running"]
        return bool(claimable(gate, view)), [started.instance for started in begun if started is not None]

    ready, instances = gate.ledger.look(look)
    return ready or not all(lock_held(home, instance) for instance in instances)


def become_executor(home: Home) -> Executor:
    """Take a new instance lock for this process; it proves to others that its intents are alive."""
    instance = new_instance()
    lock = take_instance(home.place.run, instance)
    if lock is None:
        raise LedgerError(f"instance {instance} is taken")
    return Executor(instance, lock)
