"""Suspending a part of a home at once, and resuming it by signature."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from keyturn.assembly.home import Home
from keyturn.assembly.outside import account
from keyturn.assembly.standing import open_desk, open_ledger
from keyturn.contracts import catalog_of
from keyturn.fold.suspensions import Scope, Suspension
from keyturn.gateway.acts import Sign, sign_act
from keyturn.gateway.desk import Look
from keyturn.gateway.in_force import named_in, read_in_force, texts_of
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import Halted, draft_lift, set_suspension, suspension_of
from keyturn.model.errors import ConfigurationError, Refused

_SECTIONS = {"principal": "principals", "environment": "environments"}


@dataclass(frozen=True, slots=True)
class Resumption:
    """What may be resumed: the suspension that is there, and who may sign for its end (name → key lines)."""

    suspension: Suspension
    reviewers: Mapping[str, Sequence[str]]


def suspend(home: Home, scope: Scope, *, mode: str, reason: str) -> Halted:
    """Suspend a scope in the name of this account. `mode` is "suspended" or "read-only".

    Raises `Refused` ("not_found") for a name that neither the policy in force nor a suspension knows.
    """
    with closing(open_ledger(home, "keyturn suspend")) as ledger:
        # What stops everything must not depend on a policy that can be read.
        if scope.name is not None:
            ledger.look(lambda view: _check_name(view, scope))
        return set_suspension(ledger, scope, mode=mode, by=Actor("account", account()), reason=reason)


def resume(
    home: Home,
    scope: Scope,
    *,
    reason: str,
    signer: Callable[[Resumption], tuple[str, Sign]],
) -> tuple[int, str]:
    """End a suspension; returns the place of the entry that says so, and who signed.

    `signer` is told what is to end. Raises `Refused` when the scope is not suspended or the signature does not
    count; nothing is written then.
    """
    desk = open_desk(home, "keyturn resume")
    with closing(desk.ledger):
        name, sign = signer(desk.ledger.look(lambda view: _resumption(view, scope)))
        draft = draft_lift(desk, scope, reason=reason, by=name)
        return sign_act(desk.ledger, draft, sign).seq, name


def _resumption(view: Look, scope: Scope) -> Resumption:
    present = suspension_of(view, scope)
    return Resumption(present, view.state.policy.reviewers if view.state.policy else {})


def _check_name(view: Look, scope: Scope) -> None:
    known = _known(view, scope.type)
    if scope.name in known or view.state.suspensions.of(scope) is not None:
        return
    close = difflib.get_close_matches(scope.name or "", known, n=2)
    meant = f"did you mean {' or '.join(close)}?" if close else f"it has: {', '.join(sorted(known)) or 'none'}"
    raise Refused("not_found", f"the policy in force has no {scope.type} {scope.name!r}; {meant}")


def _known(view: Look, kind: str) -> Collection[str]:
    if kind == "tool":
        return _tools(view)
    return named_in(read_in_force(view).files, _SECTIONS[kind])


def _tools(view: Look) -> Collection[str]:
    """Name the tools that a suspension can stop: not those by which assistants ask about their own actions."""
    published = view.state.catalog
    if published is None:
        return ()
    try:
        contracts = catalog_of(texts_of(view, published.seq, "catalog.files")).contracts
    except ConfigurationError:
        return published.contracts.keys()  # those of another version of this program: stopping must go on
    return [tool for tool, contract in contracts.items() if contract.kind != "self"]
