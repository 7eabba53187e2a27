"""Reads `[risk]`: how much each part weighs, and what the parts go by. Whatever is left out has a good default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, tzinfo
from functools import cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from keyturn.policy.history import LONGEST_PAST, MOST_KEPT
from keyturn.policy.paths import RISK_PARTS, WEEKDAYS
from keyturn.policy.patterns import PatternError
from keyturn.policy.risk.globs import Globs
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table

HEAVIEST = 1_000
"""The most that one part may weigh."""

WEIGHTS: Mapping[str, int] = MappingProxyType(
    {"paths": 20, "size": 15, "infrastructure": 20, "secrets": 20, "history": 10, "time": 5, "first_use": 10}
)
"""How many points each part gives at most unless the policy says otherwise: 100 together."""

PATHS = (
    "**/auth/**",
    "**/authentication/**",
    "**/authorization/**",
    "**/security/**",
    "**/crypto/**",
    "**/payment*/**",
    "**/billing/**",
    "**/permissions/**",
    "**/migrations/**",
    "**/*.sql",
    "**/secrets/**",
    "**/.env*",
    "**/CODEOWNERS",
    "**/.gitattributes",
    "**/.gitmodules",
)
INFRASTRUCTURE = (
    ".github/**",
    ".ci/**",
    ".circleci/**",
    ".gitlab-ci.yml",
    ".gitlab/**",
    "**/Jenkinsfile*",
    "**/azure-pipelines*",
    "**/Dockerfile*",
    "**/*.dockerfile",
    "**/docker-compose*",
    "**/compose.y*ml",
    "**/*.tf",
    "**/*.tfvars",
    "**/terraform/**",
    "**/ansible/**",
    "**/k8s/**",
    "**/kubernetes/**",
    "**/helm/**",
    "**/charts/**",
    "**/deploy/**",
    "**/nginx*.conf",
    "**/*.service",
    "**/Makefile",
    "**/Procfile",
)
DEPENDENCIES = (
    "**/package.json",
    "**/package-lock.json",
    "**/npm-shrinkwrap.json",
    "**/yarn.lock",
    "**/pnpm-lock.yaml",
    "**/.npmrc",
    "**/pyproject.toml",
    "**/requirements*.txt",
    "**/uv.lock",
    "**/poetry.lock",
    "**/Pipfile*",
    "**/setup.py",
    "**/setup.cfg",
    "**/go.mod",
    "**/go.sum",
    "**/Cargo.toml",
    "**/Cargo.lock",
    "**/Gemfile*",
    "**/*.gemspec",
    "**/pom.xml",
    "**/build.gradle*",
    "**/gradle.lockfile",
    "**/composer.json",
    "**/composer.lock",
    "**/*.csproj",
    "**/packages.lock.json",
)
_MOST_FILES, _MOST_LINES = 10_000, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """When people are at work: from the hour `begin` to before the hour `end` on `days`, by the clock of `zone`."""

    begin: int = 8
    end: int = 18
    days: frozenset[str] = frozenset(WEEKDAYS[:5])
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `[risk]` says, or would say.

    files, lines        a change of so many is large
    failures, within    so many failed or undone actions on a target within this time are many
    """

    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    paths: Globs = field(default_factory=lambda: Globs(PATHS))
    infrastructure: Globs = field(default_factory=lambda: Globs(INFRASTRUCTURE))
    dependencies: Globs = field(default_factory=lambda: Globs(DEPENDENCIES))
    files: int = 20
    lines: int = 500
    failures: int = 3
    within: timedelta = timedelta(days=7)
    hours: Hours = field(default_factory=Hours)

    @property
    def most(self) -> int:
        """The highest score there can be."""
        return sum(self.weights.values())


@cache
def plain_settings() -> Settings:
    """Return what a policy without `[risk]` scores by, where a rule asks for a score."""
    return Settings()


def read_settings(document: Table) -> Settings | None:
    """Read `[risk]`, recording problems; None where the policy has none."""
    table = document.table("risk")
    if table is None:
        return None
    table.only("weights", "paths", "infrastructure", "dependencies", "size", "history", "hours")
    plain = plain_settings()
    size = table.table("size") or Table({}, table.at("size"), table.problems)
    history = table.table("history") or Table({}, table.at("history"), table.problems)
    size.only("files", "lines")
    history.only("failures", "within")
    return Settings(
        weights=_weights(table),
        paths=_globs(table, "paths", plain.paths),
        infrastructure=_globs(table, "infrastructure", plain.infrastructure),
        dependencies=_globs(table, "dependencies", plain.dependencies),
        files=size.integer("files", low=1, high=_MOST_FILES, default=plain.files) or plain.files,
        lines=size.integer("lines", low=1, high=_MOST_LINES, default=plain.lines) or plain.lines,
        failures=history.integer("failures", low=1, high=MOST_KEPT, default=plain.failures) or plain.failures,
        within=history.duration("within", longest=LONGEST_PAST, default=plain.within) or plain.within,
        hours=_hours(table, plain.hours),
    )


def _weights(table: Table) -> Mapping[str, int]:
    written = table.table("weights")
    if written is None:
        return WEIGHTS
    written.only(*RISK_PARTS)
    found = {name: written.integer(name, low=0, high=HEAVIEST, default=most) or 0 for name, most in WEIGHTS.items()}
    if not any(found.values()):
        table.wrong("weights", "are all 0, so that every score is 0: leave [risk] out instead")
    return MappingProxyType(found)


def _globs(table: Table, key: str, default: Globs) -> Globs:
    if key not in table.raw:
        return default
    known: list[str] = []
    for index, text in enumerate(table.texts(key)):
        try:
            Globs((text,))
        except PatternError as error:
            table.problems.add(f"{table.at(key)}[{index}]", f"{shown(text)} {error}")
        else:
            known.append(text)
    return Globs(tuple(known))


def _hours(table: Table, default: Hours) -> Hours:
    written = table.table("hours")
    if written is None:
        return default
    written.only("from", "until", "days", "zone")
    begin = written.integer("from", low=0, high=23, default=default.begin)
    end = written.integer("until", low=1, high=24, default=default.end)
    if begin is not None and end is not None and begin >= end:
        written.wrong("until", f"must be later than {begin}, when they begin")
    return Hours(
        begin=default.begin if begin is None else begin,
        end=default.end if end is None else end,
        days=_days(written, default.days),
        zone=_zone(written),
    )


def _days(table: Table, default: frozenset[str]) -> frozenset[str]:
    if "days" not in table.raw:
        return default
    days = table.texts("days", required=True)
    for index, day in enumerate(days):
        if day not in WEEKDAYS:
            table.problems.unknown(f"{table.at('days')}[{index}]", f"{shown(day)} is no day", day, WEEKDAYS)
    return frozenset(days)


def _zone(table: Table) -> tzinfo:
    raw = table.text("zone", default="UTC")
    try:
        return ZoneInfo(str(raw))
    except (LookupError, ValueError, OSError):
        table.wrong("zone", f"{shown(raw)} is no time zone such as Europe/Berlin")
        return UTC
