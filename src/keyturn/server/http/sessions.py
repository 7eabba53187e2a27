"""Keeps count of the sessions that clients of the older eras open, so that nobody's use up all there are.

The sessions themselves are the SDK's. It bounds them over all clients; this room also bounds each principal's: where
one has too many, its own longest unused session makes room, for clients come and go without closing theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keyturn.model.principal import Caller
from keyturn.server.http.limits import Limits


class NoRoom(Exception):
    """No session can be opened now."""


@dataclass(slots=True)
class Session:
    """One session: who opened it, when it was used last (seconds of the event loop), and requests under way."""

    caller: Caller
    used: float
    open: int = 0


class Sessions:
    """The open sessions by id."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, Session] = {}
        self._opening: list[str] = []

    def __len__(self) -> int:
        return len(self._known)

    def callers(self) -> list[Caller]:
        """Return who has sessions open, once for each."""
        return [session.caller for session in self._known.values()]

    def owner(self, id_: str) -> Caller | None:
        """Return who opened a session; None when it is not known."""
        session = self._known.get(id_)
        return None if session is None else session.caller

    def belongs(self, id_: str, caller: Caller) -> bool:
        """Say whether a session was opened with this caller's token."""
        session = self._known.get(id_)
        return session is not None and session.caller.token == caller.token

    def of_tokens(self, tokens: frozenset[str]) -> list[str]:
        """Return the sessions that were opened with these tokens."""
        return [id_ for id_, session in self._known.items() if session.caller.token in tokens]

    @contextmanager
    def opening(self, principal: str) -> Iterator[str | None]:
        """Hold a place for one more session while it is opened; yields the one that has to end for it, if any.

        Raises `NoRoom` when the server is full, or all of the principal's own sessions are in use.
        """
        mine = {id_: session for id_, session in self._known.items() if session.caller.principal == principal}
        leaves: str | None = None
        if len(mine) + self._opening.count(principal) >= self._limits.sessions_each:
            unused = [id_ for id_, session in mine.items() if not session.open]
            if not unused:
                raise NoRoom
            leaves = min(unused, key=lambda id_: mine[id_].used)
        elif len(self._known) + len(self._opening) >= self._limits.sessions:
            raise NoRoom
        self._opening.append(principal)
        try:
            yield leaves
        finally:
            self._opening.remove(principal)

    def opened(self, id_: str, caller: Caller, now: float) -> None:
        """Note a session that was opened."""
        self._known[id_] = Session(caller, now)

    def ended(self, id_: str) -> None:
        """Forget a session."""
        self._known.pop(id_, None)

    @contextmanager
    def used(self, id_: str, clock: float) -> Iterator[Session | None]:
        """Count a request as under way in a session; what the caller sets as `used` afterwards counts as its end."""
        session = self._known.get(id_)
        if session is None:
            yield None
            return
        session.open += 1
        session.used = clock
        try:
            yield session
        finally:
            session.open -= 1

    def unused(self, now: float) -> list[str]:
        """Return the sessions that nobody has used for longer than one may go unused."""
        oldest = now - self._limits.session_seconds
        return [id_ for id_, session in self._known.items() if not session.open and session.used < oldest]
