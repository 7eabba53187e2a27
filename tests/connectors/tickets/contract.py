"""What every back end of the tickets port promises; a back end's tests inherit it with a world of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import anyio
import pytest

from keyturn.connectors.tickets import Draft, Preview, Tickets
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import Happened, Stale, Succeeded
from keyturn.model.plan import from_result
from keyturn.model.tool import ActionRef
from tests.connectors.deployments.processes import action


class TrackerWorld(Protocol):
    """One tracker, `ops`, looked at and written to without the code under test.

    `ticket` is open, called "Checkout is slow", and says *nine*; `middle` is one of `statuses` that is neither open
    nor closed, `closing` the one that undoes a new ticket.
    """

    port: Tickets
    ticket: str
    absent: str
    statuses: tuple[str, ...]
    middle: str
    closing: str
    watchers: tuple[str, ...]
    labels: tuple[str, ...]

    def text(self) -> str:
        """Return all there is of the ticket."""
        ...

    def comments_of(self, action: ActionRef) -> int: ...

    def set_status(self, status: str) -> None:
        """Change the status as somebody else does."""
        ...

    def comment(self, text: str) -> None:
        """Comment as somebody else does."""
        ...

    def tickets(self) -> list[str]:
        """Return the ids of all tickets."""
        ...


def preview(world: TrackerWorld, status: str | None = None, comment: str | None = None) -> Preview:
    found: Preview = anyio.run(world.port.preview, world.ticket, status, comment)
    return found


def draft(
    world: TrackerWorld,
    title: str = "Search is slow",
    body: str = "It takes *ten* seconds.",
    labels: Sequence[str] = ("shop",),
) -> Draft:
    found: Draft = anyio.run(world.port.draft, title, body, labels)
    return found


class TicketsContract:
    """Needs a fixture `world`, a `TrackerWorld`."""

    def test_a_ticket_is_held_or_it_is_not(self, world: TrackerWorld) -> None:
        assert anyio.run(world.port.holds, world.ticket)
        assert not anyio.run(world.port.holds, world.absent)
        assert not anyio.run(world.port.holds, "no ticket")

    def test_a_snapshot_tells_what_the_tracker_shows(self, world: TrackerWorld) -> None:
        ticket = anyio.run(world.port.snapshot, world.ticket)
        assert (ticket.id, ticket.title, ticket.status) == (world.ticket, "Checkout is slow", "open")
        assert (ticket.watchers, ticket.labels) == (world.watchers, world.labels)
        assert "nine" in ticket.text

    def test_a_preview_shows_the_effect_and_changes_nothing(self, world: TrackerWorld) -> None:
        before = world.text()
        seen = preview(world, "closed", "Cache was cold.")
        assert "+Cache was cold.\n" in seen.diff
        assert "closed" in seen.diff
        assert (seen.recipients, world.text()) == (len(world.watchers), before)

    def test_a_ticket_that_is_not_there_is_refused(self, world: TrackerWorld) -> None:
        with pytest.raises(ConnectorError, match=f'ticket "{world.absent}" is not in ops'):
            anyio.run(world.port.preview, world.absent, "closed", None)

    def test_an_unknown_status_is_refused_naming_those_that_exist(self, world: TrackerWorld) -> None:
        with pytest.raises(ConnectorError, match=f"use one of: {', '.join(world.statuses)}"):
            preview(world, "forgotten")

    def test_a_change_that_changes_nothing_is_refused(self, world: TrackerWorld) -> None:
        with pytest.raises(ConnectorError, match='has the status "open" already: nothing to do'):
            preview(world, "open")
        with pytest.raises(ConnectorError, match="leave the status out to only comment"):
            preview(world, "open", "Hello.")
        with pytest.raises(ConnectorError, match="give a status, a comment or both"):
            preview(world)

    def test_a_status_is_set_and_read_back(self, world: TrackerWorld) -> None:
        status = world.middle
        outcome = anyio.run(world.port.apply, preview(world, status).change, action(1))
        assert outcome == Succeeded({"tracker": "ops", "ticket": world.ticket, "status": status, "commented": False})
        assert anyio.run(world.port.snapshot, world.ticket).status == status

    def test_a_comment_names_principal_and_action(self, world: TrackerWorld) -> None:
        outcome = anyio.run(world.port.apply, preview(world, comment="Cache was cold.").change, action(1))
        assert outcome == Succeeded({"tracker": "ops", "ticket": world.ticket, "status": "open", "commented": True})
        text = anyio.run(world.port.snapshot, world.ticket).text
        assert f"Written by claude through Keyturn, action {action(1).action}." in text
        assert text.endswith("\n\nCache was cold.\n")

    def test_applying_again_is_answered_from_the_record(self, world: TrackerWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        first = anyio.run(world.port.apply, change, action(1))
        world.set_status("open")
        assert anyio.run(world.port.apply, change, action(1)) == first
        assert world.comments_of(action(1)) == 1
        assert anyio.run(world.port.snapshot, world.ticket).status == "open"

    def test_a_status_that_moved_after_the_review_is_stale(self, world: TrackerWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        world.set_status(world.middle)
        before = world.text()
        assert anyio.run(world.port.apply, change, action(1)) == Stale(("status",))
        assert world.text() == before

    def test_other_peoples_comments_do_not_void_a_review(self, world: TrackerWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        world.comment("Me too.")
        assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)
        assert world.text().index("Me too.") < world.text().index("Bye.")

    def test_a_status_that_moved_does_not_void_a_comment(self, world: TrackerWorld) -> None:
        change = preview(world, comment="Hello.").change
        world.set_status("closed")
        assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)

    @pytest.mark.parametrize(("status", "comment"), [("closed", None), (None, "Bye."), ("closed", "Bye.")])
    def test_a_probe_of_what_was_done_says_that_it_happened(
        self, world: TrackerWorld, status: str | None, comment: str | None
    ) -> None:
        change = preview(world, status, comment).change
        outcome = anyio.run(world.port.apply, change, action(1))
        assert isinstance(outcome, Succeeded)
        assert anyio.run(world.port.probe, change, action(1)) == Happened(outcome.result)

    def test_the_inverse_of_a_status_sets_it_back(self, world: TrackerWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        anyio.run(world.port.apply, change, action(1))
        inverse = world.port.inverse(change)
        assert inverse.tool == "update_ticket"
        assert inverse.arguments == {"tracker": "ops", "ticket": world.ticket, "status": "open"}
        assert "comment stays" in inverse.summary
        back = preview(world, str(inverse.arguments["status"])).change
        assert isinstance(anyio.run(world.port.apply, back, action(2)), Succeeded)
        assert anyio.run(world.port.snapshot, world.ticket).status == "open"

    def test_a_comment_has_no_inverse_but_another_comment(self, world: TrackerWorld) -> None:
        inverse = world.port.inverse(preview(world, comment="Hello.").change)
        assert (inverse.tool, inverse.summary) == (None, "The comment stays; add another that corrects it.")

    def test_a_draft_shows_the_new_ticket_and_makes_none(self, world: TrackerWorld) -> None:
        before = world.tickets()
        seen = draft(world)
        assert "+It takes *ten* seconds.\n" in seen.diff
        assert "Search is slow" in seen.diff
        assert "+Written by <principal> through Keyturn, action <action>. <!-- keyturn/<action> -->\n" in seen.diff
        assert (seen.ticket.title, seen.ticket.labels) == ("Search is slow", ("shop",))
        assert seen.added == sum(line.startswith("+") for line in seen.diff.split("\n")) - 1
        assert world.tickets() == before

    def test_a_ticket_is_made_and_read_back(self, world: TrackerWorld) -> None:
        before = world.tickets()
        outcome = anyio.run(world.port.create, draft(world).ticket, action(1))
        assert isinstance(outcome, Succeeded)
        assert outcome.result.keys() == {"ticket", "url"}
        made = anyio.run(world.port.snapshot, str(outcome.result["ticket"]))
        assert (made.title, made.status, made.labels) == ("Search is slow", "open", ("shop",))
        assert made.text.startswith(f"Written by claude through Keyturn, action {action(1).action}.")
        assert made.text.endswith("\n\nIt takes *ten* seconds.\n")
        assert world.tickets() == [*before, made.id]

    def test_a_ticket_may_have_a_title_alone(self, world: TrackerWorld) -> None:
        outcome = anyio.run(world.port.create, draft(world, 'A: "b" #c \N{PILE OF POO}', "", ()).ticket, action(1))
        assert isinstance(outcome, Succeeded)
        made = anyio.run(world.port.snapshot, str(outcome.result["ticket"]))
        assert (made.title, made.labels) == ('A: "b" #c \N{PILE OF POO}', ())

    def test_making_a_ticket_again_is_answered_from_the_record(self, world: TrackerWorld) -> None:
        ticket = draft(world).ticket
        first = anyio.run(world.port.create, ticket, action(1))
        once = world.tickets()
        assert anyio.run(world.port.create, ticket, action(1)) == first
        assert isinstance(first, Succeeded)
        assert anyio.run(world.port.probe_creation, ticket, action(1)) == Happened(first.result)
        assert world.tickets() == once

    def test_two_actions_make_two_tickets(self, world: TrackerWorld) -> None:
        ticket, before = draft(world).ticket, world.tickets()
        outcomes = [anyio.run(world.port.create, ticket, action(number)) for number in (1, 2)]
        ids = [str(outcome.result["ticket"]) for outcome in outcomes if isinstance(outcome, Succeeded)]
        assert sorted(world.tickets()) == sorted([*before, *ids])
        assert len(set(ids)) == 2

    def test_an_objection_keeps_a_ticket_from_being_made(self, world: TrackerWorld) -> None:
        seen, before = draft(world), world.tickets()
        asked: list[Draft] = []

        def objection(again: Draft) -> str:
            asked.append(again)
            return "not like this"

        outcome = anyio.run(world.port.create, seen.ticket, action(1), objection)
        assert getattr(outcome, "reason", None) == "not like this"
        assert [again.diff for again in asked] == [seen.diff]
        assert world.tickets() == before

    @pytest.mark.parametrize(
        ("title", "body", "labels", "problem"),
        [
            ("/close", "b", [], "the title begins with / or @"),
            ("t", "ok\n/assign bob", [], "line 2 of the text begins with / or @"),
            ("t", "b", ["a", "A"], "a label stands twice"),
        ],
    )
    def test_a_ticket_that_must_not_be_posted_is_refused(
        self, world: TrackerWorld, title: str, body: str, labels: list[str], problem: str
    ) -> None:
        with pytest.raises(ConnectorError, match=problem):
            draft(world, title, body, labels)

    def test_the_inverse_of_making_a_ticket_closes_it(self, world: TrackerWorld) -> None:
        ticket = draft(world).ticket
        made = anyio.run(world.port.create, ticket, action(1))
        assert isinstance(made, Succeeded)
        inverse = world.port.inverse_of_creation(ticket)
        assert (inverse.tool, inverse.arguments) == (
            "update_ticket",
            {"tracker": "ops", "ticket": from_result("ticket"), "status": world.closing},
        )
        new = str(made.result["ticket"])
        change = anyio.run(world.port.preview, new, str(inverse.arguments["status"]), None).change
        assert isinstance(anyio.run(world.port.apply, change, action(2)), Succeeded)
        assert anyio.run(world.port.snapshot, new).status == world.closing

    def test_a_tracker_that_is_as_it_should_be_has_nothing_wrong(self, world: TrackerWorld) -> None:
        findings = anyio.run(world.port.check)
        assert [finding for finding in findings if finding.level == "wrong"] == []
        assert any(finding.level == "ok" for finding in findings)
