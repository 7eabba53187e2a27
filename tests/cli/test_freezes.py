"""`keyturn freeze` with a home of its own: listing, editing the proposal, setting aside, and what `status` tells."""

from __future__ import annotations

import re

from keyturn.assembly.home import POLICY
from tests.cli.operator import Operator
from tests.policy.freezes.calendars import calendar, event, freeze

ALWAYS = calendar(event(":20200101T000000Z", ":20290101T000000Z", "SUMMARY:A long one"))


def propose(operator: Operator, text: str | None = ALWAYS, **more: str) -> None:
    """Propose a policy with a freeze."""
    path = operator.home / POLICY
    path.write_text(path.read_text() + freeze("year end", "year-end.ics", **more))
    if text is not None:
        (operator.home / "year-end.ics").write_text(text)


def test_a_home_without_freezes_says_so(operator: Operator) -> None:
    said = operator.tell("freeze", "list", "--json")
    assert (said.code, said.json) == (0, [])
    assert operator.tell("status", "--json=freezes").json == {"freezes": []}


def test_a_freeze_is_listed_once_it_is_activated(operator: Operator) -> None:
    propose(operator)
    assert operator.tell("freeze", "list", "--json").json == []
    assert operator.activate().code == 0
    [row] = operator.tell("freeze", "list", "--json").json
    assert row == {
        "freeze": "year end",
        "state": "on",
        "changes_at": "2029-01-01T00:00:00.000000Z",
        "effect": "deny",
        "mode": "live",
        "calendar": "year-end.ics",
        "until": None,
        "by": None,
    }
    assert operator.tell("status", "--json=freezes").json == {"freezes": [row]}
    assert "year-end.ics" in operator.tell("policy", "show", "--json").json["files"]


def test_status_of_a_freeze_to_come_tells_when_it_begins(operator: Operator) -> None:
    propose(operator, calendar(event(":20200101T000000Z", ":20200102T000000Z", "RRULE:FREQ=YEARLY")))
    assert operator.activate().code == 0
    [row] = operator.tell("status", "--json=freezes").json["freezes"]
    assert row["state"] == "off"
    assert re.fullmatch(r"20\d\d-01-01T00:00:00\.000000Z", row["changes_at"])


def test_events_are_added_to_the_proposed_calendar_and_removed_from_it(operator: Operator) -> None:
    propose(operator, None)
    added = operator.tell(
        "freeze", "add", "year end", "--from", "2026-12-21T08:00+01:00", "--until", "2027-01-04",
        "--summary", "Year end; hands off, please", "--json",
    )  # fmt: skip
    assert added.code == 0
    uid = added.json["uid"]
    [row] = operator.tell("freeze", "list", "year end", "--json").json
    assert (row["uid"], row["begins"], row["ends"]) == (uid, "20261221T070000Z", "20270104T000000Z")
    assert operator.tell("freeze", "list", "--json").json == []
    assert operator.activate().code == 0
    assert [row["freeze"] for row in operator.tell("freeze", "list", "--json").json] == ["year end"]
    removed = operator.tell("freeze", "remove", "year end", uid)
    assert removed.code == 0
    assert operator.tell("freeze", "list", "year end", "--json").json == []
    assert operator.tell("status", "--json=proposal").json == {"proposal": "differs"}


def test_editing_leaves_every_other_byte_of_a_calendar(operator: Operator) -> None:
    text = ALWAYS.replace("\n", "\r\n")
    propose(operator, text)
    path = operator.home / "year-end.ics"
    path.write_bytes(text.encode())
    uid = operator.tell("freeze", "add", "year end", "--from", "2026-12-21", "--until", "2026-12-22", "--json").json[
        "uid"
    ]
    assert path.read_bytes() != text.encode()
    assert operator.tell("freeze", "remove", "year end", uid).code == 0
    assert path.read_bytes() == text.encode()


def test_what_cannot_be_edited_is_refused_and_nothing_is_changed(operator: Operator) -> None:
    propose(operator)
    assert operator.tell("freeze", "add", "summer", "--from", "2026-12-21", "--until", "2026-12-22").code == 5
    assert operator.tell("freeze", "add", "year end", "--from", "2026-12-21").code == 2
    assert operator.tell("freeze", "add", "year end", "--from", "2026-12-21", "--until", "2026-12-21").code == 2
    assert operator.tell("freeze", "add", "year end", "--from", "1950-12-21", "--until", "1950-12-22").code == 1
    assert operator.tell("freeze", "remove", "year end", "nobody").code == 5
    assert (operator.home / "year-end.ics").read_text() == ALWAYS


