"""What differs in `[risk]` and in `[degrade]`, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from keyturn.policy.degrade import Tightening
from keyturn.policy.difference.wording import joined
from keyturn.policy.limits import written_window
from keyturn.policy.paths import RISK_PARTS, WEEKDAYS
from keyturn.policy.risk.globs import Globs
from keyturn.policy.risk.settings import Hours, Settings
from keyturn.policy.shown import shown


def risk_texts(old: Settings | None, new: Settings | None) -> Iterator[str]:
    """Yield what differs in how requests are scored; None scores none."""
    if old is None or new is None:
        yield "requests are scored now" if new else "nothing is scored any more"
        return
    yield from _weights(old, new)
    for name in ("paths", "infrastructure", "dependencies"):
        yield from _globs(name, getattr(old, name), getattr(new, name))
    yield from _otherwise("a large change has", _large(old), _large(new))
    yield from _otherwise("many failures are", _failures(old), _failures(new))
    yield from _otherwise("people are at work", _hours(old.hours), _hours(new.hours))


def degrade_texts(old: Sequence[Tightening], new: Sequence[Tightening]) -> Iterator[str]:
    """Yield what differs in what is suspended by itself, a sentence for each rule."""
    was, now = ({rule.name: rule for rule in side} for side in (old, new))
    for name in dict.fromkeys((*was, *now)):
        one, other = was.get(name), now.get(name)
        if one is None and other is not None:
            yield f"{name} is new: {_over(other)}it makes {_places(other)} {other.mode}"
        elif one is not None and other is None:
            yield f"{name} is gone: {_over(one)}it made {_places(one)} {one.mode}"
        elif one is not None and other is not None and one != other:
            yield f"{name}: {'; '.join(_tightened(one, other))}"


def _weights(old: Settings, new: Settings) -> Iterator[str]:
    for part in RISK_PARTS:
        was, now = old.weights[part], new.weights[part]
        if was != now:
            yield f"{part} gives at most {now} points instead of {was}"


def _globs(name: str, old: Globs, new: Globs) -> Iterator[str]:
    gone, come = set(old.sources) - set(new.sources), set(new.sources) - set(old.sources)
    parts = (("has now", come), ("no longer has", gone))
    if told := [f"{verb} {joined(map(shown, globs))}" for verb, globs in parts if globs]:
        yield f"{name} {' and '.join(told)}"


def _tightened(old: Tightening, new: Tightening) -> Iterator[str]:
    if old.over != new.over:
        yield f"over {_bound(new)} instead of {_bound(old)}"
    if old.mode != new.mode:
        yield f"{new.mode} instead of {old.mode}"
    if old.environments != new.environments:
        yield f"{_places(new)} instead of {_places(old)}"


def _over(rule: Tightening) -> str:
    return "" if rule.over is None else f"over {_bound(rule)} "


def _bound(rule: Tightening) -> str:
    return written_window(rule.over) if isinstance(rule.over, timedelta) else str(rule.over)


def _places(rule: Tightening) -> str:
    return "everything" if rule.environments is None else joined(rule.environments)


def _otherwise(what: str, old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{what} {new} instead of {old}"


def _large(settings: Settings) -> str:
    return f"{settings.files} files or {settings.lines} lines"


def _failures(settings: Settings) -> str:
    return f"{settings.failures} within {written_window(settings.within)}"


def _hours(hours: Hours) -> str:
    days = ", ".join(day for day in WEEKDAYS if day in hours.days)
    return f"from {hours.begin} until {hours.end} on {days} ({hours.zone})"
