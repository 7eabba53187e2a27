"""`keyturn status`: a home on one screen, and where work piles up in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.ids import short_id
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, on_terminal
from keyturn.cli.screen import plain, safe
from keyturn.cli.sheet import Line, speak
from keyturn.cli.times import ago, span

if TYPE_CHECKING:
    from keyturn.approvals.action import Action
    from keyturn.assembly.survey import Survey
    from keyturn.canon import Json
    from keyturn.gateway.freeze_states import FreezeState
    from keyturn.gateway.pressure import Pressure, Ready, Spread

MOST = 5
"""Actions, queues and codes of each sort on the screen; all of them are in the JSON."""

IDLE = "no worker and no serving process is there to run it"
NEXT = "about to be taken"


@click.command(name="status")
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: AsJson) -> None:
    """Show how a home stands, and where work piles up.

    Whom actions wait for, what is approved and does not run, how long people and executions take, what is refused,
    and what to worry about. Exits 1 when neither server nor worker could start here now.
    """
    from keyturn.assembly.survey import survey

    found = survey(home_of(ctx))
    if on_terminal() and not as_json:
        speak([*_home_lines(found), *_work_lines(found), *_pace_lines(found), *_state_lines(found), *_worries(found)])
    elif as_json:
        emit_json(_value(found), as_json)
    else:
        flat = dict(_flat(_value(found)))
        emit(flat, as_json=False, columns=[Column(name, name) for name in flat])
    if found.obstacles:
        ctx.exit(Exit.FAILURE)


# --- for programs ---------------------------------------------------------------------------------------------


def _value(found: Survey) -> dict[str, Json]:
    from keyturn.cli.verbs.freeze.list import freeze_row
    from keyturn.model.time import format_timestamp

    seen = found.seen
    return {
        "home": str(found.home),
        "log": seen.log,
        "size": seen.size,
        "last_entry_at": None if seen.last is None else format_timestamp(seen.last),
        "clock_fault": seen.fault,
        "policy": seen.policy.digest,
        "policy_since": format_timestamp(seen.policy.at),
        "policy_by": seen.policy.by,
        "proposal": found.proposal,
        "open": dict(seen.open),
        "unknown": list(seen.unknown),
        **_pressure_value(found),
        "freezes": [freeze_row(state) for state in seen.freezes],
        "worker": found.worker,
        "executors": len(found.executors),
        "notify": _notify_value(found),
        "ledger": {"bytes": found.room.ledger, "wal_bytes": found.room.wal, "free_bytes": found.room.free},
        "obstacles": list(found.obstacles),
        "warnings": list(found.warnings),
    }


def _pressure_value(found: Survey) -> dict[str, Json]:
    from keyturn.gateway.pressure import begun
    from keyturn.model.time import format_timestamp

    pressed = found.seen.pressure
    return {
        "waiting": [
            {
                "for": list(queue.sources),
                "people": list(queue.people),
                "actions": list(queue.actions),
                "since": format_timestamp(queue.since),
            }
            for queue in pressed.queues
        ],
        "ready": [
            {"action_id": ready.action.id, "code": ready.code or _lack(found), "why": _why(found, ready)}
            for ready in pressed.ready
        ],
        "running": [
            {"action_id": action.id, "since": format_timestamp(begun(action)), "alive": _lives(found, action)}
            for action in pressed.running
        ],
        "expires_next": None
        if pressed.expires is None
        else {"action_id": pressed.expires[0], "at": format_timestamp(pressed.expires[1])},
        "deciding": _spread_value(pressed.deciding),
        "finishing": _spread_value(pressed.finishing),
        "refused": dict(pressed.refused.codes),
        "refused_complete": pressed.refused.complete,
        "suspended": [
            {"scope": halt.suspension.scope.to_json(), "mode": halt.suspension.mode, "by": halt.suspension.by}
            for halt in pressed.halts
        ],
        "growth": {"hour": pressed.growth[0], "day": pressed.growth[1]},
    }


def _spread_value(spread: Spread | None) -> dict[str, Json] | None:
    """Return a spread in whole milliseconds: JSON of ours holds no fractions."""
    if spread is None:
        return None
    return {"count": spread.count, "median_ms": round(spread.median * 1000), "p95_ms": round(spread.p95 * 1000)}


def _notify_value(found: Survey) -> dict[str, Json] | None:
    telling = found.notifying
    if telling is None:
        return None
    return {"active": telling.active, "failed": telling.failed, "failed_in_a_row": telling.consecutive}


def _flat(value: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Give counts a line each, for programs that read lines."""
    for name, field in value.items():
        if isinstance(field, Mapping):
            yield from ((f"{name}.{part}", count) for part, count in field.items())
        else:
            yield name, field


