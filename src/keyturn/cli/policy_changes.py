"""How changes of policy are shown: decisions that would differ, who signed, and who is still asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyturn.cli.output import Column, Row, emit, note

if TYPE_CHECKING:
    from keyturn.gateway.policy_changes import Standing
    from keyturn.gateway.replaying import Replay, Said

_CHANGES = (
    Column("ENTRY", "entry"),
    Column("BY", "principal", identifier=True),
    Column("TOOL", "tool", identifier=True),
    Column("TARGET", "target", identifier=True),
    Column("BEFORE", "before"),
    Column("AFTER", "after"),
    Column("WHY", "why"),
)


def show_replay(found: Replay) -> None:
    """Show each request that would be decided otherwise, and how many were decided again."""
    if found.changes:
        emit(_rows(found), as_json=False, columns=_CHANGES)
    for line in _told_replay(found):
        note(line)


def told(said: Said) -> str:
    """Tell what a policy says in a few words: the verdict, and how many reviews it asks from whom."""
    asks = [f"{item['quorum']} of {', '.join(map(str, _listed(item['from'])))}" for item in said.obligations]
    return f"{said.verdict} ({'; '.join(asks)})" if asks else said.verdict


def _told_replay(found: Replay) -> Iterator[str]:
    """Tell how much was decided again, and what could not be."""
    yield f"{_count(found.played, 'request')} decided again, {len(found.changes) or 'none'} otherwise"
    if found.erased:
        yield f"{_count(found.erased, 'request')} left out: what they asked for was erased"
    if found.refused:
        yield f"{_count(found.refused, 'refused call')} left out: what they asked for is never kept"


def told_standing(standing: Standing, entry: int, signed: tuple[str, ...]) -> str:
    """Tell how many have signed for the policy proposed in an entry, and who is still asked."""
    guard = standing.guard
    if guard is None:
        return "the policy in force asks for no endorsements: one reviewer's signature activates the next one"
    left = [name for name in guard.reviewers if name not in signed]
    have = f"{len(signed)} of {guard.quorum} signatures ({', '.join(signed) or 'nobody yet'})"
    if len(signed) >= guard.quorum:
        return f"{have}; to put it in force: keyturn policy activate --to {entry} -m REASON"
    told = f"{have}; may still sign: {', '.join(left)}"
    last = len(signed) == guard.quorum - 1
    return f"{told}, by keyturn policy activate --to {entry} -m REASON as well" if last else told


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _rows(found: Replay) -> list[Row]:
    return [
        {
            "entry": change.seq,
            "principal": change.principal,
            "tool": change.tool,
            "target": change.target,
            "before": told(change.before),
            "after": told(change.after),
            "why": "; ".join(reason.text for reason in change.after.reasons),
        }
        for change in found.changes
    ]
