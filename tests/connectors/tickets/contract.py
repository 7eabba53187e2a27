"""What every back end of the tickets port promises; a back end's tests inherit it with a world of their own."""

from __future__ import annotations

import anyio
import pytest

from keyturn.connectors.tickets import Preview
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, Failed, Happened, Stale, Succeeded
from tests.connectors.deployments.processes import RACERS, action, race
from tests.connectors.tickets.world import World, apply_and_say


def preview(world: World, status: str | None = None, comment: str | None = None, ticket: str = "OPS-1") -> Preview:
    found: Preview = anyio.run(world.port.preview, ticket, status, comment)
    return found


class TicketsContract:
    """Needs a fixture `world`: OPS-1 is open, watched by three people, labelled shop and urgent."""

    def test_a_ticket_is_held_or_it_is_not(self, world: World) -> None:
        assert anyio.run(world.port.holds, "OPS-1")
        assert not anyio.run(world.port.holds, "OPS-2")

    def test_a_snapshot_tells_what_the_tracker_shows(self, world: World) -> None:
        ticket = anyio.run(world.port.snapshot, "OPS-1")
        assert (ticket.id, ticket.title, ticket.status) == ("OPS-1", "Checkout is slow", "open")
        assert ticket.watchers == ("ann@example.org", "bob", "carol@example.org")
        assert ticket.labels == ("shop", "urgent")
        assert "nine" in ticket.text

    def test_a_preview_shows_the_effect_and_changes_nothing(self, world: World) -> None:
        before = world.text()
        seen = preview(world, "resolved", "Cache was cold.")
        assert "+Cache was cold.\n" in seen.diff
        assert "resolved" in seen.diff
        assert (seen.recipients, world.text()) == (3, before)

    def test_a_ticket_that_is_not_there_is_refused(self, world: World) -> None:
        with pytest.raises(ConnectorError, match='ticket "OPS-2" is not in ops'):
            preview(world, "closed", ticket="OPS-2")

    def test_an_unknown_status_is_refused_naming_those_that_exist(self, world: World) -> None:
        with pytest.raises(ConnectorError, match="use one of: open, in progress, resolved, closed"):
            preview(world, "done")

    def test_a_change_that_changes_nothing_is_refused(self, world: World) -> None:
        with pytest.raises(ConnectorError, match='has the status "open" already: nothing to do'):
            preview(world, "open")
        with pytest.raises(ConnectorError, match="leave the status out to only comment"):
            preview(world, "open", "Hello.")
        with pytest.raises(ConnectorError, match="give a status, a comment or both"):
            preview(world)

    def test_a_status_is_set_and_read_back(self, world: World) -> None:
        outcome = anyio.run(world.port.apply, preview(world, "in progress").change, action(1))
        assert outcome == Succeeded(
            {"tracker": "ops", "ticket": "OPS-1", "status": "in progress", "commented": False}
        )
        assert anyio.run(world.port.snapshot, "OPS-1").status == "in progress"

    def test_a_comment_names_principal_and_action(self, world: World) -> None:
        outcome = anyio.run(world.port.apply, preview(world, comment="Cache was cold.").change, action(1))
        assert outcome == Succeeded({"tracker": "ops", "ticket": "OPS-1", "status": "open", "commented": True})
        text = anyio.run(world.port.snapshot, "OPS-1").text
        assert f"Written by claude through Keyturn, action {action(1).action}." in text
        assert text.endswith("\n\nCache was cold.\n")

    def test_applying_again_is_answered_from_the_record(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        first = anyio.run(world.port.apply, change, action(1))
        world.set_status("open")
        assert anyio.run(world.port.apply, change, action(1)) == first
        assert (world.comments_of(action(1)), anyio.run(world.port.snapshot, "OPS-1").status) == (1, "open")

    def test_a_status_that_moved_after_the_review_is_stale(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        world.set_status("in progress")
        before = world.text()
        assert anyio.run(world.port.apply, change, action(1)) == Stale(("status",))
        assert world.text() == before

    def test_other_peoples_comments_do_not_void_a_review(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        world.comment("Me too.")
        assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)
        assert world.text().index("Me too.") < world.text().index("Bye.")

    def test_a_status_that_moved_does_not_void_a_comment(self, world: World) -> None:
        change = preview(world, comment="Hello.").change
        world.set_status("closed")
        assert isinstance(anyio.run(world.port.apply, change, action(1)), Succeeded)

    def test_a_ticket_that_vanished_after_the_review_is_stale(self, world: World) -> None:
        change = preview(world, comment="Hello.").change
        world.remove()
        assert anyio.run(world.port.apply, change, action(1)) == Stale(("ticket",))

    @pytest.mark.parametrize(("status", "comment"), [("closed", None), (None, "Bye."), ("closed", "Bye.")])
    def test_a_probe_of_what_was_done_says_that_it_happened(
        self, world: World, status: str | None, comment: str | None
    ) -> None:
        change = preview(world, status, comment).change
        outcome = anyio.run(world.port.apply, change, action(1))
        assert isinstance(outcome, Succeeded)
        assert anyio.run(world.port.probe, change, action(1)) == Happened(outcome.result)

    @pytest.mark.parametrize(("status", "comment"), [("closed", None), (None, "Bye.")])
    def test_a_probe_of_what_was_not_done_keeps_a_late_attempt_from_doing_it(
        self, world: World, status: str | None, comment: str | None
    ) -> None:
        change, before = preview(world, status, comment).change, world.text()
        assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotHappen)
        late = anyio.run(world.port.apply, change, action(1))
        assert isinstance(late, Failed)
        assert not late.effect
        assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotHappen)
        assert world.text() == before

    def test_the_inverse_of_a_status_sets_it_back(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        anyio.run(world.port.apply, change, action(1))
        inverse = world.port.inverse(change)
        assert (inverse.tool, inverse.arguments) == ("update_ticket", {"ticket": "OPS-1", "status": "open"})
        assert "comment stays" in inverse.summary
        back = preview(world, str(inverse.arguments["status"])).change
        assert isinstance(anyio.run(world.port.apply, back, action(2)), Succeeded)
        assert anyio.run(world.port.snapshot, "OPS-1").status == "open"

    def test_a_comment_has_no_inverse_but_another_comment(self, world: World) -> None:
        inverse = world.port.inverse(preview(world, comment="Hello.").change)
        assert (inverse.tool, inverse.summary) == (None, "The comment stays; add another that corrects it.")

    def test_eight_processes_racing_one_action_comment_once(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        assert race(apply_and_say, [(world.home, change, action(1))] * RACERS) == ["Succeeded"] * RACERS
        assert (world.comments_of(action(1)), world.text().count("Bye.")) == (1, 1)

    def test_of_eight_actions_racing_on_one_reviewed_status_one_succeeds(self, world: World) -> None:
        change = preview(world, "closed", "Bye.").change
        said = race(apply_and_say, [(world.home, change, action(number)) for number in range(RACERS)])
        assert sorted(said) == ["Stale"] * (RACERS - 1) + ["Succeeded"]
        assert world.text().count("Bye.") == 1

    def test_eight_comments_racing_all_arrive(self, world: World) -> None:
        change = preview(world, comment="Hello.").change
        said = race(apply_and_say, [(world.home, change, action(number)) for number in range(RACERS)])
        assert said == ["Succeeded"] * RACERS
        assert [world.comments_of(action(number)) for number in range(RACERS)] == [1] * RACERS
