"""A home under fault: people who sign in software, an effect that keeps its own durable record, acknowledgements."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.assembly.build import news_of, open_gateway
from keyturn.assembly.founding import Order, found_home
from keyturn.assembly.home import Home
from keyturn.assembly.outside import surroundings
from keyturn.assembly.standing import kept_verifier, open_reader, remembered_end
from keyturn.assembly.starter import NewPrincipal, NewReviewer, starter_policy
from keyturn.fold.state import State
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.desk import Desk
from keyturn.gateway.review import Reviewed, draft_review, submit_review
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ended, Ledger
from keyturn.log.entry import Entry
from keyturn.model.outcome import CannotHappen, CannotTell, Happened, Outcome, Probe, Succeeded, Unknown
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.model.sshkey import ED25519, PublicKey
from keyturn.model.tool import ActionRef, Earlier, GovernedTool
from keyturn.verifier import Report, verify_ledger
from tests.faults.limits import Rule
from tests.sshsig.keys import covered, sshsig, string

R = TypeVar("R")

SOAK = os.environ.get("KEYTURN_SOAK") == "1"
OWNERS = {"claude": "bob", "codex": "bob", "gemini": "dora"}
PEOPLE = ("alice", "carol", "erin")
TICKETS = tuple(f"OPS-{number}" for number in range(1, 9))


@dataclass(frozen=True)
class SoftKey:
    """A person's Ed25519 key that signs as `ssh-keygen -Y sign` does, without starting a program for it."""

    seed: bytes

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def public(self) -> PublicKey:
        return PublicKey(ED25519, string(ED25519.encode()) + string(self._private.public_key().public_bytes_raw()))

    def sign(self, message: bytes, namespace: str = "keyturn.review.v1") -> bytes:
        raw = self._private.sign(covered(message, namespace))
        return sshsig(self.public.blob, namespace, string(ED25519.encode()) + string(raw))


KEYS = {name: SoftKey(bytes([number]) * 32) for number, name in enumerate(PEOPLE, 1)}


@dataclass(frozen=True)
class Place:
    """A founded home with eight tickets, and the tokens of its three assistants."""

    folder: Path
    tokens: dict[str, str]

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def effects(self) -> Path:
        """The back end's own record of what it did; outside of the home."""
        return self.folder.with_name(f"{self.folder.name}.effects")

    def copied(self, folder: Path) -> Place:
        """Return the same home somewhere else, as it is now."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder, self.tokens)

    def gateway(self, program: str = "tests", **changes: Any) -> Gateway:
        """Open the home; nobody executes unless `start_worker` is given."""
        return replace(open_gateway(self.home, program), **{"start_worker": nobody, **changes})

    def caller(self, gate: Gateway, principal: str = "claude") -> Caller:
        return authenticate(gate, self.tokens[principal], transport="stdio", client="faults")

    def verified(self) -> Report:
        """Verify the whole ledger from its bytes, as `keyturn audit verify` does."""
        end = remembered_end(self.home)
        assert end is not None
        return verify_ledger(self.home.place.database, pinned=kept_verifier(self.home), head=end)

    def entries(self, first: int = 0) -> list[Entry]:
        reader = open_reader(self.home, "tests")
        try:
            return reader.look(lambda view: view.entries(first))
        finally:
            reader.close()


def nobody() -> None:
    """Stand in for what starts a worker: there is none."""
    raise OSError("nobody executes here")


def found(folder: Path, rules: Sequence[Rule] = (), *changes: tuple[str, str]) -> Place:
    """Found a home in `folder`/home: the starter's grants with `changes`, and no limits but `rules`."""
    home = folder / "home"
    home.mkdir(parents=True)
    principals = [NewPrincipal(name, owner) for name, owner in OWNERS.items()]
    reviewers = [NewReviewer(name, key.public) for name, key in KEYS.items()]
    text = starter_policy(principals, reviewers, bare=False)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    text = re.sub(r"(?m)^limits = .*$", 'limits = ["1000000 calls per hour"]', text)
    (home / "policy.toml").write_text(text + "".join(rule.toml for rule in rules))
    founded = found_home(Order(folder=home, principals=principals, reviewers=reviewers))
    tickets = home / "samples" / "tickets"
    pattern = (tickets / "OPS-2.md").read_text()
    for ticket in TICKETS:
        if not (tickets / f"{ticket}.md").exists():
            (tickets / f"{ticket}.md").write_text(pattern.replace("OPS-2", ticket))
    return Place(home, founded.tokens)


