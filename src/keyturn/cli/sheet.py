"""The sheet a reviewer reads before saying yes: one action, complete, with our words and theirs kept apart.

Labels stand in the first column and are ours; whatever others wrote stands indented beside them, however long it is
and whatever line ends it holds, so that no text can pass for a line of the sheet.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from keyturn.cli.output import as_text, coloured, on_terminal, styled
from keyturn.cli.screen import cells, folded, plain, safe
from keyturn.cli.times import ago, span

if TYPE_CHECKING:
    from keyturn.approvals.action import Action, Tally
    from keyturn.gateway.show import Asked, Shown, ShownRefusal, Word
    from keyturn.model.decision import Reason
    from keyturn.model.risk import Risk

INDENT = 11
DEEPER = "  "
ENDLESS = 10**9  # width of what is no terminal: nothing is folded there
_POSTED = {"title", "body", "draft", "labels"}  # arguments whose words a plan repeats as they will be posted
_LONG = 400  # characters of a structured argument beyond which the sheet points to where it is shown
_STATE_STYLE = {"pending": "yellow", "approved": "cyan", "running": "cyan", "succeeded": "green", "shadowed": "dim"}


@dataclass(frozen=True, slots=True)
class Line:
    """A label of ours (or none, to go on below the last) and a text beside it that may be anybody's."""

    label: str
    text: str
    style: str | None = None


def width() -> int:
    """Return how wide lines may be."""
    return max(40, shutil.get_terminal_size().columns) if on_terminal() else ENDLESS


def speak(lines: Sequence[Line], *, err: bool = False) -> None:
    """Print lines of a sheet."""
    for row in laid_out(lines, width()):
        click.echo(row, err=err, color=coloured() and not err)


def laid_out(lines: Sequence[Line], columns: int) -> Iterator[str]:
    """Yield the rows of a sheet: texts made safe, folded, and indented behind their labels.

    What goes on in a further row stands two columns deeper than what begins there, whoever chose where to break.
    """
    for line in lines:
        label = line.label.ljust(INDENT)
        for row in _rows(line.text, columns - INDENT - len(DEEPER)):
            yield f"{styled(label, 'dim')}{styled(row, line.style)}".rstrip()
            label = " " * INDENT + DEEPER


def _rows(text: str, columns: int) -> Iterator[str]:
    for part in text.split("\n"):
        yield from folded(safe(part), columns)


def speak_heading(title: str, state: str, note: str = "", *, err: bool = False) -> None:
    """Print the first line of a sheet: what it is about, and on the right how it stands."""
    for row in _heading(title, state, note):
        click.echo(row, err=err, color=coloured() and not err)


def _heading(title: str, state: str, note: str = "") -> Iterator[str]:
    right = styled(f"{state}{note}", _STATE_STYLE.get(state, "red"))
    rows = folded(safe(title).strip() or "(no summary)", width())
    room = width() - cells(rows[-1]) - len(state) - len(note)
    for row in rows[:-1]:
        yield styled(row, "bold")
    last = styled(rows[-1], "bold")
    if on_terminal() and room < 2:
        yield last
        yield right
    else:
        yield f"{last}{' ' * (room if on_terminal() else 2)}{right}"


def sheet(shown: Shown, short: str) -> Iterator[Line]:
    """Yield the sheet of an action below its heading."""
    asked, action = shown.asked, shown.action
    waits = shown.state in {"pending", "approved"}
    until = f" · expires in {span(shown.now, action.expires_at)}, then refused" if waits else ""
    yield Line("Asked by", f"{_who(asked)} {ago(action.requested_at, shown.now)}{until}")
    yield from request_lines(asked)
    yield from _rule_lines(action, shown.tallies, _may_still if waits else _had)
    yield from _review_lines(shown.words, shown.now)
    yield from _hand_lines(action, shown.now)
    yield from _outcome_lines(shown)
    if shown.undone_by is not None:
        yield Line("Undone", f"by action {plain(shown.undone_by)}")
    yield from digest_lines(asked)
    by_hand = shown.state == "approved" and action.waits_for_a_hand
    yield from _labelled("Next", _next("by hand" if by_hand else shown.state, short))


