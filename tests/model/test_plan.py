"""Plans as payloads: what is written is what is executed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.canon import Json
from keyturn.model.plan import Backend, Effects, Inverse, Plan, plan_from_json
from keyturn.model.tool import ActionRef

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers(-canon.MAX_INTEGER, canon.MAX_INTEGER) | texts
values: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
objects = st.dictionaries(names, values, max_size=3)
plans = st.builds(
    Plan,
    tool=names,
    target=texts,
    backend=st.builds(Backend, port=names, name=names, kind=names, location=texts, account=texts),
    summary=texts,
    environment=st.none() | names,
    diff=texts,
    effects=st.builds(
        Effects,
        files_changed=st.integers(0, 9),
        lines_changed=st.integers(0, 9),
        recipients=st.integers(0, 9),
    ),
    view=objects,
    facts=objects,
    guard=objects,
    change=objects,
    inverse=st.none() | st.builds(Inverse, summary=texts, tool=st.none() | names, arguments=objects),
)


@given(plans)
def test_a_plan_comes_back_from_its_payload_as_it_was(plan: Plan) -> None:
    payload = canon.decode_object(canon.encode(plan.to_json()))
    assert plan_from_json(payload, plan.diff) == plan


@given(plans)
def test_the_diff_is_a_payload_of_its_own(plan: Plan) -> None:
    assert "diff" not in plan.to_json()


def test_a_plan_says_nothing_it_was_not_told() -> None:
    plan = Plan(
        tool="t", target="p:n/o", backend=Backend(port="p", name="n", kind="k", location="/srv"), summary="does it"
    )
    assert plan.to_json() == {
        "tool": "t",
        "target": "p:n/o",
        "backend": {"port": "p", "name": "n", "kind": "k", "location": "/srv", "account": ""},
        "summary": "does it",
        "environment": None,
        "effects": {"files_changed": 0, "lines_changed": 0, "recipients": 0},
        "view": {},
        "facts": {},
        "guard": {},
        "change": {},
        "inverse": None,
    }


def test_every_back_end_leaves_the_same_marker_for_an_action() -> None:
    assert ActionRef(action="0198", principal="claude").marker == "keyturn/0198"
