"""When an unknown outcome is asked about again: at intervals that grow, for a week, whichever process does it.

A system may need a while until it shows what was done there. So the first questions come soon; and as one that cannot
tell for an hour will hardly be able to a minute later, each pause is half as long as all that went before. That is
about thirty questions. When an action was asked about last stands in a small file beside the locks, so that processes
which come and go do not each begin anew. It proves nothing: where it is missing, the question is asked.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from keyturn.approvals.action import Action
from keyturn.model.time import format_timestamp, parse_timestamp

FIRST = timedelta(seconds=5)
LAST = timedelta(days=7)
AT_START = timedelta(minutes=1)
"""How soon it is asked again, whatever was asked before, by a process that was started to stay."""

_SUFFIX = ".probed"
_MOST = 64  # bytes of a file


class Probes:
    """What was asked about and when, shared by the processes of a home; without a folder by nobody."""

    def __init__(self, run: Path | None = None) -> None:
        self._run = run
        self._asked: dict[str, datetime] = {}

    def due(self, action: Action, now: datetime, *, eager: bool = False) -> bool:
        """Say whether an unknown outcome is to be asked about now; `eager` in a process that was just started."""
        since = action.ended_at or action.requested_at
        last = self._last(action.id)
        if eager and (last is None or now - last >= AT_START):
            return True
        if now - since > LAST:
            return False
        last = since if last is None else max(last, since)
        return now - last >= max(FIRST, (last - since) / 2)

    def note(self, action_id: str, now: datetime) -> None:
        """Remember that an action is asked about now: before it is, so that no other process asks beside this one."""
        self._asked[action_id] = now
        if self._run is None:
            return
        path = self._run / f"{action_id}{_SUFFIX}"
        with suppress(OSError):  # a full disk: this process remembers all the same
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
                file.write(format_timestamp(now))

    def keep(self, unknown: frozenset[str]) -> None:
        """Forget every action but those whose outcome is unknown still."""
        self._asked = {action: at for action, at in self._asked.items() if action in unknown}
        for path in [] if self._run is None else self._run.glob(f"*{_SUFFIX}"):
            if path.name.removesuffix(_SUFFIX) not in unknown:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _last(self, action_id: str) -> datetime | None:
        known = (self._asked.get(action_id), self._read(action_id))
        return max((at for at in known if at is not None), default=None)

    def _read(self, action_id: str) -> datetime | None:
        if self._run is None:
            return None
        try:
            with (self._run / f"{action_id}{_SUFFIX}").open("rb") as file:
                return parse_timestamp(file.read(_MOST).decode("ascii"))
        except (OSError, ValueError):
            return None
