"""Freezes: while a calendar has an event, what changes its targets is refused, or waits for people.

Only governed tools are frozen: reading changes nothing. A freeze adds a no or an obligation and takes nothing away:
none ever loosens what the other rules ask. A person may set one freeze aside for a while (see `Override`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from keyturn.model.contract import Contract
from keyturn.model.decision import Reason
from keyturn.model.time import format_timestamp
from keyturn.policy.approval import read_approval
from keyturn.policy.circumstances import Circumstances, Override
from keyturn.policy.documents import CALENDAR, Document
from keyturn.policy.patterns import Pattern, PatternError, glob
from keyturn.policy.rules import Approval
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table
from keyturn.policy.validity import ALWAYS, Validity, read_validity
from keyturn.policy.world import World

if TYPE_CHECKING:
    from keyturn.policy.calendar.times import Calendar

DENY = "deny"
HOLD = "hold"
_KEYS = (
    "id", "environments", "tools", "targets", "calendar", "timezone", "effect", "approval", "override", "mode",
    "valid",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stretch:
    """When something is frozen: from `start` until `end`, which is left out; None: no end is in sight."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One of `[[freezes]]`. What is left out (None) means all.

    path        the calendar's file; `calendar` what it holds
    effect      "deny" or "hold"; `approval` is what holding asks
    overriders  the reviewers who may set it aside
    """

    id: str
    place: str
    environments: frozenset[str] | None
    tools: frozenset[str] | None
    targets: tuple[str, ...] | None
    patterns: tuple[Pattern, ...]
    path: str
    calendar: Calendar
    effect: str
    approval: Approval | None
    overriders: frozenset[str]
    shadow: bool
    valid: Validity = ALWAYS

    def covers(self, tool: str, environment: str, target: str) -> bool:
        """Say whether it is about calls of this tool on this target. Raises `UnicodeEncodeError` as globs do."""
        return (
            (self.tools is None or tool in self.tools)
            and (self.environments is None or environment in self.environments)
            and (self.targets is None or any(pattern.matches(target) for pattern in self.patterns))
        )

    def set_aside(self, circumstances: Circumstances, now: datetime) -> Override | None:
        """Return the override that sets it aside at `now`: only somebody whom it names can have signed that."""
        found = circumstances.override_of(self.id, now)
        return found if found is not None and found.by in self.overriders else None

    def at(self, now: datetime) -> Stretch | None:
        """Return the frozen stretch that `now` lies in, or None. Where it began is not looked for far back."""
        if not self.valid.holds(now):
            return None
        found = self.calendar.at(now)
        return None if found is None else Stretch(found.start, _earlier(found.end, self.valid.until))

    def after(self, now: datetime) -> Stretch | None:
        """Return the next stretch that begins after `now`, if one does in sight."""
        since = self.valid.since
        if since is not None and now < since and (begun := self.at(since)) is not None:
            return Stretch(since, begun.end)
        found = self.calendar.after(now if since is None else max(now, since))
        if found is None or not self.valid.holds(found.start):
            return None
        return Stretch(found.start, _earlier(found.end, self.valid.until))


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze that is on: until when (None: no end is in sight), and whether somebody has set it aside."""

    freeze: Freeze
    until: datetime | None
    override: Override | None

    @property
    def counts(self) -> bool:
        """Whether it changes what is decided."""
        return self.override is None and not self.freeze.shadow