def review(desk: Desk, action: str, who: str = "alice", verdict: str = "approve") -> Reviewed:
    """Say a person's word, signed with their key."""
    draft = draft_review(desk, action, reviewer=who, verdict=verdict, reason="looked at it")
    return submit_review(desk, draft, KEYS[who].sign(draft.to_sign))


class Record:
    """A file of lines that a killed process leaves whole: each is one write to its end."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def add(self, *words: object, durable: bool = False) -> None:
        os.write(self._descriptor, f"{' '.join(map(str, words))}\n".encode())
        if durable:
            os.fsync(self._descriptor)


def lines(path: Path) -> list[list[str]]:
    """Return the words of each whole line."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


class Acknowledging(Ledger[State]):
    """A ledger that writes down, once jobs have come back, which entries it acknowledged."""

    def __init__(self, place: Place, program: str, record: Record) -> None:
        super().__init__(place.home.place, State, surroundings(program))
        self._record = record

    def transact(self, job: Callable[[Transaction[State]], R]) -> R:
        result, appended = super().transact(_with_entries(job))
        self._note(appended)
        return result

    def transact_all(self, jobs: Sequence[Callable[[Transaction[State]], Any]]) -> list[Ended]:
        ended = []
        for one in super().transact_all([_with_entries(job) for job in jobs]):
            result, appended = one.result if one.error is None else (None, [])
            self._note(appended)
            ended.append(Ended(result, one.error))
        return ended

    def _note(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._record.add(entry.seq, entry.leaf)


def _with_entries(job: Callable[[Transaction[State]], R]) -> Callable[[Transaction[State]], tuple[R, list[Entry]]]:
    """Return a job that says what it appended, too."""

    def noted(tx: Transaction[State]) -> tuple[R, list[Entry]]:
        result = job(tx)
        return result, list(tx.appended)

    return noted


def acknowledging(place: Place, program: str, record: Record, **changes: Any) -> Gateway:
    """Open a gateway whose ledger is an `Acknowledging` one."""
    gate = place.gateway(program, **changes)
    gate.close()
    ledger = Acknowledging(place, program, record)
    return replace(gate, ledger=ledger, news=news_of(place.home, ledger))


def never(_step: str) -> None:
    """Do not die at any step."""


@dataclass
class Recording:
    """A governed tool that plans as the real one, and whose effect is two durable lines in a file of its own.

    `step` is called before, between and after the two, and may not return. A probe finds whole effects, and proves
    of one that never began that it cannot begin any more: whoever probes holds the dead executor's lock. One that
    stopped half way it cannot tell, unless it `settles`.
    """

    real: GovernedTool
    effects: Path
    step: Callable[[str], None] = never
    settles: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.real.name

    async def plan(self, arguments: Any, earlier: Earlier) -> Plan:
        return await self.real.plan(arguments, earlier)

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        record = Record(self.effects)
        self.step("before the effect")
        record.add("begun", action.action, durable=True)
        self.step("half way")
        record.add("done", action.action, durable=True)
        self.step("after the effect")
        # Now and then the answer is lost on its way, and the probe has to find out.
        return Unknown("no answer came") if action.action.endswith("0") else Succeeded({"done": True})

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        said = [word for word, about in lines(self.effects) if about == action.action]
        if "done" in said:
            return Happened({"done": True})
        if not said:
            return CannotHappen("it had not begun")
        return Happened({}, shortfall="it stopped half way") if self.settles else CannotTell("it stopped half way")


def recording(gate: Gateway, effects: Path, step: Callable[[str], None] = never, *, settles: bool = False) -> Gateway:
    """Put the recording effect in the place of each governed tool's."""
    tools = {name: Recording(tool, effects, step, settles) for name, tool in gate.governed.items()}
    return replace(gate, governed=tools)


def doubled(effects: Path) -> list[tuple[str, ...]]:
    """Return the lines of the back end's record that are there more than once: an effect that happened again."""
    return [line for line, times in Counter(map(tuple, lines(effects))).items() if times > 1]
