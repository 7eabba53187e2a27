"""What every back end of the deployments port promises; a back end's tests inherit it with a world of their own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from keyturn.connectors.deployments import Preview
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, Failed, Happened, Stale, Succeeded
from tests.connectors.deployments.processes import RACERS, action, race
from tests.connectors.deployments.world import Placed


def preview(world: Placed, to: str = "2.3.1") -> Preview:
    """Preview going back to a release; back ends with numbers of their own have another name for it."""
    found: Preview = anyio.run(world.port.preview, "staging", to if to == "previous" else world.named(to))
    return found


class DeploymentsContract:
    """Needs a fixture `world`: version 2.4.0 is live in staging, 2.3.1 was before it, 2.2.0 before that."""

    def test_a_snapshot_names_what_is_live_and_what_was_before_it(self, world: Placed) -> None:
        snapshot = anyio.run(world.port.snapshot, "staging")
        oldest, before, live = (world.named(version) for version in ("2.2.0", "2.3.1", "2.4.0"))
        assert (snapshot.current, snapshot.previous) == (live, before)
        assert [revision.version for revision in snapshot.revisions] == [live, before, oldest]
        assert [switch.new for switch in snapshot.history] == [oldest, before, live]

    def test_a_preview_shows_the_effect_and_changes_nothing(self, world: Placed) -> None:
        before = world.history()
        seen = preview(world)
        assert all(line in seen.diff for line in world.shows)
        assert (seen.added, seen.removed, seen.summarised) == (1, 1, 0)
        assert (world.live(), world.history()) == ("2.4.0", before)

    def test_previous_becomes_a_version_when_planned(self, world: Placed) -> None:
        assert preview(world, "previous").rollback == preview(world, "2.3.1").rollback

    @pytest.mark.parametrize("to", ["9.9.9", "2.4.0"])
    def test_a_version_that_is_not_there_or_is_live_already_is_refused(self, world: Placed, to: str) -> None:
        with pytest.raises(ConnectorError, match=r"there is no (release|revision)|is live already"):
            preview(world, to)

    def test_an_environment_that_is_not_declared_is_refused(self, world: Placed) -> None:
        with pytest.raises(ConnectorError, match='has no environment "moon"'):
            anyio.run(world.port.snapshot, "moon")

    def test_applying_makes_the_target_live_and_says_so(self, world: Placed) -> None:
        live, before = world.named("2.4.0"), world.named("2.3.1")
        outcome = anyio.run(world.port.apply, preview(world).rollback, action(1))
        assert isinstance(outcome, Succeeded)
        assert (outcome.result["from"], outcome.result["to"]) == (live, before)
        assert outcome.result["current"] == world.named("2.3.1")
        assert (world.live(), world.switches_of(action(1))) == ("2.3.1", 1)

    def test_applying_again_is_answered_from_the_record(self, world: Placed) -> None:
        rollback = preview(world).rollback
        first = anyio.run(world.port.apply, rollback, action(1))
        assert anyio.run(world.port.apply, rollback, action(1)) == first
        world.move("2.4.0")
        assert isinstance(anyio.run(world.port.apply, rollback, action(1)), world.superseded)
        assert (world.live(), world.switches_of(action(1))) == ("2.4.0", 1)

    def test_a_deployment_that_moved_after_the_review_is_stale(self, world: Placed) -> None:
        rollback = preview(world, "2.2.0").rollback
        world.move("2.3.1")
        assert anyio.run(world.port.apply, rollback, action(1)) == Stale(("current",))
        assert (world.live(), world.switches_of(action(1))) == ("2.3.1", 0)

    def test_a_target_that_changed_after_the_review_is_stale(self, world: Placed) -> None:
        rollback = preview(world).rollback
        world.alter("2.3.1")
        assert anyio.run(world.port.apply, rollback, action(1)) == Stale(("manifest",))
        assert world.live() == "2.4.0"

    def test_a_probe_of_what_was_done_says_that_it_happened(self, world: Placed) -> None:
        rollback = preview(world).rollback
        outcome = anyio.run(world.port.apply, rollback, action(1))
        assert isinstance(outcome, Succeeded)
        assert anyio.run(world.port.probe, rollback, action(1)) == Happened(outcome.result)

    def test_a_probe_of_what_was_not_done_keeps_a_late_attempt_from_doing_it(self, world: Placed) -> None:
        rollback = preview(world).rollback
        assert isinstance(anyio.run(world.port.probe, rollback, action(1)), CannotHappen)
        late = anyio.run(world.port.apply, rollback, action(1))
        assert isinstance(late, Failed)
        assert not late.effect
        assert isinstance(anyio.run(world.port.probe, rollback, action(1)), CannotHappen)
        assert (world.live(), world.switches_of(action(1))) == ("2.4.0", 0)

    def test_a_fence_stops_one_action_and_no_other(self, world: Placed) -> None:
        rollback = preview(world).rollback
        anyio.run(world.port.probe, rollback, action(1))
        assert isinstance(anyio.run(world.port.apply, rollback, action(2)), Succeeded)
        assert world.live() == "2.3.1"

    def test_the_inverse_leads_back(self, world: Placed) -> None:
        rollback = preview(world).rollback
        anyio.run(world.port.apply, rollback, action(1))
        inverse = world.port.inverse(rollback)
        arguments: dict[str, Any] = dict(inverse.arguments)
        assert (inverse.tool, arguments["deployment"], arguments["environment"]) == (
            "rollback_deployment",
            "web",
            "staging",
        )
        again = anyio.run(world.port.preview, "staging", arguments["to"]).rollback
        assert isinstance(anyio.run(world.port.apply, again, action(2)), Succeeded)
        assert world.live() == "2.4.0"

    def test_eight_processes_racing_one_action_switch_once(self, world: Placed) -> None:
        rollback = preview(world).rollback
        assert race(world.racer, [(world.handle, rollback, action(1))] * RACERS) == ["Succeeded"] * RACERS
        assert (world.live(), world.switches_of(action(1)), len(world.history())) == ("2.3.1", 1, 4)

    def test_of_eight_actions_racing_on_one_reviewed_state_one_succeeds(self, world: Placed) -> None:
        rollback = preview(world).rollback
        said = race(world.racer, [(world.handle, rollback, action(number)) for number in range(RACERS)])
        assert sorted(said) == ["Stale"] * (RACERS - 1) + ["Succeeded"]
        assert (world.live(), len(world.history())) == ("2.3.1", 4)
