"""The pull request as a record: what is kept beside its branch, in the repository itself, readable with stock git.

`refs/keyturn/pull/<action id>` names a commit whose tree holds `pull.json` (canonical JSON) and `change.patch`
(the whole change as reviewed). Each update adds a commit on top, so the record's history is the request's history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from keyturn.canon import CanonError, Json, decode_object, encode
from keyturn.connectors.forge import Opening
from keyturn.connectors.forge.names import check_base
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import ActionRef

RECORD = b"pull.json"
PATCH = b"change.patch"
MAX_RECORD = 2**20
_VERSION = 1
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `pull.json` says.

    commit   our newest commit, or the branch's head when it was closed
    updates  the ids of the actions that added a commit after the opening
    closed   the id of the action that closed it unmerged, None (and not written) otherwise
    """

    action: str
    principal: str
    reason: str
    title: str
    body: str
    base: str
    base_commit: str
    branch: str
    commit: str
    draft: bool
    updates: tuple[str, ...] = ()
    closed: str | None = None

    def encoded(self) -> bytes:
        """Return the record's bytes."""
        closed = {"closed": self.closed} if self.closed else {}
        return encode(
            {
                "version": _VERSION,
                "action": self.action,
                "principal": self.principal,
                "reason": self.reason,
                "title": self.title,
                "body": self.body,
                "base": self.base,
                "base_commit": self.base_commit,
                "branch": self.branch,
                "commit": self.commit,
                "draft": self.draft,
                "updates": self.updates,
                **closed,
            }
        )

    def updated(self, action: ActionRef, commit: str) -> Record:
        """Return the record with a further commit on it."""
        return replace(self, commit=commit, updates=(*self.updates, action.action))

    def closed_by(self, action: ActionRef, head: str) -> Record:
        """Return the record of the closed pull request, whose branch stood at `head`."""
        return replace(self, commit=head, closed=action.action)


def opening_record(change: Opening, action: ActionRef, commit: str) -> Record:
    """Return the record of a new pull request; its body opens with who asked and under which action."""
    opening = f"Opened by Keyturn for {action.principal}, action {action.action}."
    return Record(
        action=action.action,
        principal=action.principal,
        reason=action.reason,
        title=change.title,
        body=f"{opening}\n\n{change.body}".rstrip("\n"),
        base=change.base,
        base_commit=change.base_commit,
        branch=action.marker,
        commit=commit,
        draft=change.draft,
    )


def read_record(data: bytes) -> Record:
    """Read `pull.json`. Refused: anything that `encoded` does not write."""
    try:
        value = decode_object(data)
        if value.pop("version", None) != _VERSION:
            raise ConnectorError("pull.json: written in a version this Keyturn does not know")
        return _checked(value)
    except (CanonError, TypeError) as error:
        raise ConnectorError(f"pull.json: not a pull request's record ({error})") from error


def _checked(value: Mapping[str, Json]) -> Record:
    updates = value.get("updates")
    texts = {key: item for key, item in value.items() if key not in ("draft", "updates")}
    if not isinstance(updates, list) or not all(isinstance(item, str) for item in [*texts.values(), *updates]):
        raise TypeError("a field of another type")
    if not isinstance(value.get("draft"), bool):
        raise TypeError("draft of another type")
    record = Record(**{**value, "updates": tuple(updates)})  # type: ignore[arg-type]  # types checked above
    # whoever may write to the repository may have written this record: its names go to git as arguments
    check_base(record.base)
    if not _OID.fullmatch(record.commit) or not _OID.fullmatch(record.base_commit):
        raise TypeError("a commit that is no object id")
    return record


def commit_message(title: str, body: str, action: ActionRef) -> str:
    """Return a commit message: title, body, and trailers that name action and principal."""
    trailers = f"Keyturn-Action: {action.action}\nKeyturn-Principal: {action.principal}\n"
    return "\n\n".join(part for part in (title, body, trailers) if part)
