"""`[policy]`: what may be asked of whoever signs for the next policy."""

from __future__ import annotations

import pytest

from keyturn.canon import digest
from keyturn.log.kinds import KINDS, wrong_fields
from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, read_policy
from keyturn.policy.guard import asks_for_endorsements, guard_facts
from tests.policy.world import key

WORLD = f"""version = 1
[reviewers.alice]
keys = ["{key("alice")}"]
groups = ["sre"]
[reviewers.carol]
keys = ["{key("carol")}"]
groups = ["sre"]
[reviewers.keyless]
keys = []
groups = ["sre"]
"""


def read(section: str) -> Policy:
    return read_policy({"policy.toml": WORLD.replace("keys = []\n", f'keys = ["{key("dave")}"]\n') + section}, {})


def test_people_are_asked_by_name_and_group_and_stand_sorted_each_once() -> None:
    guard = read('[policy]\napproval = { quorum = 2, from = ["group:sre", "carol"] }').guard
    assert guard is not None
    assert (guard.quorum, guard.sources) == (2, ("group:sre", "carol"))
    assert guard.reviewers == ("alice", "carol", "keyless")


def test_nothing_is_asked_unless_the_policy_says_so() -> None:
    assert read("").guard is None
    assert not asks_for_endorsements(WORLD)
    assert asks_for_endorsements(f'{WORLD}[policy]\napproval = {{ quorum = 1, from = ["alice"] }}')


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("[policy]", "policy.approval: is missing"),
        ("policy = 1", "policy: must be a table"),
        ('[policy]\napproval = { quorum = 1, from = ["alice"] }\nmode = "x"', 'policy.mode: unknown key "mode"'),
        (
            '[policy]\napproval = { quorum = 0, from = ["alice"] }',
            "policy.approval.quorum: must be an integer from 1",
        ),
        ('[policy]\napproval = { from = ["alice"] }', "policy.approval.quorum: is missing"),
        ("[policy]\napproval = { quorum = 1 }", "policy.approval.from: is missing"),
        (
            '[policy]\napproval = { quorum = 1, from = ["alise"] }',
            'there is no reviewer "alise" (did you mean "alice"?)',
        ),
        ('[policy]\napproval = { quorum = 1, from = ["group:ops"] }', 'no reviewer is in "group:ops"'),
        (
            '[policy]\napproval = { quorum = 3, from = ["alice", "carol"] }',
            "but only 2 can: no policy could ever follow",
        ),
        (
            '[policy]\napproval = { quorum = 1, from = ["alice"], expires = "1h" }',
            "policy.approval.expires: unknown key",
        ),
    ],
)
def test_what_could_never_be_met_or_means_nothing_is_refused(section: str, said: str) -> None:
    section = section if section.startswith("[") else ""
    text = WORLD.replace("version = 1\n", "version = 1\npolicy = 1\n") if not section else WORLD + section
    with pytest.raises(ConfigurationError) as caught:
        read_policy({"policy.toml": text.replace("keys = []\n", f'keys = ["{key("dave")}"]\n')}, {})
    assert any(said in line for line in caught.value.problems), caught.value.problems


def test_the_entry_beside_an_activation_says_what_the_policy_asks() -> None:
    policy = read('[policy]\napproval = { quorum = 2, from = ["group:sre"] }')
    assert policy.guard is not None
    facts = guard_facts(policy, policy.guard)
    assert wrong_fields(facts, KINDS["policy.guarded"]) is None
    assert digest(facts) == digest(guard_facts(policy, policy.guard))