# --- for people -----------------------------------------------------------------------------------------------


def _home_lines(found: Survey) -> Iterator[Line]:
    seen, (hour, day) = found.seen, found.seen.pressure.growth
    last = "" if seen.last is None else f", the last {ago(seen.last, seen.now)}"
    by = f"signed by {plain(seen.policy.by)}" if seen.policy.by else "the one the log was founded with"
    yield Line("Home", str(found.home), "bold")
    yield Line("Log", seen.log)
    yield Line("Entries", f"{seen.size:,}{last}; {hour:,} in an hour, {day:,} in a day")
    yield Line("Policy", seen.policy.digest)
    yield Line("", f"in force for {span(seen.policy.at, seen.now)}, {by}")
    if found.proposal != "in force":
        yield Line("", f"policy.toml on disk: {found.proposal}; see keyturn policy check", "yellow")


def _work_lines(found: Survey) -> Iterator[Line]:
    """Yield what is open: for whom it waits, and why what could run does not."""
    seen, pressed = found.seen, found.seen.pressure
    yield Line("Open", ", ".join(f"{count} {state}" for state, count in seen.open.items() if count) or "nothing")
    yield from _listed("Waiting", _queue_lines(found))
    yield from _listed(
        "Approved", [f"{_named(found, ready.action)}: {_why(found, ready)}" for ready in pressed.ready]
    )
    yield from _listed("Running", [_running_line(found, action) for action in pressed.running])
    ids = [f"{_short(found, action)}: see keyturn action show {_short(found, action)}" for action in seen.unknown]
    yield from _listed("Unknown", ids, "red")
    if pressed.expires is not None:
        action, at = pressed.expires
        yield Line("Expires", f"{_short(found, action)} next, in {span(seen.now, at)}")


def _queue_lines(found: Survey) -> list[str]:
    now = found.seen.now
    return [
        f"{len(queue.actions)} for {_names(queue.sources)} ({_names(queue.people) or 'nobody left who may'}); "
        f"the oldest {_short(found, queue.actions[0])}, asked {ago(queue.since, now)}"
        for queue in found.seen.pressure.queues
    ]


def _running_line(found: Survey, action: Action) -> str:
    from keyturn.gateway.pressure import begun

    gone = "" if _lives(found, action) else "; its process is gone, and whoever executes next settles it"
    return f"{_named(found, action)} for {span(begun(action), found.seen.now)}{gone}"


def _pace_lines(found: Survey) -> Iterator[Line]:
    """Yield how long things took, and what was refused, in the last hour."""
    pressed = found.seen.pressure
    yield Line("Decided", _spread_line(pressed.deciding))
    yield Line("Finished", _spread_line(pressed.finishing))
    yield Line("Refused", _refused_line(pressed))


def _spread_line(spread: Spread | None) -> str:
    if spread is None:
        return "nothing in the last hour"
    median, most = (_seconds(seconds) for seconds in (spread.median, spread.p95))
    return f"{spread.count} in the last hour; half within {median}, 95 % within {most}"


def _seconds(seconds: float) -> str:
    start = datetime.min  # noqa: DTZ901 - only the distance between the two counts
    return f"{seconds:.1f}s" if seconds < 10 else span(start, start + timedelta(seconds=seconds))


def _refused_line(pressed: Pressure) -> str:
    codes = list(pressed.refused.codes.items())
    if not codes:
        return "nothing in the last hour"
    shown = ", ".join(f"{count:,} {plain(code)}" for code, count in codes[:MOST])
    rest = f", {len(codes) - MOST} more codes" if len(codes) > MOST else ""
    return f"{shown}{rest} in the last hour{'' if pressed.refused.complete else ', or more'}"


