"""What comes of a rollback when the network, the server or this process fails in the middle of it.

The table is the page of faults for Kubernetes: for each write and fault the settled outcome, and how often the
Deployment was changed by the action, which is never more than once.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.deployments import Preview, Rollback
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import (
    CannotHappen,
    CannotTell,
    Failed,
    Happened,
    Outcome,
    Probe,
    Stale,
    Succeeded,
    Unknown,
)
from keyturn.model.tool import ActionRef
from tests.bed.faults import (
    Deed,
    DoneBut,
    DropAfter,
    DropBefore,
    Fault,
    Garble,
    Instead,
    Meanwhile,
    Truncate,
    Twice,
    echo,
    kubernetes_refusal,
)
from tests.bed.recorder import Answer
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.doing import apply, preview, probe
from tests.connectors.kubernetes.world import ClusterWorld, Handle, cluster, open_cluster

DEPLOYMENT = ".*/deployments/web"
REHEARSAL, CHANGE, FENCE = 1, 2, 1
"""Which PATCH of an execution is the dry run and which the change; of a probe, the first is the fence."""


def later() -> Answer:
    """Make a refusal that names a time to wait."""
    refusal = kubernetes_refusal(429, "TooManyRequests")
    return Answer(429, (*refusal.headers, ("retry-after", "1")), refusal.body)


def settled(world: ClusterWorld, seen: Preview) -> tuple[str, int]:
    """Execute as the gateway does, which probes what is unknown; name the end, and count the effects."""
    try:
        outcome = apply(world, seen)
    except ConnectorError as error:
        sorted_as: dict[str, Outcome] = {"conflict": Stale(()), "unknown": Unknown(str(error))}
        outcome = sorted_as.get(error.kind, Failed(str(error)))
    ended: Outcome | Probe = probe(world, seen) if isinstance(outcome, Unknown) else outcome
    return type(ended).__name__, world.server.rollouts.count("2.3.1")


def named(deed: object) -> str:
    """Name a test the same in every process: functions show where they happen to lie."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(deed))


@pytest.mark.parametrize(
    ("deed", "ended", "effects"),
    [
        (DropBefore(), "CannotHappen", 0),
        (DropBefore(reset=True), "CannotHappen", 0),
        (DropAfter(), "Happened", 1),
        (DropAfter(reset=True), "Happened", 1),
        (Truncate(), "Happened", 1),
        (Truncate(0), "Happened", 1),
        (Garble(), "Happened", 1),
        (Garble(b"[]"), "Happened", 1),
        (Garble(b"{}"), "Succeeded", 1),
        (Twice(), "Succeeded", 1),
        (Twice(answered=2), "Succeeded", 1),
        (DoneBut(kubernetes_refusal(500, "InternalError")), "Happened", 1),
        (DoneBut(kubernetes_refusal(504, "Timeout")), "Happened", 1),
        (DoneBut(kubernetes_refusal(409, "Conflict")), "Succeeded", 1),
        (DoneBut(kubernetes_refusal(422, "Invalid")), "Succeeded", 1),
        (Instead(kubernetes_refusal(409, "Conflict")), "Failed", 0),
        (Instead(kubernetes_refusal(422, "Invalid")), "Failed", 0),
        (Instead(kubernetes_refusal(404, "NotFound")), "Failed", 0),
        (Instead(kubernetes_refusal(401, "Unauthorized")), "Failed", 0),
        (Instead(kubernetes_refusal(403, "Forbidden")), "Failed", 0),
        (Instead(later()), "Succeeded", 1),
        (Instead(kubernetes_refusal(429, "TooManyRequests")), "Failed", 0),
        (Instead(kubernetes_refusal(500, "InternalError")), "CannotHappen", 0),
        (Instead(kubernetes_refusal(503, "ServiceUnavailable")), "CannotHappen", 0),
        (Instead(echo()), "CannotHappen", 0),
        (Instead(Answer(302, (("location", "https://elsewhere.test/"),))), "Failed", 0),
    ],
    ids=named,
)
def test_every_fault_of_the_change_is_settled_and_done_at_most_once(
    world: ClusterWorld, deed: Deed, ended: str, effects: int
) -> None:
    seen = preview(world)
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, deed, nth=CHANGE))
    assert settled(world, seen) == (ended, effects)
    world.proxy.faults.set()
    assert (world.live() == "2.3.1") == (effects == 1)
    assert world.switches_of(action(1)) == effects


@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        (DropBefore(), "Failed"),
        (DropAfter(), "Failed"),
        (Truncate(), "Failed"),
        (Garble(), "Failed"),
        (Garble(b"{}"), "Failed"),
        (Twice(), "Succeeded"),
        (Instead(kubernetes_refusal(409, "Conflict")), "Failed"),
        (Instead(kubernetes_refusal(500, "InternalError")), "Failed"),
        (Instead(kubernetes_refusal(400, "BadRequest")), "Failed"),
        (Instead(echo()), "Failed"),
    ],
    ids=named,
)
def test_a_fault_of_the_dry_run_is_never_doubtful(world: ClusterWorld, deed: Deed, ended: str) -> None:
    """A dry run changes nothing, so whatever becomes of it, the action has failed without an effect, or goes on."""
    seen = preview(world)
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, deed, nth=REHEARSAL))
    assert settled(world, seen) == (ended, 1 if ended == "Succeeded" else 0)


