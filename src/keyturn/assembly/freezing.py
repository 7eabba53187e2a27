"""The freezes of a home: how they stand, the events of the proposed calendars, and setting one aside by signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, moment
from keyturn.assembly.plain_files import replace_plain
from keyturn.assembly.standing import open_desk, open_reader
from keyturn.gateway.acts import Sign, sign_act
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Look
from keyturn.gateway.freeze_states import FreezeState, freeze_states
from keyturn.gateway.overriding import draft_override, freeze_of
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.policy.calendar.editing import Listed, events_in, with_event, without_event
from keyturn.policy.calendar.lines import CalendarError
from keyturn.policy.calendar.reading import read_calendar
from keyturn.policy.documents import freezes_of


def states(home: Home) -> tuple[FreezeState, ...]:
    """Return how the freezes of the policy in force stand now."""
    policies = PolicyShelf(read_own_catalog(home))
    with closing(open_reader(home, "keyturn freeze list")) as reader:
        return reader.look(lambda view: freeze_states(policies.in_force(view), view))


def events(home: Home, freeze: str) -> tuple[str, tuple[Listed, ...]]:
    """Return the path of a proposed freeze's calendar and its events. Raises `Refused` ("not_found")."""
    path, text = _proposed(home, freeze)
    return path, tuple(events_in(text or ""))


def add_event(home: Home, freeze: str, begin: datetime, end: datetime, summary: str) -> tuple[str, str]:
    """Add an event to the calendar of a proposed freeze, made where it is missing; return its path and the UID."""
    path, text = _proposed(home, freeze)
    uid, now = f"{entropy(8).hex()}@keyturn", moment().wall.replace(microsecond=0)
    if end <= begin:
        raise Refused("usage", "the event ends no later than it begins")
    _write(home, path, lambda: with_event(text, uid=uid, begin=begin, end=end, summary=summary, now=now))
    return path, uid


def remove_event(home: Home, freeze: str, uid: str) -> str:
    """Take an event out of the calendar of a proposed freeze; return its path. Raises `Refused` ("not_found")."""
    path, text = _proposed(home, freeze)
    if uid not in {event.uid for event in events_in(text or "")}:
        raise Refused("not_found", f"{path} has no event with the UID {uid!r}; see: keyturn freeze list {freeze!r}")
    _write(home, path, lambda: without_event(text or "", uid))
    return path


@dataclass(frozen=True, slots=True)
class Overriding:
    """What is to be set aside: the freeze as it stands, and who may sign for it (name → key lines)."""

    state: FreezeState
    reviewers: Mapping[str, Sequence[str]]


def override(
    home: Home, freeze: str, *, until: datetime, reason: str, signer: Callable[[Overriding], tuple[str, Sign]]
) -> tuple[int, str]:
    """Set a freeze of the policy in force aside; return the place of the entry, and who signed.

    Raises `Refused` for a freeze that is not there, a person it does not name, and an end that is none.
    """
    policies = PolicyShelf(read_own_catalog(home))
    desk = open_desk(home, "keyturn freeze override")
    with closing(desk.ledger):
        by, sign = signer(desk.ledger.look(lambda view: _overriding(policies, view, freeze)))
        draft = draft_override(desk, policies, freeze, until=until, reason=reason, by=by)
        return sign_act(desk.ledger, draft, sign).seq, by


def _overriding(policies: PolicyShelf, view: Look, named: str) -> Overriding:
    freeze = freeze_of(policies, view, named)
    [state] = [state for state in freeze_states(policies.in_force(view), view) if state.freeze.id == freeze.id]
    listed = view.state.policy.reviewers if view.state.policy else {}
    return Overriding(state, {name: lines for name, lines in listed.items() if name in freeze.overriders})


def _proposed(home: Home, freeze: str) -> tuple[str, str | None]:
    """Return the path of a proposed freeze's calendar, and its text where it is there."""
    files = home.policy_files()
    known = {name: path for path in files if path.endswith(".toml") for name, path in freezes_of(files[path])}
    if freeze not in known:
        names = ", ".join(sorted(known)) or "none"
        raise Refused("not_found", f"the proposed policy has no freeze {freeze!r} with a calendar; it has: {names}")
    return known[freeze], files.get(known[freeze])


def _write(home: Home, path: str, change: Callable[[], str]) -> None:
    """Replace a calendar whole, by one that can be read, or leave it as it is."""
    try:
        text = change()
        read_calendar(text)
    except CalendarError as error:
        told = (": ".join(filter(None, (path, *problem))) for problem in error.problems)
        raise ConfigurationError(*told) from error
    replace_plain(home.folder / path, text)
