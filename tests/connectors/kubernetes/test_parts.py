"""Owners, marks, health and objects, each by itself."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.deployments.kubernetes.health import health_of, told
from keyturn.connectors.deployments.kubernetes.marks import NEWEST, Mark, Marks, read_marks
from keyturn.connectors.deployments.kubernetes.objects import Live, deployment_in, digest_of, replica_sets_in
from keyturn.connectors.deployments.kubernetes.owners import instance_note, owner_of
from keyturn.model.errors import ConnectorError
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.apiserver import serving


def deployment(**parts: Any) -> dict[str, Any]:
    """Return a Deployment with members of metadata, spec and status changed (`spec__replicas=3`)."""
    made = copy.deepcopy(serving("1").deployment)
    for name, value in parts.items():
        part, _, member = name.partition("__")
        made[part][member] = value
    return made


def live(**parts: Any) -> Live:
    return deployment_in("web", deployment(**parts))


@pytest.mark.parametrize(
    ("parts", "owner", "refused"),
    [
        ({}, None, False),
        (
            {"metadata__annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}},
            "Argo CD application shop",
            True,
        ),
        ({"metadata__labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD application shop", True),
        ({"metadata__managedFields": [{"manager": "argocd-controller"}]}, "Argo CD", True),
        (
            {
                "metadata__managedFields": [{"manager": "argocd-controller"}],
                "metadata__labels": {"app.kubernetes.io/instance": "shop"},
            },
            "Argo CD application shop",
            True,
        ),
        ({"metadata__labels": {"app.kubernetes.io/instance": "shop"}}, None, False),
        (
            {"metadata__labels": {"app.kubernetes.io/instance": "shop"}, "metadata__managedFields": None},
            "Argo CD application shop",
            True,
        ),
        (
            {"metadata__labels": {"helm.toolkit.fluxcd.io/name": "a", "helm.toolkit.fluxcd.io/namespace": "b"}},
            "Flux HelmRelease b/a",
            True,
        ),
        ({"metadata__managedFields": [{"manager": "kustomize-controller"}]}, "Flux Kustomization", True),
        (
            {"metadata__labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"}},
            "Helm",
            False,
        ),
        (
            {
                "metadata__annotations": {"meta.helm.sh/release-name": "shop"},
                "metadata__labels": {"app.kubernetes.io/instance": "shop"},
                "metadata__managedFields": None,
            },
            "Helm release shop",
            False,
        ),
        (
            {"metadata__ownerReferences": [{"kind": "Shop", "name": "x", "uid": "1", "controller": True}]},
            "Shop/x",
            False,
        ),
    ],
)
def test_who_else_manages_a_deployment_is_told_by_what_they_leave_on_it(
    parts: dict[str, Any], owner: str | None, refused: bool
) -> None:
    found = owner_of(live(**parts))
    assert (found.name if found else None) == owner
    assert bool(found and found.advice) == refused


def test_a_label_that_older_argo_cd_goes_by_is_noted_where_nothing_else_speaks_for_it() -> None:
    note = instance_note(live(metadata__labels={"app.kubernetes.io/instance": "shop"}))
    assert note is not None
    assert "which Argo CD before 3.0 goes by" in note
    assert instance_note(live(metadata__labels={"argocd.argoproj.io/instance": "shop"})) is None


_ids = st.integers(1, 200).map(lambda number: action(number).action)
_marks = st.builds(Mark, action=_ids, old=st.just("3"), to=st.just("2"), by=st.text(max_size=8), spoken=st.just(""))


@given(st.lists(_marks, max_size=60, unique_by=lambda mark: mark.action), st.lists(_ids, max_size=60))
def test_marks_read_back_as_they_were_written_and_forget_only_the_oldest(done: list[Mark], fenced: list[str]) -> None:
    marks = Marks()
    for mark in done:
        marks = marks.with_done(mark)
    for one in fenced:
        marks = marks.with_fence(one)
    assert read_marks("x", [marks.written()]) == marks
    assert len(marks.done) <= NEWEST
    for mark in done:
        assert marks.of(mark.action) == mark or marks.forgotten(mark.action)
    for one in fenced:
        assert one in marks.fenced or marks.forgotten(one)


@given(st.lists(_marks, max_size=30, unique_by=lambda mark: mark.action), st.integers(0, 30))
def test_the_marks_of_several_objects_count_together(done: list[Mark], place: int) -> None:
    sides = [Marks(), Marks()]
    for number, mark in enumerate(done):
        sides[number < place] = sides[number < place].with_done(mark)
    both = read_marks("x", [side.written() for side in sides])
    assert {mark.action for mark in both.done} == {mark.action for mark in done}


def test_an_id_that_is_none_is_never_written() -> None:
    with pytest.raises(ConnectorError, match="is not as Keyturn wrote it"):
        read_marks("x", [{"keyturn/fences": '{"newest":["no id"],"before":""}'}])
    with pytest.raises(ConnectorError, match="is not as Keyturn wrote it"):
        read_marks("x", [{"keyturn/actions": f'{{"newest":[{{"id":"{action(1).action}"}}],"before":""}}'}])


@pytest.mark.parametrize(
    ("parts", "state", "words"),
    [
        ({}, "passed", "6 of 6 replicas are available"),
        ({"metadata__generation": 9}, "waiting", "the cluster has not taken up the change yet"),
        ({"status__updatedReplicas": 2}, "waiting", "2 of 6 replicas are replaced"),
        ({"status__replicas": 8}, "waiting", "2 old replicas have not ended yet"),
        ({"status__availableReplicas": 3}, "waiting", "3 of 6 replicas are available"),
        (
            {
                "spec__replicas": None,
                "status__replicas": 1,
                "status__updatedReplicas": 1,
                "status__availableReplicas": 1,
            },
            "passed",
            "1 of 1 replicas are available",
        ),
        (
            {
                "spec__replicas": 0,
                "status__replicas": 0,
                "status__updatedReplicas": 0,
                "status__availableReplicas": 0,
            },
            "passed",
            "0 of 0 replicas are available",
        ),
    ],
)
def test_a_rollout_is_judged_as_kubectl_rollout_status_does(parts: dict[str, Any], state: str, words: str) -> None:
    found = health_of(live(**parts))
    assert (found.state, found.words) == (state, words)


def test_a_controller_that_gave_up_is_believed_unless_that_was_about_the_rollout_before() -> None:
    said = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "", "lastUpdateTime": "then"}
    given_up = live(status__conditions=[said], status__availableReplicas=1)
    assert (health_of(given_up).state, health_of(given_up, "then").state) == ("failed", "waiting")
    assert told(given_up) == "failed: it made no progress within its deadline"
    assert health_of(live(status__conditions=[said])).state == "passed"
    assert told(live(spec__paused=True)) == "its rollout is paused"


def test_a_selector_is_asked_for_as_it_is_written_in_a_query() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
        {"key": "x", "operator": "NotIn", "values": ["y"]},
    ]
    found = live(spec__selector={"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions})
    assert found.selector == "a=1,b=2,tier in (a,b),!old,new,x notin (y)"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made.pop("metadata"), "is no Deployment (metadata: Field required)"),
        (lambda made: made["metadata"].pop("uid"), "is no Deployment (metadata.uid: Field required)"),
        (lambda made: made["spec"].update(template=[]), "is no Deployment (spec.template"),
        (lambda made: made["spec"]["template"].update(metadata="canary"), "is no Deployment (spec.template: "),
        (lambda made: made["spec"]["template"]["metadata"].update(labels=["canary"]), "its metadata, and the labels"),
        (lambda made: made["spec"]["template"].update(json.loads('{"x":' * 700 + "1" + "}" * 700)), "nested deeper"),
        (lambda made: made["spec"].update(selector={}), "the Deployment's selector is empty"),
        (
            lambda made: made["spec"]["selector"].update(matchExpressions=[{"key": "a", "operator": "Near"}]),
            "an unknown operator for 'a'",
        ),
    ],
)
def test_what_is_no_deployment_is_refused_by_the_name_of_what_is_missing(change: Any, said: str) -> None:
    made = deployment()
    change(made)
    with pytest.raises(ConnectorError) as refusal:
        deployment_in("web", made)
    assert said in str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_what_is_no_replica_set_is_refused_and_one_without_a_revision_left_out() -> None:
    server = serving("1", "2")
    uid = server.deployment["metadata"]["uid"]
    server.sets[0]["metadata"]["annotations"] = None
    assert [one.revision for one in replica_sets_in("web", list(server.sets), uid)] == [2]
    with pytest.raises(ConnectorError, match=r"holds no ReplicaSet \(metadata"):
        replica_sets_in("web", [{}], uid)


def test_a_member_that_is_null_counts_as_absent() -> None:
    assert digest_of({"a": [{"b": None}]}) == digest_of({"a": [{}]})
    assert digest_of({"a": []}) != digest_of({})
