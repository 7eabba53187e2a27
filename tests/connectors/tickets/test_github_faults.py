"""Every write to GitHub's issues under every fault of the way there.

The outcome is right, or unknown and then settled, and the effect is there at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Failed, Happened, Outcome, Probe, Succeeded, Unknown
from tests.bed.faults import (
    Deed,
    DoneBut,
    DropAfter,
    DropBefore,
    Fault,
    Garble,
    Gate,
    Hold,
    Instead,
    Truncate,
    Twice,
    echo,
    refusal,
)
from tests.bed.forge import Forge
from tests.connectors.deployments.processes import action
from tests.connectors.tickets.contract import draft, preview
from tests.connectors.tickets.issues import IssuesWorld, open_issues

ONE = action(1)


@dataclass(frozen=True, slots=True)
class Write:
    """One write: its request, how it is made and probed, and how often its effect is there."""

    method: str
    path: str
    apply: Callable[[], Outcome]
    probe: Callable[[], Probe]
    effects: Callable[[], int]


def comment(world: IssuesWorld) -> Write:
    change = preview(world, comment="Bye.").change
    return Write(
        "POST",
        r".*/issues/\d+/comments",
        partial(anyio.run, world.port.apply, change, ONE),
        partial(anyio.run, world.port.probe, change, ONE),
        lambda: world.comments_of(ONE),
    )


def status(world: IssuesWorld) -> Write:
    change = preview(world, "closed", "Bye.").change
    return Write(
        "PATCH",
        r".*/issues/\d+",
        partial(anyio.run, world.port.apply, change, ONE),
        partial(anyio.run, world.port.probe, change, ONE),
        world.closings,
    )


def creation(world: IssuesWorld) -> Write:
    ticket, before = draft(world).ticket, len(world.tickets())
    return Write(
        "POST",
        r".*/issues",
        partial(anyio.run, world.port.create, ticket, ONE),
        partial(anyio.run, world.port.probe_creation, ticket, ONE),
        lambda: len(world.tickets()) - before,
    )


def through(port: Any, write: Write) -> Write:
    """Return the same write by way of another port."""

    def of(call: Any) -> Callable[[], Any]:
        method, *rest = call.args
        return partial(anyio.run, getattr(port, method.__name__), *rest)

    return replace(write, apply=of(write.apply), probe=of(write.probe))


WRITES = [comment, status, creation]

ANSWER_LOST: dict[str, Deed] = {
    "dropped after": DropAfter(),
    "reset after": DropAfter(reset=True),
    "500 after": DoneBut(refusal(500)),
    "502 after": DoneBut(refusal(502)),
    "cut short": Truncate(),
    "garbled": Garble(),
}
NEVER_DONE: dict[str, Deed] = {
    "dropped before": DropBefore(),
    "500 instead": Instead(refusal(500)),
    "a lie": Instead(echo(201)),
}
REFUSED: dict[str, tuple[Deed, str]] = {
    "403": (Instead(refusal(403, "Resource not accessible by integration")), "refused"),
    "404": (Instead(refusal(404)), "refused"),
    "409": (Instead(refusal(409)), "conflict"),
    "410": (Instead(refusal(410)), "refused"),
    "422": (Instead(refusal(422, "Validation Failed")), "refused"),
    "429 for an hour": (Instead(refusal(429, retry_after="3600")), "retry"),
    "secondary limit": (Instead(refusal(403, "You have exceeded a secondary rate limit")), "retry"),
}


@pytest.fixture
def world(tmp_path: Path, github: Forge) -> IssuesWorld:
    return IssuesWorld(tmp_path, github)


def strike(world: IssuesWorld, write: Write, deed: Deed, nth: int = 1) -> None:
    world.forge.faults.set(Fault(write.method, write.path, deed, nth))


@pytest.mark.parametrize("make", WRITES)
@pytest.mark.parametrize("fault", ANSWER_LOST)
def test_an_answer_that_is_lost_is_looked_for_and_the_write_is_not_repeated(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write], fault: str
) -> None:
    write = make(world)
    strike(world, write, ANSWER_LOST[fault], 0)
    outcome = write.apply()
    assert isinstance(outcome, Succeeded)
    assert (write.effects(), world.forge.reached.effects(write.method, write.path)) == (1, 1)
    world.forge.faults.set()
    assert write.apply() == outcome
    assert write.probe() == Happened(outcome.result)
    assert write.effects() == 1


@pytest.mark.parametrize("make", [comment, creation])
@pytest.mark.parametrize("fault", NEVER_DONE)
def test_what_was_never_done_and_nobody_knows_stays_unknown_and_is_not_repeated(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write], fault: str
) -> None:
    write = make(world)
    strike(world, write, NEVER_DONE[fault])
    assert isinstance(write.apply(), Unknown)
    told = write.probe()
    assert isinstance(told, CannotTell)
    assert "resolve by hand" in told.reason
    assert (write.effects(), len(world.forge.seen.of(write.method, write.path))) == (0, 1)


@pytest.mark.parametrize("fault", NEVER_DONE)
def test_a_status_that_was_never_set_is_unknown_until_a_probe_sets_it(world: IssuesWorld, fault: str) -> None:
    write = status(world)
    strike(world, write, NEVER_DONE[fault])
    assert isinstance(write.apply(), Unknown)
    assert (write.effects(), world.comments_of(ONE)) == (0, 1)
    assert isinstance(write.probe(), Happened)
    assert (write.effects(), world.comments_of(ONE)) == (1, 1)


@pytest.mark.parametrize("make", WRITES)
def test_a_limit_that_names_a_short_wait_is_waited_for(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write]
) -> None:
    write = make(world)
    strike(world, write, Instead(refusal(429, retry_after="0")))
    assert isinstance(write.apply(), Succeeded)
    assert write.effects() == 1


@pytest.mark.parametrize("make", [comment, creation])
@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_is_told_and_nothing_is_there(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write], fault: str
) -> None:
    write, (deed, kind) = make(world), REFUSED[fault]
    strike(world, write, deed)
    with pytest.raises(ConnectorError) as refused:
        write.apply()
    assert (refused.value.kind, write.effects()) == (kind, 0)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_status_that_is_refused_after_the_comment_is_a_failure_with_an_effect_or_can_be_completed(
    world: IssuesWorld, fault: str
) -> None:
    write, (deed, kind) = status(world), REFUSED[fault]
    strike(world, write, deed)
    outcome = write.apply()
    assert (write.effects(), world.comments_of(ONE)) == (0, 1)
    if kind == "retry":
        assert isinstance(outcome, Unknown)
        (world.home / "state" / "run").joinpath(_turn(world)).unlink()  # the hour is over
        assert isinstance(write.probe(), Happened)
        assert (write.effects(), world.comments_of(ONE)) == (1, 1)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.effect
        assert outcome.result["status"] == "open"


def _turn(world: IssuesWorld) -> str:
    [found] = [path.name for path in (world.home / "state" / "run").iterdir() if path.name.startswith("host-")]
    return found


def test_a_comment_that_the_network_posts_twice_stands_once(world: IssuesWorld) -> None:
    write = comment(world)
    strike(world, write, Twice())
    assert isinstance(write.apply(), Succeeded)
    assert (write.effects(), len(world.repository.comments(world.number))) == (1, 1)


def test_a_status_that_the_network_sets_twice_is_set_once(world: IssuesWorld) -> None:
    write = status(world)
    strike(world, write, Twice(answered=2))
    assert isinstance(write.apply(), Succeeded)
    assert (write.effects(), world.comments_of(ONE)) == (1, 1)


def test_an_issue_that_the_network_makes_twice_is_a_failure_that_names_both(world: IssuesWorld) -> None:
    write = creation(world)
    strike(world, write, Twice())
    outcome = write.apply()
    assert isinstance(outcome, Failed)
    assert outcome.effect
    made = [number for number in world.tickets() if number != world.ticket]
    assert outcome.reason == f"the network made it 2 times, as {', '.join(made)}; close all but one"
    assert outcome.result["ticket"] == made[0]
    assert write.probe() == Happened(outcome.result, outcome.reason)


@pytest.mark.parametrize("make", WRITES)
def test_where_what_came_of_it_cannot_be_read_it_is_unknown_until_it_can(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write]
) -> None:
    write = make(world)
    reading = r".*/issues" if make is creation else r".*/comments" if make is comment else r".*/issues/\d+"
    nth = {"comment": 3, "status": 4, "creation": 2}[make.__name__]
    world.forge.faults.set(Fault("GET", reading, Instead(refusal(403, "no more of this")), nth))
    assert isinstance(write.apply(), Unknown)
    assert write.effects() == 1
    world.forge.faults.set(Fault("GET", r".*", Instead(refusal(403, "no more of this")), 0))
    assert isinstance(write.probe(), CannotTell)
    world.forge.faults.set()
    assert isinstance(write.probe(), Happened)
    assert write.effects() == 1


@pytest.mark.parametrize("make", [comment, creation])
def test_what_arrives_late_is_unknown_until_it_is_there_and_is_there_once(
    world: IssuesWorld, make: Callable[[IssuesWorld], Write]
) -> None:
    name, gate, write = world.repository.full_name, Gate(), make(world)
    hurried = through(open_issues(world.home, world.forge, name, timeout=2, deadline=4), write)
    strike(world, write, Hold(gate))
    assert isinstance(hurried.apply(), Unknown)
    assert isinstance(hurried.probe(), CannotTell)
    gate.open()
    for _ in range(1000):  # each look is a request: no waiting by the clock
        if write.effects():
            break
    assert isinstance(write.probe(), Happened)
    assert isinstance(write.apply(), Succeeded)
    assert write.effects() == 1