@pytest.mark.parametrize(
    "deed",
    [
        DropBefore(),
        DropAfter(),
        Truncate(),
        Garble(),
        Instead(kubernetes_refusal(409, "Conflict")),
        Instead(kubernetes_refusal(403, "Forbidden")),
        Instead(kubernetes_refusal(500, "InternalError")),
        DoneBut(kubernetes_refusal(500, "InternalError")),
        Instead(echo()),
    ],
    ids=named,
)
def test_a_fence_that_may_not_be_there_proves_nothing_and_the_next_probe_settles_it(
    world: ClusterWorld, deed: Deed
) -> None:
    seen = preview(world)
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, deed, nth=FENCE))
    assert isinstance(probe(world, seen), CannotTell)
    world.proxy.faults.set()
    assert isinstance(probe(world, seen), CannotHappen)
    assert isinstance(apply(world, seen), Failed)
    assert world.live() == "2.4.0"


def test_a_fence_sent_twice_is_one(world: ClusterWorld) -> None:
    seen = preview(world)
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, Twice(answered=2), nth=FENCE))
    assert isinstance(probe(world, seen), CannotHappen)
    assert world.server.marks("keyturn/fences") == [action(1).action]


@pytest.mark.parametrize("path", [DEPLOYMENT, ".*/replicasets"])
@pytest.mark.parametrize(
    "deed", [DropAfter(), Garble(), Instead(kubernetes_refusal(500, "InternalError"))], ids=named
)
def test_a_health_that_cannot_be_read_for_a_moment_is_read_again(world: ClusterWorld, path: str, deed: Deed) -> None:
    seen = preview(world)
    reads = world.proxy.seen.of("GET", path)
    world.server.health = "steps"
    before = len(reads)
    apply_until_patched = 3 if path == DEPLOYMENT else 2
    world.proxy.faults.set(Fault("GET", path, deed, nth=apply_until_patched + 1))
    assert isinstance(apply(world, seen), Succeeded)
    assert len(world.proxy.seen.of("GET", path)) > before


def test_a_cluster_that_falls_silent_after_the_change_leaves_a_failure_with_an_effect(tmp_path: Path) -> None:
    with cluster(tmp_path) as world:
        seen = preview(world)
        silence = Fault("GET", ".*", Instead(kubernetes_refusal(500, "InternalError")), nth=0)

        def fall_silent() -> None:
            world.proxy.faults.set(silence)

        quiet = ActionRef(action=action(1).action, principal="claude", progress=lambda _: fall_silent())
        world.server.health = "stuck"
        port = open_cluster(world.home, world.proxy.url, health_timeout="1s", deadline=1)
        outcome = anyio.run(port.apply, seen.rollback, quiet)
        assert isinstance(outcome, Failed)
        assert (outcome.effect, "its health cannot be read" in outcome.reason) == (True, True)


def apply_in_child(handle: Handle, rollback: Rollback) -> None:
    anyio.run(open_cluster(*handle).apply, rollback, action(1))


_context = multiprocessing.get_context("forkserver")


def killing(child: ForkServerProcess) -> Callable[[], None]:
    """What kills `child` and waits until it is dead, on a thread of the proxy's.

    It does not join it: an exit status is read from its pipe once, by the thread that joins.
    """

    def kill() -> None:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        assert wait([child.sentinel], 30)

    return kill


@pytest.mark.parametrize("after", [False, True], ids=["before the request arrives", "before the answer"])
@pytest.mark.parametrize("step", range(1, 11))
def test_a_process_that_is_killed_at_any_request_leaves_what_can_be_settled(
    world: ClusterWorld, step: int, after: bool
) -> None:
    seen = preview(world)
    child = _context.Process(target=apply_in_child, args=(world.handle, seen.rollback))

    world.proxy.faults.set(Fault("*", ".*", Meanwhile(killing(child), after=after), nth=step))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    world.proxy.faults.set()
    found = probe(world, seen)
    if isinstance(found, Happened):
        assert (world.live(), world.server.rollouts) == ("2.3.1", ["2.3.1"])
        assert isinstance(apply(world, seen), Succeeded)
    else:
        assert isinstance(found, CannotHappen)
        assert isinstance(apply(world, seen), Failed)
        assert (world.live(), world.server.rollouts) == ("2.4.0", [])
    assert world.switches_of(action(1)) == len(world.server.rollouts)


@pytest.mark.parametrize("step", [5, 6, 7, 8])
def test_an_action_taken_up_again_after_a_kill_is_done_once(world: ClusterWorld, step: int) -> None:
    seen = preview(world)
    child = _context.Process(target=apply_in_child, args=(world.handle, seen.rollback))

    world.proxy.faults.set(Fault("*", ".*", Meanwhile(killing(child), after=True), nth=step))
    child.start()
    child.join(60)
    world.proxy.faults.set()
    assert isinstance(apply(world, seen), Succeeded)
    assert world.server.rollouts == ["2.3.1"]
