"""What back ends promise besides that lock their tracker: fences, and processes that race."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import anyio
import pytest

from keyturn.model.outcome import CannotHappen, Failed, Stale
from tests.connectors.deployments.processes import RACERS, action, race
from tests.connectors.tickets.contract import TicketsContract, TrackerWorld, draft, preview
from tests.connectors.tickets.world import apply_and_say, create_and_say


class FencedWorld(TrackerWorld, Protocol):
    """A tracker that several processes reach by its home."""

    home: Path

    def remove(self) -> None:
        """Take the ticket away."""
        ...


class FencedContract(TicketsContract):
    """Needs a fixture `world`, a `FencedWorld`."""

    def test_a_ticket_that_vanished_after_the_review_is_stale(self, world: FencedWorld) -> None:
        change = preview(world, comment="Hello.").change
        world.remove()
        assert anyio.run(world.port.apply, change, action(1)) == Stale(("ticket",))

    @pytest.mark.parametrize(("status", "comment"), [("closed", None), (None, "Bye.")])
    def test_a_probe_of_what_was_not_done_keeps_a_late_attempt_from_doing_it(
        self, world: FencedWorld, status: str | None, comment: str | None
    ) -> None:
        change, before = preview(world, status, comment).change, world.text()
        assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotHappen)
        late = anyio.run(world.port.apply, change, action(1))
        assert isinstance(late, Failed)
        assert not late.effect
        assert isinstance(anyio.run(world.port.probe, change, action(1)), CannotHappen)
        assert world.text() == before

    def test_a_probe_of_a_ticket_that_was_not_made_keeps_a_late_attempt_from_making_it(
        self, world: FencedWorld
    ) -> None:
        ticket, before = draft(world).ticket, world.tickets()
        assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotHappen)
        late = anyio.run(world.port.create, ticket, action(1))
        assert isinstance(late, Failed)
        assert not late.effect
        assert isinstance(anyio.run(world.port.probe_creation, ticket, action(1)), CannotHappen)
        assert world.tickets() == before

    def test_eight_processes_racing_one_action_comment_once(self, world: FencedWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        assert race(apply_and_say, [(world.home, change, action(1))] * RACERS) == ["Succeeded"] * RACERS
        assert (world.comments_of(action(1)), world.text().count("Bye.")) == (1, 1)

    def test_of_eight_actions_racing_on_one_reviewed_status_one_succeeds(self, world: FencedWorld) -> None:
        change = preview(world, "closed", "Bye.").change
        said = race(apply_and_say, [(world.home, change, action(number)) for number in range(RACERS)])
        assert sorted(said) == ["Stale"] * (RACERS - 1) + ["Succeeded"]
        assert world.text().count("Bye.") == 1

    def test_eight_comments_racing_all_arrive(self, world: FencedWorld) -> None:
        change = preview(world, comment="Hello.").change
        said = race(apply_and_say, [(world.home, change, action(number)) for number in range(RACERS)])
        assert said == ["Succeeded"] * RACERS
        assert [world.comments_of(action(number)) for number in range(RACERS)] == [1] * RACERS

    def test_eight_processes_racing_one_action_make_one_ticket(self, world: FencedWorld) -> None:
        ticket, before = draft(world).ticket, world.tickets()
        said = race(create_and_say, [(world.home, ticket, action(1))] * RACERS)
        assert len(set(said)) == 1
        assert world.tickets() == [*before, said[0]]

    def test_eight_tickets_racing_get_eight_ids(self, world: FencedWorld) -> None:
        ticket, before = draft(world).ticket, world.tickets()
        said = race(create_and_say, [(world.home, ticket, action(number)) for number in range(RACERS)])
        assert len(set(said)) == RACERS
        assert sorted(world.tickets()) == sorted([*before, *said])
