"""Each part of a score by itself: what makes it speak, how loud, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from keyturn.policy.history import Past
from keyturn.policy.risk import first_use, hours, infrastructure, paths, secrets, size, target
from keyturn.policy.risk.credentials import Finding, Looked
from keyturn.policy.risk.globs import Globs
from keyturn.policy.risk.part import NOTHING, Evidence
from keyturn.policy.risk.settings import Hours, Settings

SETTINGS = Settings()
MONDAY = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def evidence(**more: Any) -> Evidence:
    plain = Evidence(
        principal="claude",
        tool="open_pull_request",
        target="forge:shop/main",
        paths=("README.md",),
        unnamed=0,
        files_changed=1,
        lines_changed=1,
        looked=Looked(),
        past=Past(known=True),
        now=MONDAY,
    )
    return replace(plain, **more)


@pytest.mark.parametrize(
    "path", ["auth/login.py", "src/AUTH/x", "db/migrations/1.sql", "app/payments/card.py", ".env", "deep/.env.local"]
)
def test_a_sensitive_path_speaks_and_is_named(path: str) -> None:
    found = paths.look(evidence(paths=("README.md", path)), SETTINGS)
    assert found.level == 100
    assert f'"{path}"' in found.because[0]
    assert "README.md" not in found.because[0]


def test_an_ordinary_path_says_nothing() -> None:
    assert paths.look(evidence(paths=("src/author/x.py", "docs/auth.md")), SETTINGS) == NOTHING


def test_the_policy_may_name_other_paths() -> None:
    own = replace(SETTINGS, paths=Globs(("vault/**",)))
    assert paths.look(evidence(paths=("vault/x",)), own).level == 100
    assert paths.look(evidence(paths=("auth/x",)), own) == NOTHING
    assert paths.look(evidence(paths=("auth/x",), unnamed=3), replace(SETTINGS, paths=Globs(()))) == NOTHING


def test_files_that_the_plan_does_not_name_may_be_any() -> None:
    found = paths.look(evidence(paths=(), unnamed=5), SETTINGS)
    assert (found.level, found.because) == (100, ("the plan does not name 5 of the files",))


def test_many_sensitive_paths_are_told_in_short() -> None:
    found = paths.look(evidence(paths=tuple(f"auth/{n}" for n in range(9))), SETTINGS)
    assert "and 6 more" in found.because[0]


def test_a_path_cannot_mislead_who_reads_the_reason() -> None:
    [told] = paths.look(evidence(paths=("auth/\u202e\x1b[2J",)), SETTINGS).because
    assert told.isprintable()
    assert "\u202e" not in told


def test_a_path_that_is_no_unicode_text_is_taken_for_sensitive() -> None:
    assert paths.look(evidence(paths=("\udc80",)), SETTINGS).level == 100


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("infra/main.tf", "infrastructure"),
        (".github/workflows/x.yml", "infrastructure"),
        ("Dockerfile", "infrastructure"),
        ("svc/dockerfile.prod", "infrastructure"),
        ("compose.yaml", "infrastructure"),
        ("package.json", "dependencies"),
        ("web/package-lock.json", "dependencies"),
        ("requirements-dev.txt", "dependencies"),
        ("pyproject.toml", "dependencies"),
    ],
)
def test_infrastructure_and_dependencies_speak(path: str, kind: str) -> None:
    found = infrastructure.look(evidence(paths=(path,)), SETTINGS)
    assert found.level == 100
    assert found.because == (f'"{path}" touched: {kind}',)


def test_infrastructure_is_silent_about_other_files_and_says_unnamed_ones_once() -> None:
    assert infrastructure.look(evidence(), SETTINGS) == NOTHING
    assert len(infrastructure.look(evidence(unnamed=2), SETTINGS).because) == 1


@pytest.mark.parametrize(
    ("files", "lines", "level"), [(0, 0, 0), (1, 0, 5), (10, 1, 50), (1, 400, 80), (20, 1, 100), (999, 999_999, 100)]
)
def test_size_grows_with_files_or_lines_up_to_large(files: int, lines: int, level: int) -> None:
    assert size.look(evidence(files_changed=files, lines_changed=lines), SETTINGS).level == level


def test_size_says_how_much_and_what_large_is() -> None:
    found = size.look(evidence(files_changed=1, lines_changed=400), replace(SETTINGS, files=10, lines=800))
    assert found.because == ("1 file and 400 lines changed; large is 10 files or 800 lines",)


def test_a_credential_speaks_louder_than_what_nobody_can_see() -> None:
    finding = Finding("an npm token", "x", 3)
    assert secrets.look(evidence(looked=Looked((finding,))), SETTINGS).level == 100
    unseen = secrets.look(evidence(looked=Looked(unseen=2)), SETTINGS)
    assert (unseen.level, "2 files are shown by digest alone" in unseen.because[0]) == (50, True)
    assert "1 file is shown" in secrets.look(evidence(looked=Looked(unseen=1)), SETTINGS).because[0]


def test_many_credentials_are_told_in_short() -> None:
    found = secrets.look(evidence(looked=Looked(tuple(Finding("a key", "x", n) for n in range(5)))), SETTINGS)
    assert (len(found.because), found.because[-1]) == (4, "and 2 more")


def test_nothing_found_and_nothing_looked_for_say_nothing() -> None:
    assert secrets.look(evidence(), SETTINGS) == NOTHING
    assert secrets.look(evidence(looked=None), SETTINGS) == NOTHING


@pytest.mark.parametrize(("failed", "undone", "level"), [(0, 0, 0), (1, 0, 33), (0, 1, 33), (1, 1, 66), (2, 9, 100)])
def test_history_grows_with_what_failed_and_what_was_undone(failed: int, undone: int, level: int) -> None:
    found = target.look(evidence(past=Past(failed=failed, undone=undone)), SETTINGS)
    assert found.level == level
    assert bool(found.because) == bool(level)


def test_history_says_over_which_time() -> None:
    found = target.look(evidence(past=Past(failed=2)), replace(SETTINGS, within=timedelta(days=30)))
    assert found.because == ("2 failed and 0 undone on this target within 30d",)


@pytest.mark.parametrize(
    ("at", "level"),
    [
        (MONDAY, 0),
        (MONDAY.replace(hour=8, minute=0), 0),
        (MONDAY.replace(hour=7, minute=59), 100),
        (MONDAY.replace(hour=17, minute=59), 0),
        (MONDAY.replace(hour=18, minute=0), 100),
        (MONDAY + timedelta(days=5), 100),
    ],
)
def test_time_speaks_outside_working_hours(at: datetime, level: int) -> None:
    assert hours.look(evidence(now=at), SETTINGS).level == level


def test_working_hours_follow_the_clock_of_their_zone_through_daylight_saving() -> None:
    berlin = replace(SETTINGS, hours=Hours(zone=ZoneInfo("Europe/Berlin")))
    at = datetime(2026, 10, 23, 6, 30, tzinfo=UTC)  # 08:30 in summer
    assert hours.look(evidence(now=at), berlin) == NOTHING
    later = hours.look(evidence(now=at + timedelta(days=3)), berlin)  # 07:30 in winter
    assert later.because == ("asked for on monday at 07:30, outside working hours",)


def test_first_use_speaks_until_something_has_succeeded() -> None:
    assert first_use.look(evidence(), SETTINGS) == NOTHING
    found = first_use.look(evidence(past=Past()), SETTINGS)
    assert (found.level, found.because) == (100, ("no open_pull_request of claude has succeeded yet",))


def test_globs_that_fill_many_patterns_match_as_one_by_one() -> None:
    sources = tuple(f"folder-{n}/**" for n in range(500))
    globs = Globs(sources)
    assert all(globs.matches(f"FOLDER-{n}/x") for n in (0, 1, 250, 499))
    assert not globs.matches("folder-500/x")
    assert not Globs(()).matches("x")