def _state_lines(found: Survey) -> Iterator[Line]:
    """Yield what is stopped, who executes, whether people are told, and how much room there is."""
    now = found.seen.now
    halts = [
        f"{plain(str(halt.suspension.scope))} is {halt.suspension.mode} for {span(halt.suspension.at, now)}, "
        f"by {plain(halt.suspension.by)}{f': “{halt.reason}”' if halt.reason else ''}"
        for halt in found.seen.pressure.halts
    ]
    yield from _listed("Suspended", halts, "red")
    yield from _freeze_lines(found)
    yield Line("Worker", _worker_line(found))
    if (telling := found.notifying) is not None:
        told = "people are told" if telling.active else "nobody tells people now: no server or worker runs"
        if telling.active and telling.consecutive:
            told = "people are not told"
        yield Line("Notify", f"{told}; {telling.failed} notices failed so far")
    room = found.room
    yield Line("Room", f"ledger {_bytes(room.ledger)}, WAL {_bytes(room.wal)}, {_bytes(room.free)} free on its disk")


def _freeze_lines(found: Survey) -> Iterator[Line]:
    """Yield what is frozen or set aside, and when; of what is not, the next change alone."""
    now, off = found.seen.now, [state for state in found.seen.freezes if state.state == "off"]
    present = [
        f"{plain(state.freeze.id)} {_freeze_word(state)}"
        + (", with no end in sight" if state.changes_at is None else f" for {span(now, state.changes_at)}")
        for state in found.seen.freezes
        if state.state != "off"
    ]
    yield from _listed("Frozen", present, "yellow")
    coming = [(state.changes_at, state.freeze.id) for state in off if state.changes_at is not None]
    if coming:
        at, name = min(coming)
        yield Line("" if present else "Freezes", f"{plain(name)} begins next, in {span(now, at)}")


def _freeze_word(state: FreezeState) -> str:
    shadow = " in shadow" if state.freeze.shadow else ""
    if state.override is not None:
        return f"is set aside by {plain(state.override.by)}"
    return f"refuses changes{shadow}" if state.freeze.effect == "deny" else f"holds changes for people{shadow}"


def _worker_line(found: Survey) -> str:
    if not found.executors:
        return "running" if found.worker else "none now; one is started when there is work"
    count = len(found.executors)
    return f"{count} {'process executes' if count == 1 else 'processes execute'}"


def _worries(found: Survey) -> Iterator[Line]:
    if found.obstacles:
        yield Line("", "! neither server nor worker can start here now:", "red")
    yield from (Line("", f"! {text}", "red") for text in found.obstacles)
    yield from (Line("", f"! {text}", "yellow") for text in found.warnings)


def _listed(label: str, texts: Sequence[str], style: str = "yellow") -> Iterator[Line]:
    """Yield a line for each text, at most `MOST`; what lies there is coloured, for it waits for somebody."""
    for index, text in enumerate(texts[:MOST]):
        yield Line("" if index else label, text, style)
    if len(texts) > MOST:
        yield Line("", f"and {len(texts) - MOST} more: see --json", style)


# --- words for both -------------------------------------------------------------------------------------------


def _lack(found: Survey) -> str | None:
    """Return the code of what an action lacks that could run as far as the ledger tells."""
    return None if found.executors or found.worker else "no_worker"


def _why(found: Survey, ready: Ready) -> str:
    if ready.why is not None:
        return safe(ready.why)
    return NEXT if _lack(found) is None else IDLE


def _lives(found: Survey, action: Action) -> bool:
    return action.started is not None and action.started.instance in found.executors


def _named(found: Survey, action: Action) -> str:
    return f"{_short(found, action.id)} {plain(action.tool)} on {plain(action.target)}"


def _short(found: Survey, action: str) -> str:
    return short_id(action, set(_known(found)))


def _known(found: Survey) -> Iterator[str]:
    pressed = found.seen.pressure
    yield from found.seen.unknown
    yield from (name for queue in pressed.queues for name in queue.actions)
    yield from (ready.action.id for ready in pressed.ready)
    yield from (action.id for action in pressed.running)


def _names(names: Sequence[str]) -> str:
    return ", ".join(plain(name) for name in names)


def _bytes(count: int) -> str:
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:.1f} {unit}"
    return f"{count} B"
