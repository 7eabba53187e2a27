"""What Keyturn leaves on a Deployment: which actions changed it, and which may not any more.

Two annotations, each with the greatest id that was ever left out of it, because they hold the newest ids alone. An id
above that one which is not there never was; of one below it nothing can be said.

The controller copies a Deployment's annotations to its live ReplicaSet, and `kubectl rollout undo` puts those of a
ReplicaSet in the place of the Deployment's. So marks are looked for on all of them, and their union counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.model.errors import ConnectorError
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

ACTIONS: Final = "keyturn/actions"
FENCES: Final = "keyturn/fences"
REHEARSED: Final = "keyturn/dry-run"
"""Goes with a dry run: found on the object afterwards, it shows a server that carries dry runs out."""
OURS: Final = frozenset({ACTIONS, FENCES, REHEARSED})
NEWEST: Final = 40
"""Ids that each annotation holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An action that put revision `to` in the place of `old`, asked for by `by`.

    `spoken` is when the controller had last spoken of a rollout before that (`lastUpdateTime`), "" if never.
    """

    action: str
    old: str
    to: str
    by: str
    spoken: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """All marks of one Deployment, newest action first; `done_before` and `fenced_before` are the ids left out."""

    done: tuple[Mark, ...] = ()
    fenced: tuple[str, ...] = ()
    done_before: str = ""
    fenced_before: str = ""

    def of(self, action: str) -> Mark | None:
        """Return the mark of an action, or None."""
        return next((mark for mark in self.done if mark.action == action), None)

    def forgotten(self, action: str) -> bool:
        """Say whether an action is so old that its mark or fence may have been left out."""
        return action <= max(self.done_before, self.fenced_before)

    def with_done(self, mark: Mark) -> Marks:
        """Return the marks with one more."""
        done, before = _newest((*self.done, mark), self.done_before)
        return Marks(done=done, done_before=before, fenced=self.fenced, fenced_before=self.fenced_before)

    def with_fence(self, action: str) -> Marks:
        """Return the marks with one more fence."""
        ids = sorted({*self.fenced, action}, reverse=True)
        before = max([self.fenced_before, *ids[NEWEST:]])
        return Marks(done=self.done, done_before=self.done_before, fenced=tuple(ids[:NEWEST]), fenced_before=before)

    def written(self) -> dict[str, str]:
        """Return the annotations that hold them; an empty one is left out."""
        texts: dict[str, str] = {}
        if self.done or self.done_before:
            done = [_written(one) for one in self.done]
            texts[ACTIONS] = _text(done, self.done_before)
        if self.fenced or self.fenced_before:
            texts[FENCES] = _text(list(self.fenced), self.fenced_before)
        return texts


def mark_of(action: ActionRef, old: str, to: str, spoken: str) -> Mark:
    """Return the mark of an action. Raises `ConnectorError` for an id that is none."""
    action_time(action.action)
    return Mark(action=action.action, old=old, to=to, by=action.principal, spoken=spoken)


def read_marks(place: str, annotated: Iterable[Mapping[str, str]]) -> Marks:
    """Return the union of the marks in several sets of annotations. Raises `ConnectorError` for what is not ours."""
    done: dict[str, Mark] = {}
    fenced: set[str] = set()
    done_before = fenced_before = ""
    for texts in annotated:
        entries, before = _entries(place, ACTIONS, texts.get(ACTIONS))
        done |= {mark.action: mark for mark in (_mark(place, entry) for entry in entries)}
        done_before = max(done_before, before)
        entries, before = _entries(place, FENCES, texts.get(FENCES))
        fenced |= {_id(place, FENCES, entry) for entry in entries}
        fenced_before = max(fenced_before, before)
    return Marks(
        done=tuple(sorted(done.values(), key=lambda mark: mark.action, reverse=True)),
        fenced=tuple(sorted(fenced, reverse=True)),
        done_before=done_before,
        fenced_before=fenced_before,
    )


def _newest(marks: Iterable[Mark], before: str) -> tuple[tuple[Mark, ...], str]:
    ordered = sorted(marks, key=lambda mark: mark.action, reverse=True)
    return tuple(ordered[:NEWEST]), max([before, *(mark.action for mark in ordered[NEWEST:])])


def _text(entries: list[Any], before: str) -> str:
    return json.dumps({"newest": entries, "before": before}, ensure_ascii=True, separators=(",", ":"))


def _entries(place: str, name: str, text: str | None) -> tuple[list[Any], str]:
    if text is None:
        return [], ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("newest"), list) and isinstance(value.get("before"), str):
        return value["newest"], _id(place, name, value["before"]) if value["before"] else ""
    raise _foreign(place, name)


def _written(mark: Mark) -> dict[str, str]:
    return {"id": mark.action, "from": mark.old, "to": mark.to, "by": mark.by, "spoken": mark.spoken}


def _mark(place: str, entry: object) -> Mark:
    if not isinstance(entry, dict):
        raise _foreign(place, ACTIONS)
    old, to, by, spoken = (entry.get(name) for name in ("from", "to", "by", "spoken"))
    if isinstance(old, str) and isinstance(to, str) and isinstance(by, str) and isinstance(spoken, str):
        return Mark(action=_id(place, ACTIONS, entry.get("id")), old=old, to=to, by=by, spoken=spoken)
    raise _foreign(place, ACTIONS)


def _id(place: str, name: str, value: object) -> str:
    try:
        action_time(str(value))
    except ConnectorError:
        raise _foreign(place, name) from None
    return str(value)


def _foreign(place: str, name: str) -> ConnectorError:
    return ConnectorError(
        f"{place}: the annotation {name} is not as Keyturn wrote it; somebody who knows why has to remove it"
    )
