"""The story of one action for whoever was not there: who, what, when, by which rule, who agreed, what came of it.

Times are exact and in UTC, keys and digests are written out: each line can be held against an entry of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyturn.cli.output import as_text
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, grouped, request_lines
from keyturn.model.time import format_timestamp

if TYPE_CHECKING:
    from keyturn.approvals.action import Tally
    from keyturn.gateway.show import Shown, ShownRefusal, Word
    from keyturn.log.entry import Entry

_OPEN = frozenset({"pending", "approved", "running"})
_DECISIONS = {
    "permit": "the policy let it run without a review",
    "hold": "the policy held it for people",
    "shadow": "the policy only had it recorded",
}
_MOMENTS = {
    "execution.started": "begun",
    "execution.finished": "over",
    "execution.resolved": "settled",
    "action.cancelled": "cancelled",
    "action.expired": "expired",
    "action.stale": "found stale",
}


def story(shown: Shown, short: str) -> Iterator[Line]:
    """Yield the story of an action below its heading."""
    asked, action = shown.asked, shown.action
    facts: Mapping[str, Any] = asked.entry.facts
    yield from _labelled("When", [f"asked {format_timestamp(action.requested_at)}", *_moments(shown.history)])
    owner = f"{plain(action.owner)} answers for it" if action.owner else "nobody answers for it"
    yield Line("Who", f"{plain(action.principal)}, an assistant; {owner}")
    yield Line("", _way_in(facts, asked.client))
    yield from request_lines(asked)
    yield from _labelled("Changes", [_changes(asked.plan.diff)])
    yield Line("Decision", _DECISIONS[action.decision])
    yield from _labelled("", [f"{plain(reason.code)}: {reason.text}" for reason in asked.reasons])
    yield from _labelled("Rule", [f"“{rule}”" for rule in action.rules] or ["none"])
    yield Line("", f"of policy {action.policy}; contract {plain(action.tool)} {plain(action.contract)}")
    yield from _labelled("Needed", [_needed(tally) for tally in shown.tallies])
    nobody = "nobody so far" if shown.tallies else "nobody was asked"
    yield from _labelled("Agreed", [line for word in shown.words for line in _word(word)] or [nobody])
    yield from _labelled("Outcome", _outcome(shown))
    if shown.undone_by is not None:
        yield Line("Undone", f"by action {plain(shown.undone_by)}")
    yield Line("Digest", grouped(action.digest))
    yield from _labelled("Receipts", [_receipt(entry) for entry in shown.history])
    yield Line("", f"of log {plain(asked.entry.log)}")
    yield Line("Prove it", f"keyturn audit prove {short}")


def refusal_story(shown: ShownRefusal) -> Iterator[Line]:
    """Yield the story of a call that was refused below its heading."""
    facts: Mapping[str, Any] = shown.entry.facts
    yield Line("When", format_timestamp(shown.entry.at))
    owner = f"{plain(facts['owner'])} answers for it" if facts["owner"] else "nobody answers for it"
    yield Line("Who", f"{plain(facts['principal'])}, an assistant; {owner}")
    if facts["target"]:
        yield Line("What", f"{plain(facts['tool'] or '')} on {plain(facts['target'])}")
    yield from _labelled("Refused", [f"{plain(reason.code)}: {reason.text}" for reason in shown.reasons])
    yield Line("", f"by policy {facts['policy']}; its arguments were not kept")
    yield from _labelled("Receipts", [_receipt(shown.entry)])


def _moments(history: Sequence[Entry]) -> list[str]:
    return [f"{_MOMENTS[entry.kind]} {format_timestamp(entry.at)}" for entry in history if entry.kind in _MOMENTS]


def _way_in(facts: Mapping[str, Any], client: str) -> str:
    named = f"; its program calls itself “{client}”" if client else ""
    if facts["token"] is None:
        return f"asked for by the signature of {plain(facts['act']['statement']['by'])}"
    return f"through {plain(facts['transport'])} with the token {facts['token']}{named}"


def _changes(diff: str) -> str:
    lines = diff.splitlines()
    files = sum(line.startswith("+++ ") for line in lines)
    more = sum(line.startswith("+") for line in lines) - files
    less = sum(line.startswith("-") and not line.startswith("--- ") for line in lines)
    if not lines:
        return "no text"
    return f"{files} file{'' if files == 1 else 's'}, {more} lines more, {less} less"


def _needed(tally: Tally) -> str:
    asked = tally.obligation
    keys = "" if asked.keys == "any" else f", each with a {asked.keys} key"
    sources = ", ".join(plain(source) for source in asked.sources)
    people = ", ".join(plain(name) for name in tally.approved) or "nobody"
    return f"“{asked.rule}”: {asked.quorum} of {sources}{keys}; it had {len(tally.approved)}: {people}"


def _word(word: Word) -> Iterator[str]:
    verdict = "approved" if word.verdict == "approve" else "rejected"
    reason = f" “{word.reason}”" if word.reason else ""
    yield f"{plain(word.reviewer)} {verdict} {format_timestamp(word.at)}{reason}"
    touched = {None: "", True: ", touched", False: ", untouched"}[word.present]
    pinned = ", with PIN" if word.pinned else ""
    yield f"  with key {word.key}{touched}{pinned}; entry {word.seq}"


def _outcome(shown: Shown) -> list[str]:
    if shown.state in _OPEN:
        return [f"none yet: it is {shown.state}"]
    result = shown.envelope["result"]
    told = result.items() if isinstance(result, Mapping) else ()
    values = [f"{plain(name)}: {as_text(value)}" for name, value in told if value is not None]
    return [as_text(shown.envelope["message"]), *values]


def _receipt(entry: Entry) -> str:
    return f"entry {entry.seq}  {format_timestamp(entry.at)}  {entry.kind}  {entry.digest}"


def _labelled(label: str, texts: Sequence[str]) -> Iterator[Line]:
    for index, text in enumerate(texts):
        yield Line("" if index else label, text)
