"""Adds the parts up: from a planned request and what is known of the past to a score that says why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from keyturn.model.decision import Request
from keyturn.model.risk import Risk, RiskPart
from keyturn.policy.risk import first_use, hours, infrastructure, paths, secrets, size, target
from keyturn.policy.risk.credentials import look_through
from keyturn.policy.risk.part import FULL, Evidence, Part
from keyturn.policy.risk.settings import Settings
from keyturn.policy.usage import Counts

PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "first_use": first_use.look,
        "history": target.look,
        "infrastructure": infrastructure.look,
        "paths": paths.look,
        "secrets": secrets.look,
        "size": size.look,
        "time": hours.look,
    }
)
"""Every part by its name; a new one is a file, a line here, and its weight."""


def assess(settings: Settings | None, request: Request, usage: Counts, now: datetime) -> Risk | None:
    """Score a planned request by what is known of the past in `usage`; None where a policy does not score."""
    return None if settings is None else weigh(settings, evidence_of(settings, request, usage, now))


def weigh(settings: Settings, evidence: Evidence) -> Risk:
    """Return the score: of each part its level's share of its weight, rounded down."""
    return Risk(tuple(_part(name, settings, evidence) for name in PARTS if settings.weights[name]))


def _part(name: str, settings: Settings, evidence: Evidence) -> RiskPart:
    found, most = PARTS[name](evidence, settings), settings.weights[name]
    return RiskPart(name, most * found.level // FULL, most, found.because)


def evidence_of(settings: Settings, request: Request, usage: Counts, now: datetime) -> Evidence:
    """Return what the parts look at."""
    files_changed = request.effects.get("files_changed", 0)
    named = _paths(request)
    on = request.target or ""
    return Evidence(
        principal=request.principal,
        tool=request.tool,
        target=on,
        paths=named,
        unnamed=max(0, files_changed - len(named)),
        files_changed=files_changed,
        lines_changed=request.effects.get("lines_changed", 0),
        looked=look_through(request.diff) if settings.weights["secrets"] else None,
        past=usage.past(request.principal, request.tool, on, settings.within, now),
        now=now,
    )


def _paths(request: Request) -> tuple[str, ...]:
    """Return the different paths of the files that the plan names."""
    files = (request.view or {}).get("files")
    rows = files if isinstance(files, (list, tuple)) else ()
    found = [row.get("path") for row in rows if isinstance(row, Mapping)]
    return tuple(dict.fromkeys(path for path in found if isinstance(path, str)))