def request_lines(asked: Asked) -> Iterator[Line]:
    """Yield what is asked for: all of it is bound by the digest."""
    action, plan = asked.action, asked.plan
    if action.owner is None:
        yield Line("", f"! no owner is set for {plain(action.principal)}: four eyes are not enforced", "yellow")
    yield Line("Reason", f"“{asked.reason}”" if asked.reason else "none given")
    if action.undoes is not None:
        yield Line("Undoes", f"action {plain(action.undoes)}")
    yield Line("Tool", f"{plain(action.tool)} on {plain(action.target)} ({plain(action.environment)})")
    yield Line("Through", plain(" ".join(action.backend[name] for name in ("kind", "location"))))
    yield from _argument_lines(asked)
    undo = f" · undo: {_with_id(plan.inverse.summary, action.id)}" if plan.inverse else ""
    yield Line("Effect", f"{_effects(action.effects)}{undo}")
    if asked.risk is not None:
        yield from _risk_lines(asked.risk)
    if isinstance(plan.view.get("preview"), str):
        yield Line("Preview", as_text(plan.view["preview"]))
    yield from _labelled("Checked", [plain(f"{name} {_compact(value)}") for name, value in plan.facts.items()])


def _risk_lines(risk: Risk) -> Iterator[Line]:
    """Yield the score and each part: what a part has seen may be anybody's words, and what it is called is ours."""
    most = sum(part.most for part in risk.parts)
    yield Line("Risk", f"{risk.score} of {most}")
    for part in risk.parts:
        why = f": {'; '.join(part.because)}" if part.because else ""
        style = None if part.points else "dim"
        yield Line("", f"{plain(part.name)} {part.points} of {part.most}{why}", style)


def carried_sheet(asked: Asked) -> Iterator[Line]:
    """Yield the sheet of a request away from its ledger: what became of it since is not known here."""
    from keyturn.approvals.action import tallies
    from keyturn.model.time import format_timestamp

    action = asked.action
    asked_at, until = format_timestamp(action.requested_at), format_timestamp(action.expires_at)
    yield Line("Asked by", f"{_who(asked)} at {asked_at} · expires at {until}")
    yield from request_lines(asked)
    yield from _rule_lines(action, tallies(action, action.requested_at), _when_asked)
    yield from digest_lines(asked)


def digest_lines(asked: Asked) -> Iterator[Line]:
    """Yield what is signed."""
    yield Line("Digest", grouped(asked.action.digest))
    yield Line("", f"entry {asked.action.seq} of {plain(asked.entry.log)}")


def refusal_sheet(shown: ShownRefusal) -> Iterator[Line]:
    """Yield the sheet of a refused call below its heading."""
    facts = shown.entry.facts
    owner = f" (owner {plain(as_text(facts['owner']))})" if facts["owner"] else ""
    yield Line("Asked by", f"{plain(as_text(facts['principal']))}{owner} {ago(shown.entry.at, shown.now)}")
    if facts["target"]:
        yield Line("Target", f"{plain(as_text(facts['target']))} ({plain(as_text(facts['environment'])) or 'none'})")
    yield from _labelled("Refused", [_refused(reason) for reason in shown.reasons])
    yield Line("Stage", f"{as_text(facts['stage'])}; the arguments ({facts['arguments_bytes']} bytes) were not kept")
    yield Line("Entry", str(shown.entry.seq))


def _refused(reason: Reason) -> str:
    rule = f" by “{reason.rule}”" if reason.rule else ""
    return f"{plain(reason.code)}{rule}: {reason.text}"


def grouped(digest: str) -> str:
    """Write a digest in groups of four, for comparing by eye."""
    name, _, digits = digest.partition(":")
    return f"{name}:{' '.join(digits[i : i + 4] for i in range(0, len(digits), 4))}"


def _with_id(text: str, action_id: str) -> str:
    """Put the id in the place that a plan, which is made before there is one, keeps for it."""
    return text.replace("<action id>", action_id)


def _who(asked: Asked) -> str:
    action = asked.action
    owner = f" (owner {plain(action.owner)})" if action.owner else ""
    by = "" if action.asked_by is None else f"{plain(action.asked_by)}, by signature, for "
    return f"{by}{plain(action.principal)}{owner}"


def _argument_lines(asked: Asked) -> Iterator[Line]:
    shown = [(name, value) for name, value in asked.arguments.items() if value not in (None, "", [])]
    yield from _labelled("Arguments", [f"{plain(name)}: {_argument(value)}" for name, value in shown])
    for name, planned in _otherwise(asked):
        yield Line("", f"! planned is another {plain(name)}: {_argument(planned)}", "red")


def _otherwise(asked: Asked) -> Iterator[tuple[str, object]]:
    """Yield what would be posted where it is not what was asked: the plan is what will be done."""
    for name in _POSTED & asked.arguments.keys() & asked.plan.view.keys():
        planned, value = asked.plan.view[name], asked.arguments[name]
        if _as_posted(planned) != _as_posted(value):
            yield name, planned


def _as_posted(value: object) -> object:
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else value


