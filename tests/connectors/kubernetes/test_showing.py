"""What of a pod template is shown, and what is hidden."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.deployments.kubernetes.showing import difference

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----"
TEMPLATE: dict[str, Any] = {
    "metadata": {"annotations": {"vault.example/token": "canary-1", "team": "blue"}, "labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "shop:1",
                "args": ["--db-password=canary-2", "--token", "canary-3", "--verbose", "https://me:canary-4@host/x"],
                "command": ["sh", "-c", "export API_TOKEN=canary-5\nexec web"],
                "env": [
                    {"name": "MODE", "value": "canary-6"},
                    {"name": "DB", "valueFrom": {"secretKeyRef": {"name": "db-secret", "key": "password"}}},
                ],
                "envFrom": [{"secretRef": {"name": "all-secrets"}}],
                "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "canary-7"}]}},
            }
        ],
        "volumes": [
            {"name": "v", "csi": {"driver": "x", "volumeAttributes": {"secretKey": "canary-8", "size": "1Gi"}}}
        ],
        "initContainers": [{"name": "init", "image": "init:1", "args": [KEY]}],
    },
}


def changed(value: Any) -> Any:
    """Return the same with every text made another, but for names."""
    if isinstance(value, dict):
        return {name: item if name in ("name", "key") else changed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [
            item if isinstance(item, str) and item.startswith("--") and "=" not in item else changed(item)
            for item in value
        ]
    return value.replace("canary-", "canary-9") if isinstance(value, str) else value


def test_values_that_run_are_hidden_and_what_a_reviewer_needs_stays() -> None:
    whole = difference(TEMPLATE, {}).text
    assert "canary" not in whole
    assert "MHcCAQ" not in whole
    for shown in ("team: blue", "name: MODE", "name: db-secret", "key: password", "name: all-secrets", "size: 1Gi"):
        assert shown in whole
    assert "--db-password=<hidden>" in whole
    assert "https://<hidden>@host/x" in whole
    assert "    exec web" in whole


def test_both_sides_of_a_change_are_hidden_and_changed_is_told_from_same() -> None:
    diff = difference(TEMPLATE, changed(TEMPLATE)).text
    assert "canary" not in diff
    lines = [line for line in diff.splitlines() if line.startswith("+") and "hidden" in line]
    assert len(lines) == 8
    assert all("<hidden, changed>" in line for line in lines)
    assert "@@" not in difference(TEMPLATE, copy.deepcopy(TEMPLATE)).text


def test_what_is_the_same_under_its_name_is_said_to_be() -> None:
    other = copy.deepcopy(TEMPLATE)
    env = other["spec"]["containers"][0]["env"]
    env[0]["name"], env[1]["name"] = "MODE", "OTHER"
    diff = difference(TEMPLATE, other).text
    assert "       value: <hidden, same>\n-    - name: DB\n+    - name: OTHER\n" in diff


def test_items_that_move_in_a_list_are_compared_by_their_names() -> None:
    old = {"spec": {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}}
    new = {"spec": {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "other"}]}}
    added = [line for line in difference(old, new).text.splitlines() if line.startswith("+")]
    assert "+    value: <hidden, changed>" in added


def test_nothing_is_written_by_reference_and_long_texts_stand_on_their_lines() -> None:
    same = {"a": "b"}
    diff = difference({}, {"one": same, "two": same, "text": "first\nsecond\n", "gone": None}).text
    assert "&id" not in diff
    assert "+text: |\n+  first\n+  second\n" in diff
    assert "gone" not in diff


_names = st.text("abcxyz", min_size=1, max_size=5)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_names, _values, max_size=4), st.dictionaries(_names, _values, max_size=4))
def test_any_two_objects_have_a_diff_and_equal_ones_an_empty_one(old: Any, new: Any) -> None:
    assert difference(old, new).path == "deployment.yaml"
    assert "@@" not in difference(old, copy.deepcopy(old)).text


@given(st.text(st.characters(categories=("L", "N")), min_size=12, max_size=30), st.text(min_size=1, max_size=10))
def test_a_value_of_an_environment_variable_is_never_shown(value: str, image: str) -> None:
    old = {"spec": {"containers": [{"name": "a", "image": image, "env": [{"name": "X", "value": value}]}]}}
    assert value not in difference(old, {}).text.replace(image, "")


@pytest.mark.parametrize("text", ["yes", "1", "null", "a: b", "- x", "# no", "", "  lead", "über", "\u202e"])
def test_what_is_shown_reads_back_as_what_it_was(text: str) -> None:
    diff = difference({}, {"note": text, "count": 3})
    shown = "\n".join(
        line[1:] for line in diff.text.splitlines() if line.startswith("+") and not line.startswith("+++")
    )
    assert yaml.safe_load(shown) == {"note": text, "count": 3}


@pytest.mark.parametrize(
    ("old", "new"),
    [("A_TOKEN=1\nA_TOKEN=2\n", "A_TOKEN=2\nA_TOKEN=1\n"), ("a://u:p1@h b://u:p2@h", "a://u:p2@h b://u:p1@h")],
)
def test_hidden_values_that_change_places_are_seen_to_change(old: str, new: str) -> None:
    diff = difference({"args": [old]}, {"args": [new]})
    assert (diff.added, diff.removed) == (1, 1)
    assert "+- <hidden, changed>" in diff.text
