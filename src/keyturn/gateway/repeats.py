"""Finding the actions that asked for the same, without reading the arguments of all the others again.

The entries hold salted commitments alone, which cannot be searched. So each process remembers, in memory, a digest of
the arguments of every action it has looked at, and reads each action's arguments once at most.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.payloads import read_arguments

_SLACK = 1000  # forgotten actions whose digests may stay behind


@dataclass(slots=True)
class _Asked:
    """What one principal asked of one tool: ids not read yet, and the ids of each digest, oldest first."""

    unread: list[str] = field(default_factory=list)
    by_digest: dict[str, list[str]] = field(default_factory=dict)


class Repeats:
    """The digests one process has made so far; of use to all of its threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._seen: set[str] = set()
        self._given: dict[str, str] = {}

    def give(self, action_id: str, arguments: Mapping[str, Json]) -> None:
        """Remember the arguments of an action that is just being written: they need not be read later."""
        with self._turn:
            self._given[action_id] = _digest(arguments)

    def same(self, view: Look, principal: str, tool: str, arguments: Mapping[str, Json]) -> list[Action]:
        """Return the actions of a principal that asked a tool for the same, newest first. Raises `LedgerError`."""
        with self._turn:
            self._take_new(view.state.actions)
            asked = self._asked.get((principal, tool))
            if asked is None:
                return []
            while asked.unread:
                self._read(view, asked, asked.unread[-1])
                asked.unread.pop()
            ids = asked.by_digest.get(_digest(arguments), ())
        found = (view.state.actions.get(action_id) for action_id in ids)
        return sorted((action for action in found if action is not None), key=lambda action: action.seq, reverse=True)

    def _read(self, view: Look, asked: _Asked, action_id: str) -> None:
        digest = self._given.pop(action_id, None)
        if digest is None:
            action = view.state.actions.get(action_id)
            if action is None:
                return  # forgotten, or written by a transaction that failed
            digest = _digest(read_arguments(view, view.entry(action.seq)))
        asked.by_digest.setdefault(digest, []).append(action_id)

    def _take_new(self, actions: dict[str, Action]) -> None:
        """Note the actions requested since the last time: they stand behind all that are known already."""
        if len(self._seen) > 2 * len(actions) + _SLACK:
            self._forget(actions)
        for action in reversed(actions.values()):
            if action.id in self._seen:
                return
            self._seen.add(action.id)
            self._asked.setdefault((action.principal, action.tool), _Asked()).unread.append(action.id)

    def _forget(self, actions: dict[str, Action]) -> None:
        self._seen &= actions.keys()
        self._given = {known: digest for known, digest in self._given.items() if known in actions}
        for pair, asked in list(self._asked.items()):
            kept = {digest: [i for i in ids if i in actions] for digest, ids in asked.by_digest.items()}
            asked.by_digest = {digest: ids for digest, ids in kept.items() if ids}
            asked.unread = [i for i in asked.unread if i in actions]
            if not asked.by_digest and not asked.unread:
                del self._asked[pair]


def _digest(arguments: Mapping[str, Json]) -> str:
    return canon.sha256(canon.encode(dict(arguments)))