def _argument(value: object) -> str:
    text = _compact(value)
    if isinstance(value, (list, dict)) and len(text) > _LONG:
        return f"{len(value)} items: see the diff, or --json=arguments"
    return text


def _compact(value: object) -> str:
    # ASCII alone: names of files and the like stand in there, where a look-alike letter would mislead.
    return json.dumps(value) if isinstance(value, (list, dict)) else as_text(value)


def _effects(effects: Mapping[str, int]) -> str:
    named = [(effects.get(name, 0), one, many) for name, one, many in _COUNTED]
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in named if count]
    return ", ".join(parts) or "one call"


_COUNTED = (
    ("files_changed", "file", "files"),
    ("lines_changed", "line changed", "lines changed"),
    ("recipients", "recipient", "recipients"),
)


def _rule_lines(action: Action, tallies: Sequence[Tally], standing: Callable[[Tally], str]) -> Iterator[Line]:
    held = {tally.obligation.rule for tally in tallies}
    free = [f"“{rule}” lets it run" for rule in action.rules if rule not in held]
    yield from _labelled("Rule", [*(f"{_obligation(tally)}: {standing(tally)}" for tally in tallies), *free])
    if action.excluded:
        yield Line("", f"may not review: {', '.join(_excluded(action))}")


def _excluded(action: Action) -> Iterator[str]:
    for name in action.excluded:
        asks = name == action.asked_by
        yield f"{plain(name)} ({'asks for it' if asks else f'answers for {plain(action.principal)}'})"


def _obligation(tally: Tally) -> str:
    asked = tally.obligation
    sources = ", ".join(plain(source) for source in asked.sources)
    keys = "" if asked.keys == "any" else f" with a {asked.keys} key"
    return f"“{asked.rule}” needs {asked.quorum} from {sources}{keys}"


def _may_still(tally: Tally) -> str:
    return f"{len(tally.approved)} so far; may review: {_eligible(tally)}"


def _had(tally: Tally) -> str:
    return f"it had {len(tally.approved)}"


def _when_asked(tally: Tally) -> str:
    return f"when it was asked, these could review: {_eligible(tally)}"


def _eligible(tally: Tally) -> str:
    return ", ".join(plain(name) for name in tally.eligible) or "nobody at present"


def _review_lines(words: Sequence[Word], now: datetime) -> Iterator[Line]:
    for index, word in enumerate(words):
        sign, style = ("✓", "green") if word.verdict == "approve" else ("✗", "red")
        reason = f" “{word.reason}”" if word.reason else ""
        yield Line("" if index else "Reviews", f"{sign} {plain(word.reviewer)} {ago(word.at, now)}{reason}", style)
        yield Line("", f"  {word.key}{_presence(word)} entry {word.seq}", "dim")


def _hand_lines(action: Action, now: datetime) -> Iterator[Line]:
    if action.reserved:
        words = {"cost": "{} of cost", "runtime": "{} s of runtime"}
        yield Line("Reserves", ", ".join(words[unit].format(amount) for unit, amount in action.reserved.items()))
    if action.released is not None:
        yield Line("Executed", f"✓ {plain(action.released.by)} signed {ago(action.released.at, now)}", "green")
    elif action.withheld:
        yield Line("Executed", "once a person has signed for it", "yellow")


def _presence(word: Word) -> str:
    if word.present is None:
        return ""
    return (
        " touched," if word.present and not word.pinned else " touched, with PIN," if word.present else " untouched,"
    )


def _outcome_lines(shown: Shown) -> Iterator[Line]:
    if shown.state in {"pending", "approved"}:
        return
    yield Line("Outcome", as_text(shown.envelope["message"]), None if shown.state == "succeeded" else "red")
    result = shown.envelope["result"]
    if isinstance(result, Mapping):
        told = {name: value for name, value in result.items() if value is not None}
        yield from _labelled("Result", [f"{plain(name)}: {_compact(value)}" for name, value in told.items()])


def _next(state: str, short: str) -> list[str]:
    diff = f"keyturn action diff {short}"
    match state:
        case "pending":
            return [diff, f"keyturn approve {short} -m REASON", f"keyturn deny {short} -m REASON"]
        case "by hand":
            return [f"keyturn action execute {short}", diff]
        case "approved" | "running":
            return [f"keyturn action wait {short}", diff]
        case "unknown":
            return [f"keyturn action resolve {short} --succeeded|--failed -m REASON", diff]
    return [diff]


def _labelled(label: str, texts: Sequence[str]) -> Iterator[Line]:
    for index, text in enumerate(texts):
        yield Line("" if index else label, text)