@dataclass(frozen=True, slots=True)
class Freezing:
    """What the freezes say to one call: which of them refuse it, and what the others ask and note.

    asks   approvals that hold it, each with the freeze that asks
    """

    denied: tuple[Frozen, ...] = ()
    asks: tuple[tuple[str, Approval], ...] = ()
    notes: tuple[Reason, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it is refused, by freeze."""
        return tuple(Reason("frozen", f"frozen {_until(item.until)}", item.freeze.id) for item in self.denied)

    @property
    def retry_at(self) -> datetime | None:
        """When the last of the freezes that refuse it ends; None where no end is in sight."""
        ends = [item.until for item in self.denied]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None


NOTHING = Freezing()


def freezing(found: Sequence[Frozen]) -> Freezing:
    """Sort the freezes that are on by what they do."""
    if not found:
        return NOTHING
    counting = [item for item in found if item.counts]
    return Freezing(
        denied=tuple(item for item in counting if item.freeze.effect == DENY),
        asks=tuple((item.freeze.id, item.freeze.approval) for item in counting if item.freeze.approval is not None),
        notes=tuple(note for item in found if (note := _note(item)) is not None),
    )


def frozen_now(
    freezes: Sequence[Freeze], call: tuple[str, str, str], now: datetime, circumstances: Circumstances
) -> list[Frozen]:
    """Return the freezes that are on at `now` for a call, given as (tool, environment, target)."""
    return [
        Frozen(freeze, stretch.end, freeze.set_aside(circumstances, now))
        for freeze in freezes
        if freeze.covers(*call) and (stretch := freeze.at(now)) is not None
    ]


def _note(item: Frozen) -> Reason | None:
    freeze = item.freeze
    if item.override is not None:
        until, by = format_timestamp(item.override.until), item.override.by
        return Reason("override", f"{by} has set this freeze aside until {until}", freeze.id)
    if freeze.shadow:
        done = "refused" if freeze.effect == DENY else "held for review"
        return Reason("shadow_freeze", f"in shadow: would be {done}, frozen {_until(item.until)}", freeze.id)
    if freeze.effect == HOLD:
        return Reason("frozen", f"frozen {_until(item.until)}: until then every change waits for people", freeze.id)
    return None


def _until(end: datetime | None) -> str:
    return "with no end in sight" if end is None else f"until {format_timestamp(end)}"


def _earlier(end: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (end, other) if moment is not None), default=None)


# --- reading --------------------------------------------------------------------------------------------------


class Calendars:
    """The calendars of one policy, each read once; mutable, and used by one reading only."""

    def __init__(self, document: Document, files: Mapping[str, str]) -> None:
        self._document = document
        self._files = files
        self._read: dict[tuple[str, str | None], Calendar | None] = {}

    def read(self, table: Table) -> tuple[str, Calendar | None]:
        """Return the path and the calendar that a freeze names; None after recording what is wrong with it."""
        path, zone = table.text("calendar", required=True) or "", table.text("timezone")
        if not path:
            return path, None
        if not CALENDAR.fullmatch(path):
            table.wrong("calendar", f"{shown(path)} is no path like year-end.ics or policy.d/year-end.ics")
        elif path not in self._files:
            table.wrong("calendar", f"there is no file {path} beside policy.toml")
        elif (path, zone) not in self._read:
            self._read[path, zone] = self._parse(path, zone)
        self._document.used.add(path)
        return path, self._read.get((path, zone))

    def _parse(self, path: str, zone: str | None) -> Calendar | None:
        # The libraries take half a second to load: only where a policy has a calendar.
        from keyturn.policy.calendar.lines import CalendarError  # noqa: PLC0415 - see above
        from keyturn.policy.calendar.reading import read_calendar  # noqa: PLC0415 - see above

        try:
            return read_calendar(self._files[path], zone)
        except CalendarError as error:
            for component, text in error.problems:
                self._document.problems.add(f"{path}: {component}" if component else path, text)
        return None

    def warnings(self) -> tuple[str, ...]:
        """Return what calendars allow but hardly mean, each under its file."""
        return tuple(f"{path}: {text}" for (path, _), read in self._read.items() if read for text in read.warnings)


def read_freeze(
    table: Table,
    rule: str,
    environments: frozenset[str] | None,
    calendars: Calendars,
    *,
    world: World,
    catalog: Mapping[str, Contract],
) -> Freeze | None:
    """Read one of `[[freezes]]`; None after recording a problem that leaves nothing to use."""
    table.only(*_KEYS)
    effect = table.choice("effect", DENY, HOLD)
    patterns = tuple(_targets(table))
    path, calendar = calendars.read(table)
    overriders = frozenset(world.reviewers)
    if "override" in table.raw:
        overriders = world.reviewers_in(table, "override", table.texts("override"))
    tools, approval = _tools(table, catalog), _approval(table, effect, world)
    shadow, valid = table.choice("mode", "live", "shadow") == "shadow", read_validity(table)
    if calendar is None:
        return None
    return Freeze(
        id=rule,
        place=table.place,
        environments=environments,
        tools=tools,
        targets=table.texts("targets") if "targets" in table.raw else None,
        patterns=patterns,
        path=path,
        calendar=calendar,
        effect=effect,
        approval=approval,
        overriders=overriders,
        shadow=shadow,
        valid=valid,
    )


def _approval(table: Table, effect: str, world: World) -> Approval | None:
    asked = table.table("approval")
    if asked is None:
        if effect == HOLD:
            table.wrong("approval", 'is missing: effect = "hold" waits for somebody')
        return None
    if effect != HOLD:
        table.wrong("approval", f'is asked of nobody: effect = "{effect}" refuses')
    return read_approval(asked, world, world.principals)


def _tools(table: Table, catalog: Mapping[str, Contract]) -> frozenset[str] | None:
    names = table.some_of("tools", "tool", catalog)
    for name in sorted((names or frozenset()) & catalog.keys()):
        if catalog[name].kind != "governed":
            table.wrong("tools", f"{name} only reads: freezes are about what changes something")
    return names


def _targets(table: Table) -> Iterator[Pattern]:
    for index, target in enumerate(table.texts("targets", required="targets" in table.raw)):
        place = f"{table.at('targets')}[{index}]"
        if ":" not in target or "/" not in target:
            table.problems.add(place, f"{shown(target)} must look like <port>:<name>/<object>, such as forge:shop/*")
        try:
            yield glob(target)
        except PatternError as error:
            table.problems.add(place, str(error))
