"""A home whose systems are those that others wrote, real reviews, and the three moments at which others step in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from keyturn.log.entry import Entry
from keyturn.verifier import verify_ledger
from tests.bed.faults import Fault, FaultProxy, Meanwhile
from tests.gateway.world import Founded, World

Moment: TypeAlias = Literal["before the review", "before the execution", "before the answer"]
"""When others act: between plan and review; between review and execution; between our last look and the system's
answer."""
MOMENTS: tuple[Moment, ...] = get_args(Moment)

SAMPLES: Mapping[str, str] = {
    "forge.shop": 'kind = "git"\npath = "samples/shop.git"',
    "deployments.web": (
        'kind = "releases"\nenvironments = { staging = "samples/web/staging", production = "samples/web/production" }'
    ),
    "tickets.ops": 'kind = "folder"\npath = "samples/tickets"',
}


class Stage:
    """A home, and hands that ask, sign and execute; `wire` names the systems it acts on instead of the samples."""

    outcomes: ClassVar[list[tuple[Moment, str]]] = []
    """How actions ended on any stage of the present test, and when others stepped in."""

    def __init__(self, folder: Path, founded: Founded) -> None:
        self.world = World(folder, founded)

    @property
    def folder(self) -> Path:
        return self.world.home.folder

    def wire(self, **tables: str) -> None:
        """Give systems of one's own to `forge`, `deployments` and `tickets`, named as the policy knows them."""
        named = {"forge": "forge.shop", "deployments": "deployments.web", "tickets": "tickets.ops"}
        wiring = {**SAMPLES, **{named[port]: text for port, text in tables.items()}}
        text = "\n\n".join(f"[{name}]\n{table}" for name, table in wiring.items())
        (self.folder / "keyturn.toml").write_text(f"version = 1\n\n{text}\n", encoding="utf-8")
        self.world.gate.close()
        self.world.gate = self.world.open()

    def credential(self, text: str, name: str = "token") -> str:
        """Keep a credential in the home; returns how the wiring names it."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(f"{text}\n", encoding="ascii")
        return f"file:{name}"

    def ask(self, tool: str, principal: str = "claude", /, **arguments: Any) -> str:
        """Ask for something that has to be reviewed; returns the action's id."""
        answer = self.world.call(tool, principal, **arguments)
        assert answer.envelope["status"] == "pending", answer.envelope
        return str(answer.envelope["action_id"])

    def refused(self, tool: str, /, **arguments: Any) -> str:
        """Ask for something that is refused while it is planned; returns the words."""
        answer = self.world.call(tool, **arguments)
        assert answer.is_error, answer.envelope
        return str(answer.envelope["message"])

    def run(self, action: str) -> dict[str, Any]:
        """Execute what is approved right here; returns what is told of the action then."""
        self.world.drain()
        return self.told(action)

    def told(self, action: str, principal: str = "claude") -> dict[str, Any]:
        return self.world.envelope(action, principal)

    def ended(self, action: str, principal: str = "claude") -> str:
        """Return how an action stands."""
        return str(self.told(action, principal)["status"])

    def through(
        self, moment: Moment, deed: Callable[[], object], strike: Callable[[Callable[[], object]], None], action: str
    ) -> dict[str, Any]:
        """Take an action from its plan to its end while others do a deed at a moment.

        `strike` arranges that the deed is done while the change is on its way.
        """
        done: list[str] = []

        def once() -> None:
            done.append(moment)
            deed()

        if moment == "before the review":
            once()
        self.world.approve(action)
        if moment == "before the execution":
            once()
        if moment == "before the answer":
            strike(once)
        told = self.run(action)
        self.outcomes.append((moment, str(told["status"])))
        assert done == [moment], f"others did not step in, or not once: {told}"
        return told

    def effects(self, action: str) -> list[Entry]:
        """Return what the ledger tells of the end of an action."""
        return [entry for entry in self.world.entries("execution.finished") if entry.action == action]


@contextmanager
def staged(folder: Path, founded: Founded) -> Iterator[Stage]:
    """Set a stage up; whatever happened on it, its ledger can be proved afterwards."""
    stage = Stage(folder, founded)
    try:
        yield stage
    finally:
        stage.world.close()
    report = verify_ledger(stage.world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def meanwhile(proxy: FaultProxy, method: str, path: str, nth: int = 1) -> Callable[[Callable[[], object]], None]:
    """Return what arranges a deed right before the system hears of a request, which is already on its way."""

    def strike(deed: Callable[[], object]) -> None:
        proxy.faults.set(Fault(method, path, Meanwhile(deed), nth=nth))

    return strike


def reasons(told: Mapping[str, Any]) -> str:
    """Return all that an answer says, for a look into its words."""
    return f"{told.get('message')} {told.get('reasons')} {told.get('result')}"
