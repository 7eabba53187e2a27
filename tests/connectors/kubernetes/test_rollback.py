"""What a rollback of a Deployment is, beyond what the port promises of every back end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.connectors.deployments import Preview
from keyturn.connectors.deployments.kubernetes.marks import NEWEST
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded, Unknown
from keyturn.model.tool import ActionRef
from tests.bed.faults import Fault, Gate, Hold, Meanwhile
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.apiserver import ApiServer, template_of
from tests.connectors.kubernetes.doing import apply, preview, probe, snapshot
from tests.connectors.kubernetes.world import ClusterWorld, open_cluster

DEPLOYMENT = ".*/deployments/web"


def patches(world: ClusterWorld, *, dry: bool = False) -> list[Any]:
    return [
        one.json() for one in world.proxy.seen.of("PATCH") if ("dryRun=All" in one.query) == dry and one.status == 200
    ]


# What reviewers see


def test_the_preview_is_the_clusters_own_dry_run_and_says_so(world: ClusterWorld) -> None:
    seen = preview(world)
    assert seen.source == "the cluster's own dry run"
    assert (world.live(), len(patches(world, dry=True)), patches(world)) == ("2.4.0", 1, [])


def test_values_that_run_are_in_no_preview(world: ClusterWorld) -> None:
    world.server.edit(template=template_of("2.5.0", "canary-env-other-78"))
    seen = preview(world, "previous")
    assert "canary" not in seen.diff
    assert "-          value: <hidden>\n+          value: <hidden, changed>\n" in seen.diff
    world.server.edit(template=template_of("2.6.0", "canary-env-other-78"))
    seen = preview(world, "previous")
    assert "canary" not in seen.diff + repr(seen) + str(snapshot(world))


def test_annotations_that_a_rollback_puts_back_are_part_of_the_diff_and_of_the_facts(world: ClusterWorld) -> None:
    world.server.annotate({"team": "blue"})
    before = preview(world)
    assert "-    team: blue\n" in before.diff
    world.server.annotate({"team": "red"})
    assert apply(world, before) == Stale(("manifest_from",))


def test_notes_tell_images_strategy_and_helm(world: ClusterWorld) -> None:
    world.server.deployment["metadata"]["annotations"]["meta.helm.sh/release-name"] = "shop"
    seen = preview(world)
    assert seen.notes == (
        "Container web: registry.example/shop/web:2.4.0 -> registry.example/shop/web:2.3.1.",
        "Strategy: RollingUpdate (at most 25% more and 25% fewer than wanted at a time).",
        "Helm release shop manages it too, is not told of this, and may change it again.",
    )
    assert snapshot(world).owner == "Helm release shop"


def test_a_deployment_that_keeps_no_old_revisions_is_said_to_have_no_way_back(world: ClusterWorld) -> None:
    world.server.edit(revisionHistoryLimit=0, strategy={"type": "Recreate"})
    notes = preview(world).notes
    assert notes[1] == "Strategy: Recreate."
    assert "cannot be undone" in notes[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda server: setattr(server, "git_version", "v1.17.9"), "is not known to have dry runs"),
        (lambda server: setattr(server, "git_version", ""), "is not known to have dry runs"),
        (lambda server: setattr(server, "dry_runs", "refused"), "an admission webhook of the cluster has no dry run"),
        (lambda server: server.may.discard("patch deployments"), "this account may not patch"),
    ],
)
def test_where_the_cluster_has_no_dry_run_the_preview_is_ours_and_says_why(
    world: ClusterWorld, change: Callable[[ApiServer], object], said: str
) -> None:
    by_cluster = preview(world)
    change(world.server)
    seen = preview(world)
    assert said in seen.source
    assert replace(seen, source=by_cluster.source, guard=by_cluster.guard) == by_cluster


def test_a_server_that_carries_dry_runs_out_is_found_out(world: ClusterWorld) -> None:
    world.server.dry_runs = "carried out"
    with pytest.raises(ConnectorError, match=r"carries dry runs out.*dry_run = false"):
        preview(world)
    world.server.deploy("2.4.0")
    port = open_cluster(world.home, world.proxy.url, dry_run=False)
    seen = anyio.run(port.preview, "staging", "previous")
    assert seen.source == "worked out by Keyturn, as dry_run = false asks"


def test_what_an_admission_webhook_makes_of_it_is_what_is_shown_and_reviewed(world: ClusterWorld) -> None:
    world.server.mutate = True
    seen = preview(world)
    assert "+        injected: 'yes'" in seen.diff
    assert any("The cluster changes what revision 2 held" in note for note in seen.notes)
    outcome = apply(world, seen)
    assert isinstance(outcome, Succeeded)
    world.server.mutate = False
    world.server.deploy("2.4.0")
    world.server.mutate = True
    seen = preview(world)
    world.server.mutate = False
    assert apply(world, seen, action(2)) == Stale(("result",))


def test_what_the_cluster_would_refuse_is_refused_at_planning(world: ClusterWorld) -> None:
    world.server.set_of("2.3.1")["spec"]["template"]["spec"]["containers"] = []
    with pytest.raises(ConnectorError, match=r"the cluster would not do it: .*Required value"):
        preview(world)


# What is refused


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ({"argocd_argoproj_io__instance": "shop"}, "Argo CD application shop"),
        (
            {"kustomize_toolkit_fluxcd_io__name": "apps", "kustomize_toolkit_fluxcd_io__namespace": "flux"},
            "Flux Kustomization flux/apps",
        ),
        ({"helm_toolkit_fluxcd_io__name": "shop"}, "Flux HelmRelease /shop"),
    ],
)
def test_what_gitops_owns_is_refused_and_told_where_to_do_it(
    world: ClusterWorld, labels: dict[str, str], owner: str
) -> None:
    reviewed = preview(world)
    world.server.labelled(**labels)
    with pytest.raises(ConnectorError, match=f"{owner} manages this Deployment: .*revert"):
        preview(world)
    assert snapshot(world).owner == owner
    assert apply(world, reviewed) == Stale(("owner",))


def test_a_paused_deployment_is_refused_as_kubectl_does(world: ClusterWorld) -> None:
    reviewed = preview(world)
    world.server.edit(paused=True)
    with pytest.raises(ConnectorError, match="is paused; run `kubectl rollout resume deployment/web` first"):
        preview(world)
    assert snapshot(world).health == "its rollout is paused"
    assert apply(world, reviewed) == Stale(("paused",))


def test_a_change_that_the_controller_has_not_seen_yet_asks_to_come_back(world: ClusterWorld) -> None:
    world.server.controlled = False
    world.server.deploy("2.5.0")
    for asked in (lambda: preview(world), lambda: snapshot(world)):
        with pytest.raises(ConnectorError, match="still taking up a change") as refusal:
            asked()
        assert (refusal.value.kind, refusal.value.retry_after) == ("retry", 5)


def test_the_revision_of_another_deployment_with_the_same_labels_is_none_of_ours(world: ClusterWorld) -> None:
    with world.server.lock:
        other = world.server.set_of("2.2.0")
        other["metadata"]["ownerReferences"][0]["uid"] = "somebody else's"
    with pytest.raises(ConnectorError, match="there is no revision 1; kept are: 3, 2"):
        preview(world, "1")


def test_two_sets_of_one_revision_cannot_be_meant(world: ClusterWorld) -> None:
    with world.server.lock:
        world.server.set_of("2.2.0")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    with pytest.raises(ConnectorError, match="two ReplicaSets say that they are revision 2"):
        preview(world, "2")


def test_the_only_revision_has_nothing_before_it(world: ClusterWorld) -> None:
    world.server.sets = [world.server.set_of("2.4.0")]
    with pytest.raises(ConnectorError, match="there was none before the current one"):
        preview(world, "previous")


def test_a_deployment_that_is_not_there_is_named(world: ClusterWorld) -> None:
    world.server.deployment = {}
    with pytest.raises(ConnectorError, match="web/staging: there is no Deployment web in namespace shop"):
        preview(world)


# What is done


def test_the_patch_tests_the_version_and_replaces_template_and_annotations_alone(world: ClusterWorld) -> None:
    world.server.annotate({"kubernetes.io/change-cause": "deploy 2.4.0"})
    seen = preview(world)
    version = world.server.deployment["metadata"]["resourceVersion"]
    apply(world, seen)
    [[test, template, notes]] = patches(world)
    assert test == {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    assert (template["op"], template["path"]) == ("replace", "/spec/template")
    assert template["value"]["metadata"] == {"labels": {"app": "web"}}
    assert (notes["op"], notes["path"]) == ("replace", "/metadata/annotations")
    assert notes["value"].keys() == {
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "keyturn/actions",
    }


def test_an_undone_rollback_leads_back_by_the_number_that_was_live(world: ClusterWorld) -> None:
    """3 -> 2 makes 2 the new 4, and 3 stays 3; going back makes 3 the new 5, and 4 stays 4."""
    for number, (old, target, becomes, tag) in enumerate([("3", "2", "4", "2.3.1"), ("4", "3", "5", "2.4.0")]):
        seen = preview(world, target)
        outcome = apply(world, seen, action(number))
        assert isinstance(outcome, Succeeded)
        assert (outcome.result["from"], outcome.result["current"], world.live()) == (old, becomes, tag)
        assert world.port.inverse(seen.rollback).arguments["to"] == old
        assert snapshot(world).previous == old
    last = snapshot(world).history[-1]
    assert (last.new, last.action, last.principal) == ("5", action(1).action, "claude")


def test_others_writing_the_status_meanwhile_does_not_void_a_review(world: ClusterWorld) -> None:
    seen = preview(world)
    world.server.touch()
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, Meanwhile(world.server.touch), nth=2))
    assert isinstance(apply(world, seen), Succeeded)
    assert world.switches_of(action(1)) == 1


@pytest.mark.parametrize(
    ("meanwhile", "moved"),
    [
        (lambda world: world.move("2.2.0"), ("current",)),
        (lambda world: world.alter("2.3.1"), ("manifest",)),
        (lambda world: world.server.sets.remove(world.server.set_of("2.3.1")), ("target",)),
        (lambda world: world.replaced(), ("uid",)),
        (lambda world: setattr(world.server, "deployment", {}), ("uid",)),
        (lambda world: world.server.edit(strategy={"type": "Recreate"}), ("strategy",)),
        (lambda world: world.server.annotate({"more": "yes"}), ("manifest_from",)),
    ],
)
@pytest.mark.parametrize("when", ["before it starts", "before the dry run", "before the patch"])
def test_whatever_moves_between_review_and_patch_lands_nothing(
    world: ClusterWorld, meanwhile: Callable[[ClusterWorld], object], moved: tuple[str, ...], when: str
) -> None:
    seen = preview(world)
    if when == "before it starts":
        meanwhile(world)
    else:

        def others() -> None:
            meanwhile(world)
            world.server.touch()

        deed = Meanwhile(others)
        world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, deed, nth=1 if when == "before the dry run" else 2))
    assert apply(world, seen) == Stale(moved)
    assert (world.switches_of(action(1)) if world.server.deployment else 0) == 0


def test_an_action_done_by_another_process_between_two_reads_is_not_taken_for_stale(world: ClusterWorld) -> None:
    """The Deployment is read before the change, its ReplicaSets after it: revision 2 is gone, and no mark is seen."""
    seen = preview(world)

    def other_process() -> None:
        world.proxy.faults.set()
        other = open_cluster(world.home, world.proxy.url)
        assert isinstance(anyio.run(other.apply, seen.rollback, action(1)), Succeeded)
        world.server.set_of("2.3.1")["metadata"]["annotations"].pop("keyturn/actions")

    world.proxy.faults.set(Fault("GET", ".*/replicasets", Meanwhile(other_process)))
    assert isinstance(apply(world, seen), Succeeded)
    assert world.server.rollouts == ["2.3.1"]


def test_an_object_that_never_stops_changing_is_given_up_without_effect(world: ClusterWorld) -> None:
    seen = preview(world)
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, Meanwhile(world.server.touch), nth=0))
    with pytest.raises(ConnectorError, match=r"kept changing.*nothing was done") as refusal:
        apply(world, seen)
    assert (refusal.value.kind, world.live()) == ("retry", "2.4.0")
    with pytest.raises(ConnectorError, match="it keeps changing while it is planned on"):
        preview(world)
    assert isinstance(probe(world, seen), CannotTell)


def test_an_objection_is_heard_before_anything_is_changed(world: ClusterWorld) -> None:
    seen, heard = preview(world), list[Preview]()

    def objection(now: Preview) -> str:
        heard.append(now)
        return "not that"

    assert apply(world, seen, action(1), objection) == Failed("not that")
    assert (heard[0].diff, heard[0].source, heard[0].notes) == (seen.diff, seen.source, seen.notes)
    assert (world.live(), patches(world)) == ("2.4.0", [])


def test_another_deployment_than_the_reviewed_one_is_never_touched(world: ClusterWorld) -> None:
    rollback = replace(preview(world).rollback, location="https://elsewhere.test/x")
    assert anyio.run(world.port.apply, rollback, action(1)) == Stale(("backend",))
    assert isinstance(anyio.run(world.port.probe, rollback, action(1)), CannotTell)
    own = replace(rollback, location=world.port.backend("staging").location)
    assert isinstance(anyio.run(world.port.apply, own, action(1)), Succeeded)


def test_a_rollback_that_says_another_revision_than_was_reviewed_is_stale(world: ClusterWorld) -> None:
    rollback = preview(world).rollback
    assert anyio.run(world.port.apply, replace(rollback, target="1"), action(1)) == Stale(("manifest", "target"))
    assert anyio.run(world.port.apply, replace(rollback, current="1"), action(1)) == Stale(("current",))
    assert world.live() == "2.4.0"


# Health


def test_a_rollout_is_waited_for_and_told_of_as_it_goes(world: ClusterWorld) -> None:
    seen, told = preview(world), list[str]()
    world.server.health = "steps"
    ref = ActionRef(action=action(1).action, principal="claude", progress=told.append)
    outcome = apply(world, seen, ref)
    assert isinstance(outcome, Succeeded)
    assert outcome.result["health"] == "passed"
    assert outcome.result["replicas"] == {"wanted": 6, "updated": 6, "available": 6}
    assert outcome.result["images"] == {"web": "registry.example/shop/web:2.3.1"}
    assert "3 of 6 replicas are replaced" in told
    assert len(told) == len(set(told))


def test_a_rollout_that_gets_nowhere_has_failed_with_an_effect(world: ClusterWorld) -> None:
    seen = preview(world)
    world.server.health = "failed"
    outcome = apply(world, seen)
    assert isinstance(outcome, Failed)
    assert outcome.effect
    assert 'ReplicaSet "web-2" has timed out progressing' in outcome.reason
    assert (world.live(), outcome.result["current"]) == ("2.3.1", "4")
    again = probe(world, seen)
    assert isinstance(again, Happened)
    assert "timed out" in str(again.shortfall)
    assert str(snapshot(world).health).startswith("failed: ")


def test_the_failure_of_the_rollout_before_is_not_taken_for_the_new_ones(world: ClusterWorld) -> None:
    with world.server.lock:
        world.server.condition("ProgressDeadlineExceeded", "the old one", "2026-11-21T09:00:00Z")
        world.server.deployment["status"] |= {"availableReplicas": 0}
    seen = preview(world)
    world.server.health = "steps"
    outcome = apply(world, seen)
    assert isinstance(outcome, Succeeded)


def test_a_rollout_is_waited_for_no_longer_than_its_bound(world: ClusterWorld) -> None:
    seen = preview(world)
    world.server.health = "stuck"
    port = open_cluster(world.home, world.proxy.url, health_timeout="1s")
    outcome = anyio.run(port.apply, seen.rollback, action(1))
    assert isinstance(outcome, Failed)
    assert (outcome.effect, "within 1 s: 0 of 6 replicas" in outcome.reason) == (True, True)
    settled = probe(world, seen)
    assert isinstance(settled, Happened)
    assert settled.shortfall == "revision 2 was put back and is still being rolled out: 0 of 6 replicas are replaced"


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        (lambda world: world.move("2.2.0"), "revision 5 is live instead"),
        (lambda world: setattr(world.server, "deployment", {}), "the Deployment was deleted meanwhile"),
    ],
)
def test_what_happens_to_it_during_its_rollout_is_said(
    world: ClusterWorld, meanwhile: Callable[[ClusterWorld], object], said: str
) -> None:
    seen = preview(world)
    world.server.health = "stuck"

    def first_news(_: str) -> None:
        meanwhile(world)

    ref = ActionRef(action=action(1).action, principal="claude", progress=first_news)
    outcome = apply(world, seen, ref)
    assert isinstance(outcome, Failed)
    assert (outcome.effect, said in outcome.reason) == (True, True)


def test_a_deployment_that_is_deleted_right_after_the_change_leaves_it_unknown(world: ClusterWorld) -> None:
    seen = preview(world)

    def delete() -> None:
        world.server.deployment = {}

    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, Meanwhile(delete, after=True), nth=2))
    assert isinstance(apply(world, seen), Unknown)
    assert isinstance(probe(world, seen), CannotTell)


# Marks, fences and what takes them away


def test_marks_survive_others_undoing_by_hand(world: ClusterWorld) -> None:
    """kubectl puts a ReplicaSet's annotations in the place of the Deployment's; the mark is on the other set then."""
    seen = preview(world)
    apply(world, seen)
    with world.server.lock:
        notes = dict(world.server.set_of("2.2.0")["metadata"]["annotations"])
    notes.pop("deployment.kubernetes.io/revision")
    world.server.annotate(notes, replace=True)
    world.move("2.2.0")
    assert world.switches_of(action(1)) == 0
    assert isinstance(apply(world, seen), Failed)
    found = probe(world, seen)
    assert isinstance(found, Happened)
    assert "is live instead" in str(found.shortfall)


def test_a_revision_that_somebody_put_back_leaves_a_lost_mark_open(world: ClusterWorld) -> None:
    seen = preview(world)
    world.move("2.3.1")
    found = probe(world, seen)
    assert isinstance(found, CannotTell)
    assert "nothing tells by whom" in found.reason
    assert world.server.marks("keyturn/fences") == []


def test_a_revision_that_another_action_put_back_is_explained_by_its_mark(world: ClusterWorld) -> None:
    seen = preview(world)
    apply(world, seen, action(2))
    assert isinstance(probe(world, seen, action(1)), CannotHappen)


def test_a_deployment_made_anew_tells_nothing_of_what_was_done_to_the_old_one(world: ClusterWorld) -> None:
    seen = preview(world)
    apply(world, seen)
    world.replaced()
    assert isinstance(probe(world, seen), CannotTell)
    world.server.deployment = {}
    found = probe(world, seen)
    assert isinstance(found, CannotTell)
    assert "audit log" in found.reason


def test_later_actions_do_not_hide_earlier_ones_and_the_oldest_are_not_taken_for_undone(world: ClusterWorld) -> None:
    for number in range(1, NEWEST + 3):
        seen = preview(world, "previous")
        assert isinstance(apply(world, seen, action(number)), Succeeded)
    assert len(world.server.marks("keyturn/actions")) == NEWEST
    assert isinstance(probe(world, seen, action(1)), CannotTell)
    assert isinstance(apply(world, seen, action(1)), Unknown)
    assert isinstance(probe(world, seen, action(3)), Happened)
    assert isinstance(probe(world, seen, action(NEWEST + 9)), CannotHappen)


def test_fences_are_kept_as_marks_are(world: ClusterWorld) -> None:
    seen = preview(world)
    for number in range(1, NEWEST + 3):
        assert isinstance(probe(world, seen, action(number)), CannotHappen)
    assert len(world.server.marks("keyturn/fences")) == NEWEST
    assert isinstance(apply(world, seen, action(1)), Unknown)
    assert apply(world, seen, action(3)) == Failed("a fence that an earlier probe wrote keeps it from being done")
    assert isinstance(apply(world, seen, action(NEWEST + 9)), Succeeded)
    assert isinstance(apply(world, preview(world, "previous"), action(4)), Failed)


@pytest.mark.parametrize("name", ["keyturn/actions", "keyturn/fences"])
@pytest.mark.parametrize("text", ["", "[]", "{", '{"newest":[1],"before":""}', '{"newest":[],"before":"x"}'])
def test_a_mark_that_nobody_of_ours_wrote_settles_nothing(world: ClusterWorld, name: str, text: str) -> None:
    seen = preview(world)
    world.server.annotate({name: text})
    with pytest.raises(ConnectorError, match=f"the annotation {name} is not as Keyturn wrote it"):
        apply(world, seen)
    assert isinstance(probe(world, seen), CannotTell)
    assert world.live() == "2.4.0"


def test_a_fence_meets_a_patch_that_is_under_way_and_the_patch_fails(world: ClusterWorld) -> None:
    """The one that was slow is told that it was fenced; nothing was changed."""
    seen, gate = preview(world), Gate()
    world.proxy.faults.set(Fault("PATCH", DEPLOYMENT, Hold(gate), nth=2))

    async def both() -> tuple[object, object]:
        ended: list[object] = []
        async with anyio.create_task_group() as tasks:

            async def slow() -> None:
                ended.append(await open_cluster(world.home, world.proxy.url).apply(seen.rollback, action(1)))

            tasks.start_soon(slow)
            await anyio.to_thread.run_sync(gate.wait)
            other = open_cluster(make_home(world), world.proxy.url)
            fenced = await other.probe(seen.rollback, action(1))
            gate.open()
        return fenced, ended[0]

    fenced, ended = anyio.run(both)
    assert isinstance(fenced, CannotHappen)
    assert ended == Failed("a fence that an earlier probe wrote keeps it from being done")
    assert (world.live(), world.switches_of(action(1))) == ("2.4.0", 0)


def make_home(world: ClusterWorld) -> Path:
    """A second home, whose queue of changes is another: two hosts."""
    home = world.home / "other"
    home.mkdir()
    (home / "token").write_bytes((world.home / "token").read_bytes())
    (home / "token").chmod(0o600)
    return home


# Settings


def test_the_identity_is_the_address_of_the_deployment(world: ClusterWorld) -> None:
    backend = world.port.backend("staging")
    assert (backend.port, backend.name, backend.kind) == ("deployments", "web", "kubernetes")
    assert backend.location == f"{world.proxy.url}/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"environments": {}}, "at least 1 item"),
        ({"environments": {"a/b": {"namespace": "shop", "deployment": "web"}}}, "is not a name"),
        ({"environments": {"a": {"deployment": "web"}}}, "a needs a namespace"),
        ({"environments": {"a": {"namespace": "Shop", "deployment": "web"}}}, "should match pattern"),
        ({"environments": {"a": {"namespace": "shop", "deployment": "../web"}}}, "should match pattern"),
        (
            {"environments": {"a": {"namespace": "shop", "deployment": "web", "kubeconfig": "x", "url": "y"}}},
            "give one of",
        ),
        ({"environments": {"a": "web"}}, "valid dictionary"),
        ({"environments": [1]}, "valid dictionary"),
        ({"health_timeout": "2h"}, "at most 3600 s"),
        ({"health_timeout": "soon"}, "is not a duration"),
        ({"credential": None}, "url needs credential"),
        ({"credential": "hunter2"}, "must be env:NAME"),
        ({"context": "x"}, "context goes with kubeconfig alone"),
        ({"insecure": True}, "Extra inputs are not permitted"),
    ],
)
def test_settings_name_what_is_wrong(world: ClusterWorld, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        open_cluster(world.home, world.proxy.url, **settings)


def test_an_environment_may_lie_in_a_cluster_of_its_own(tmp_path: Path) -> None:
    port = open_cluster(
        tmp_path,
        "https://one.example",
        environments={
            "staging": {"namespace": "shop", "deployment": "web"},
            "production": {
                "namespace": "shop",
                "deployment": "web",
                "url": "https://two.example/",
                "credential": "env:TWO",
            },
        },
    )
    assert port.environments == ("staging", "production")
    assert port.backend("production").location.startswith("https://two.example/apis/")


def test_two_environments_that_are_one_deployment_are_a_configuration_error(tmp_path: Path) -> None:
    same = {"namespace": "shop", "deployment": "web"}
    with pytest.raises(ConfigurationError, match=r"environments\.b: is the same Deployment as \"a\""):
        open_cluster(tmp_path, "https://one.example", environments={"a": same, "b": same})
