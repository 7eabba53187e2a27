"""Homes for the server's tests: founded for real, with a reviewer's real key, and looked at from outside."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn import canon
from keyturn.assembly.build import open_gateway
from keyturn.assembly.founding import Order, found_home
from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_desk, open_reader
from keyturn.assembly.starter import NewPrincipal, NewReviewer, starter_policy
from keyturn.fold.state import State
from keyturn.gateway.acts import TokenGrant, draft_token, revoke_token, submit_act
from keyturn.gateway.core import Gateway
from keyturn.gateway.desk import Desk
from keyturn.gateway.review import Actor, draft_review, submit_review
from keyturn.ledger.transaction import View
from keyturn.log.chain import Head
from keyturn.log.entry import Entry
from keyturn.sshsig.signing import sign
from tests.log.receipts import read_receipt
from tests.sshsig.keys import environment, make_key, public_key

ROOT = Path(__file__).parents[2]
SECONDS = 60.0  # what a test waits at most for something to happen on a busy machine


@dataclass(frozen=True, slots=True)
class Place:
    """One founded home, the token of its principal `claude`, and alice's private key."""

    folder: Path
    token: str
    key: Path
    tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.folder)

    def serve(self, *options: str) -> list[str]:
        """The arguments after `python` that start the server as a client would."""
        return ["-m", "keyturn", "--home", str(self.folder), "serve", *options]

    def look(self, job: Callable[[View[State]], Any]) -> Any:
        reader = open_reader(self.home, "test")
        try:
            return reader.look(job)
        finally:
            reader.close()

    def entries(self, kind: str, action: str | None = None) -> list[Entry]:
        every: list[Entry] = self.look(lambda view: view.entries(0))
        return [entry for entry in every if entry.kind == kind and action in {None, entry.action}]

    def receipt(self, value: Mapping[str, object]) -> Entry:
        """Check a receipt against the log's keys and against the log itself."""
        head: Head = self.look(lambda view: view.head)
        entry = read_receipt(value, head)
        kept: Entry = self.look(lambda view: view.entry(entry.seq))
        assert kept.body == entry.body
        return entry

    def review(self, action: str, verdict: str = "approve", reason: str = "matches the ticket") -> str:
        """Let alice say her word with her own key; returns the state it leads to."""
        with self.desk() as desk:
            draft = draft_review(desk, action, reviewer="alice", verdict=verdict, reason=reason)
            signature = sign(draft.to_sign, key=self.key, namespace="keyturn.review.v1", environment=self._signer())
            return submit_review(desk, draft, signature).status

    def issue(
        self,
        token: str,
        *,
        life: timedelta = timedelta(days=1),
        transports: tuple[str, ...] = ("stdio",),
        scopes: tuple[str, ...] | None = None,
        principal: str = "claude",
    ) -> None:
        """Issue another token, signed by alice."""
        with self.gateway() as gate:
            now: datetime = gate.ledger.look(lambda view: view.now)
            grant = TokenGrant(
                token=canon.sha256(token.encode()),
                principal=principal,
                transports=transports,
                scopes=scopes,
                expires_at=now + life,
            )
            draft = draft_token(gate.ledger, gate.policies, grant, "alice")
            signature = sign(draft.to_sign, key=self.key, namespace="keyturn.act.v1", environment=self._signer())
            submit_act(gate.ledger, draft, signature)

    def revoke(self, token: str) -> None:
        with self.gateway() as gate:
            digest = canon.sha256(token.encode()).removeprefix("sha256:")
            assert revoke_token(gate.ledger, digest, Actor("account", "tester"))

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        gate = open_gateway(self.home, "test")
        try:
            yield gate
        finally:
            gate.ledger.close()

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        desk = open_desk(self.home, "test")
        try:
            yield desk
        finally:
            desk.ledger.close()

    def workers(self) -> list[int]:
        """The process ids of this home's workers, found by the home in their command lines."""
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                words = _command(process)
                if "worker" in words and str(self.folder) in words:
                    found.append(int(process.name))
        return found

    def end_workers(self) -> None:
        """Ask this home's workers to leave; they finish what they run."""
        for worker in self.workers():
            try:
                os.kill(worker, signal.SIGTERM)
            except ProcessLookupError:
                continue
        until(lambda: not self.workers())

    def _signer(self) -> dict[str, str]:
        return environment(self.key.parent)


def found(folder: Path, wiring: str = "", expires: str = "1h", others: Sequence[str] = (), tables: str = "") -> Place:
    """Found a home whose principal claude belongs to bob and whose reviewer is alice.

    `wiring` extends the deployment web; `expires` is how long a production rollback waits for its review;
    `others` are more principals of bob's; `tables` is appended to the wiring.
    """
    keys = folder / "keys"
    keys.mkdir(parents=True)
    key = make_key(keys)
    home = folder / "home"
    home.mkdir()
    text, mark = (ROOT / "keyturn.toml").read_text(), "[deployments.web] "
    lines = [f"{line}\n{wiring}" if line.startswith(mark) else line for line in text.split("\n")]
    (home / "keyturn.toml").write_text("\n".join(lines) + tables)
    principals = [NewPrincipal(name, "bob") for name in ("claude", *others)]
    reviewers = [NewReviewer("alice", public_key(key))]
    policy = starter_policy(principals, reviewers, bare=False)
    assert policy.count('expires = "1h"') == 1
    (home / "policy.toml").write_text(policy.replace('expires = "1h"', f'expires = "{expires}"'))
    new = found_home(Order(folder=home, principals=principals, reviewers=reviewers))
    return Place(home, new.tokens["claude"], key, new.tokens)


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return what `condition` returns once that is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def contract(tool: str) -> dict[str, Any]:
    """Read a contract's file as it lies in the repository."""
    value: dict[str, Any] = json.loads((ROOT / "tool_schemas" / f"{tool}.v1.json").read_text())
    return value


def _command(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
