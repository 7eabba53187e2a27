"""Deployments that others change, scale or pause while a rollback of ours is on its way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bed.cluster import Json
from tests.bed.kubernetes import TOKEN, Kubernetes
from tests.races.stage import MOMENTS, Moment, Stage, meanwhile, reasons

PATCH = ("PATCH", r".*/deployments/web")
WRITTEN = 2
"""The patch that is written is the second one: the dry run comes before it."""


def patching(kube: Kubernetes, nth: int = WRITTEN) -> Callable[[Callable[[], object]], None]:
    return meanwhile(kube.proxy, *PATCH, nth=nth)


def wiring(stage: Stage, kube: Kubernetes) -> str:
    where = '{ namespace = "prod", deployment = "web" }'
    return "\n".join(
        [
            'kind = "kubernetes"',
            f'url = "{kube.url}"',
            f'credential = "{stage.credential(TOKEN)}"',
            "private = true",
            'health_timeout = "20s"',
            f"environments = {{ production = {where} }}",
        ]
    )


@pytest.fixture
def web(stage: Stage, kube: Kubernetes) -> Kubernetes:
    """A deployment that ran shop:41 and runs shop:42, which the home may put back."""
    kube.cluster.deploy(image="shop:41")
    kube.cluster.release("shop:42")
    stage.wire(deployments=wiring(stage, kube))
    return kube


def asked(stage: Stage, principal: str = "claude", to: str = "previous") -> str:
    return stage.ask("rollback_deployment", principal, deployment="web", environment="production", to=to)


def ours(web: Kubernetes) -> int:
    """Return how many of the kept changes put revision 1 back."""
    return sum(write.verb == "patch" for write in web.writes)


def scaled(change: Json) -> None:
    change["spec"]["replicas"] = 5


def paused(change: Json) -> None:
    change["spec"]["paused"] = True


def strategy(change: Json) -> None:
    change["spec"]["strategy"] = {"type": "Recreate"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_release_of_others_voids_the_rollback(stage: Stage, web: Kubernetes, moment: Moment) -> None:
    told = stage.through(moment, lambda: web.cluster.release("shop:43"), patching(web), asked(stage))
    assert (told["status"], web.cluster.image(), ours(web)) == ("stale", "shop:43", 0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_scaling_of_others_voids_nothing(stage: Stage, web: Kubernetes, moment: Moment) -> None:
    told = stage.through(moment, lambda: web.cluster.edit(scaled), patching(web), asked(stage))
    assert (told["status"], web.cluster.image()) == ("succeeded", "shop:41"), told
    assert web.cluster.deployment()["spec"]["replicas"] == 5


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deployment_that_is_paused_is_left_alone(stage: Stage, web: Kubernetes, moment: Moment) -> None:
    told = stage.through(moment, lambda: web.cluster.edit(paused), patching(web), asked(stage))
    assert (told["status"], web.cluster.image(), ours(web)) == ("stale", "shop:42", 0)
    assert "paused" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deployment_that_rolls_out_otherwise_now_is_left_alone(
    stage: Stage, web: Kubernetes, moment: Moment
) -> None:
    told = stage.through(moment, lambda: web.cluster.edit(strategy), patching(web), asked(stage))
    assert (told["status"], web.cluster.image(), ours(web)) == ("stale", "shop:42", 0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deployment_that_is_made_anew_is_another_one(stage: Stage, web: Kubernetes, moment: Moment) -> None:
    def anew() -> None:
        web.cluster.delete()
        web.cluster.deploy(image="shop:41")
        web.cluster.release("shop:42")

    told = stage.through(moment, anew, patching(web), asked(stage))
    assert (told["status"], web.cluster.image(), ours(web)) == ("stale", "shop:42", 0)
    assert "made anew" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_release_and_back_is_not_what_was_reviewed(stage: Stage, web: Kubernetes, moment: Moment) -> None:
    """The template is the same again, under another revision: the number that the reviewer saw is not live."""

    def there_and_back() -> None:
        web.cluster.release("shop:43")
        web.cluster.release("shop:42")

    told = stage.through(moment, there_and_back, patching(web), asked(stage))
    assert (told["status"], web.cluster.image(), ours(web)) == ("stale", "shop:42", 0)


def test_two_homes_that_roll_one_deployment_back_do_it_once(stages: Callable[[str], Stage], kube: Kubernetes) -> None:
    first, second = stages("first"), stages("second")
    kube.cluster.deploy(image="shop:41")
    kube.cluster.release("shop:42")
    for one in (first, second):
        one.wire(deployments=wiring(one, kube))
    theirs = asked(second)
    second.world.approve(theirs)
    told = first.through("before the answer", lambda: second.run(theirs), patching(kube), asked(first))
    assert (told["status"], second.ended(theirs)) == ("stale", "succeeded")
    assert (kube.cluster.image(), ours(kube)) == ("shop:41", 1)


# folders of releases


@dataclass(frozen=True, slots=True)
class Releases:
    """The sample's production folder, changed by others with what is at hand: links, files, the history."""

    stage: Stage

    @property
    def folder(self) -> Any:
        return self.stage.folder / "samples/web/production"

    @property
    def live(self) -> str:
        return self.stage.world.live("production")

    def switch(self, version: str) -> None:
        """Switch as an operator's script does."""
        before = self.live
        (self.folder / "next").symlink_to(f"releases/{version}")
        os.replace(self.folder / "next", self.folder / "current")  # noqa: PTH105 - as scripts do it
        line = {"at": "2026-11-21T12:00:00Z", "from": before, "to": version, "by": "somebody", "action": None}
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")

    def alter(self, version: str) -> None:
        (self.folder / "releases" / version / "added.txt").write_text("nobody saw this\n", encoding="utf-8")


@pytest.fixture
def releases(stage: Stage) -> Releases:
    return Releases(stage)


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_a_folder_that_runs_another_version_now_is_left_alone(
    stage: Stage, releases: Releases, moment: Moment
) -> None:
    action = asked(stage)
    plan = stage.told(action)["plan_summary"]
    target = plan.partition(" to ")[2].split(" ")[0]
    told = stage.through(moment, lambda: releases.switch(target), lambda _: None, action)
    assert (told["status"], releases.live) == ("stale", target)
    assert "no longer runs" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS[:2])
def test_a_version_that_holds_something_else_now_is_not_put_back(
    stage: Stage, releases: Releases, moment: Moment
) -> None:
    action, live = asked(stage), releases.live
    target = stage.told(action)["plan_summary"].partition(" to ")[2].split(" ")[0]
    told = stage.through(moment, lambda: releases.alter(target), lambda _: None, action)
    assert (told["status"], releases.live) == ("stale", live)
    assert "does not hold what was reviewed" in reasons(told)