def test_a_freeze_is_set_aside_by_signature(operator: Operator) -> None:
    propose(operator)
    assert operator.activate().code == 0
    said = operator.tell(
        "freeze", "override", "year end", "--for", "2h", "-m", "an outage", "--key", operator.key, "--json"
    )
    assert said.code == 0
    assert said.json["by"] == "alice"
    [row] = operator.tell("freeze", "list", "--json").json
    assert (row["state"], row["until"], row["by"]) == ("set aside", said.json["until"], "alice")
    assert row["changes_at"] == said.json["until"]
    assert "sets the freeze year end aside" in operator.tell("audit", "log").out
    assert operator.tell("audit", "verify").code == 0


def test_an_override_without_an_end_or_of_nothing_is_refused(operator: Operator) -> None:
    propose(operator)
    assert operator.activate().code == 0
    sign = ("-m", "an outage", "--key", operator.key)
    assert operator.tell("freeze", "override", "year end", *sign).code == 2
    assert operator.tell("freeze", "override", "year end", "--for", "8d", *sign).code == 2
    assert operator.tell("freeze", "override", "year end", "--for", "soon", *sign).code == 2
    assert operator.tell("freeze", "override", "year end", "--until", "2020-01-01", *sign).code == 2
    assert operator.tell("freeze", "override", "summer", "--for", "2h", *sign).code == 5


def test_a_calendar_that_cannot_be_read_is_told_with_its_component(operator: Operator) -> None:
    propose(operator, calendar("UID:1\nSUMMARY:x"))
    said = operator.tell("policy", "check")
    assert said.code != 0
    assert "year-end.ics: VEVENT 1 (UID '1'): has no DTSTART" in said.out + said.err


def test_a_link_in_place_of_a_calendar_or_an_included_folder_is_refused(operator: Operator) -> None:
    outside = operator.home.parent / "outside"
    outside.mkdir()
    (outside / "x.toml").write_text("")
    (outside / "year-end.ics").write_text(ALWAYS)
    propose(operator, None)
    (operator.home / "year-end.ics").symlink_to(outside / "year-end.ics")
    assert "links" in operator.tell("policy", "check").err + operator.tell("policy", "check").out
    (operator.home / "year-end.ics").unlink()
    (operator.home / "year-end.ics").write_text(ALWAYS)
    path = operator.home / POLICY
    path.write_text(path.read_text().replace("version = 1\n", 'version = 1\nincludes = ["policy.d/"]\n', 1))
    (operator.home / "policy.d").symlink_to(outside)
    said = operator.tell("policy", "check")
    assert "a link" in said.out + said.err
    (operator.home / "policy.d").unlink()
    said = operator.tell("policy", "check")
    assert "policy.d: No such file or directory; policy.toml includes it" in said.out + said.err


def test_an_included_file_is_pinned_checked_and_activated_with_the_policy(operator: Operator) -> None:
    path = operator.home / POLICY
    head, _, grants = path.read_text().partition("[[grants]]")
    path.write_text(head.replace("version = 1\n", 'version = 1\nincludes = ["policy.d/"]\n', 1))
    folder = operator.home / "policy.d"
    folder.mkdir()
    pinned = "[[grants]]" + grants
    (folder / "grants.toml").write_text(re.sub(r"(?m)^contract = .*\n", "", pinned))
    (folder / ".grants.toml.swp").write_text("an editor's")
    changes = operator.tell("policy", "pin", "--json")
    assert changes.code == 0
    assert "policy.d/grants.toml: grants[0]" in changes.out
    assert operator.tell("policy", "check").code == 0
    assert operator.activate().code == 0
    files = operator.tell("policy", "show", "--json").json["files"]
    assert sorted(files) == ["policy.d/grants.toml", "policy.toml"]
    assert operator.tell("status", "--json=proposal").json == {"proposal": "in force"}
    assert operator.tell("audit", "verify").code == 0
