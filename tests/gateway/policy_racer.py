"""A process of its own that submits an activation which was signed before, at the moment all do.

    python -m tests.gateway.policy_racer HOME POLICY STATEMENT SIGNATURE

Writes "ready", waits for a line, and writes the entry's place or why it was refused.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ActStatement, read_act_statement
from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import Home
from keyturn.assembly.outside import surroundings
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, Candidate, append_policy, check_guard, read_candidate, submit_act
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused


def unchecked(wanted: Candidate, said: ActStatement, *, checked: bool = True) -> ActDraft:
    """Return an activation that was drafted without asking; what it takes is looked at when recorded, or not."""

    def record(tx: Any, act: Any) -> Entry:
        if checked:
            check_guard(tx, said.digest, said.by)
        return append_policy(tx, wanted, previous=said.object, act=act)

    return ActDraft(said, record)


def main(home: Home, policy: str, statement: bytes, signature: bytes) -> str:
    """Submit when told to; return the entry's place, or the code of the refusal."""
    wanted = read_candidate({"policy.toml": policy}, read_own_catalog(home))
    draft = unchecked(wanted, read_act_statement(canon.decode_object(statement)))
    ledger = Ledger(home.place, State, surroundings("racer"))
    try:
        ledger.look(lambda view: view.now)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        return str(submit_act(ledger, draft, signature).seq)
    except Refused as refusal:
        return refusal.code
    finally:
        ledger.close()


if __name__ == "__main__":
    place, *files = map(Path, sys.argv[1:])
    sys.stdout.write(main(Home(place), files[0].read_text("utf-8"), files[1].read_bytes(), files[2].read_bytes()))
