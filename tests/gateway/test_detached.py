"""A request carried to another machine, its review carried back: nothing changed on the way passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn.assembly.outside import entropy
from keyturn.gateway.detached import (
    MAX_FILE,
    Said,
    draft_detached,
    export_request,
    read_request,
    read_signed,
    write_signed,
)
from keyturn.gateway.review import ReviewDraft, submit_review
from keyturn.gateway.show import Asked, Shown, show
from keyturn.model.errors import Refused
from tests.gateway.world import World

Change = Callable[[dict[str, Any]], object]


def exported(world: World, action: str) -> bytes:
    return world.gate.ledger.look(lambda view: export_request(view, action))


def drafted(world: World, asked: Asked, **changes: Any) -> ReviewDraft:
    at = changes.pop("at", world.clock().wall)
    said = Said(**{"reviewer": "alice", "verdict": "approve", "reason": "from afar", **changes})
    return draft_detached(asked, said, salt=entropy(32), at=at)


def test_what_is_shown_away_is_what_is_shown_at_home(world: World) -> None:
    action = world.held(reason="p95 is up")
    asked = read_request(exported(world, action))
    at_home = world.gate.ledger.look(lambda view: show(view, action))
    assert isinstance(at_home, Shown)
    assert asked.action.digest == at_home.action.digest
    assert (asked.plan, asked.arguments, asked.reason) == (
        at_home.asked.plan,
        at_home.asked.arguments,
        at_home.asked.reason,
    )


def test_a_review_signed_away_counts_at_home(world: World) -> None:
    action = world.held()
    draft = drafted(world, read_request(exported(world, action)))
    back, signature = read_signed(write_signed(draft, world.sign(draft.to_sign, "alice")))
    assert back == draft
    assert submit_review(world.gate, back, signature).status == "approved"


def test_a_review_of_another_log_does_not_count(world: World) -> None:
    action = world.held()
    asked = read_request(exported(world, action))
    draft = drafted(world, asked)
    other = json.loads(write_signed(draft, b""))
    other["statement"]["log"] = "keyturn/" + "0" * 32
    foreign, _ = read_signed(json.dumps(other).encode())
    with pytest.raises(Refused, match="signed for another log"):
        submit_review(world.gate, foreign, world.sign(foreign.to_sign, "alice"))


def test_a_clock_far_ahead_is_told(world: World) -> None:
    action = world.held()
    draft = drafted(world, read_request(exported(world, action)), at=world.clock().wall + timedelta(hours=1))
    with pytest.raises(Refused, match="five minutes ahead"):
        submit_review(world.gate, draft, world.sign(draft.to_sign, "alice"))


def test_a_pinned_digest_holds_away_too(world: World) -> None:
    asked = read_request(exported(world, world.held()))
    with pytest.raises(Refused) as refused:
        drafted(world, asked, digest_prefix="0" * 12)
    assert refused.value.code == "other_digest"
    with pytest.raises(Refused, match="needs a reason"):
        drafted(world, asked, verdict="reject", reason=" ")


def test_an_unknown_action_cannot_be_exported(world: World) -> None:
    with pytest.raises(Refused) as refused:
        exported(world, "01a1fde9-50d4-78f3-be6f-a6d24f1ffcaa")
    assert refused.value.code == "not_found"


def _flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[-2] ^= 1
    return base64.b64encode(data).decode()


def _flip_in(*path: str) -> Change:
    def change(value: dict[str, Any]) -> None:
        for name in path[:-1]:
            value = value[name]
        value[path[-1]] = _flip(value[path[-1]])

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    "plan": (_flip_in("payloads", "plan", "data"), "payloads.plan is not what the entry committed to"),
    "diff": (_flip_in("payloads", "diff", "data"), "payloads.diff is not what the entry committed to"),
    "salt": (_flip_in("payloads", "reason", "salt"), "payloads.reason is not what the entry committed to"),
    "short salt": (lambda v: v["payloads"]["reason"].update(salt=""), "payloads.reason is not what"),
    "left out": (lambda v: v["payloads"].pop("diff"), "the entry commits to"),
    "put in": (lambda v: v["payloads"].update(more={}), "the entry commits to"),
    "no payloads": (lambda v: v.update(payloads=[]), "payloads: there are none"),
    "no salt": (lambda v: v["payloads"]["diff"].pop("salt"), "payloads.diff is not a salt with its data"),
    "more beside": (lambda v: v["payloads"]["diff"].update(x=1), "payloads.diff is not a salt with its data"),
    "not base64": (lambda v: v["payloads"]["diff"].update(data="?"), "payloads.diff.data is not base64"),
    "a number": (lambda v: v["payloads"]["diff"].update(data=7), "payloads.diff.data is not base64"),
    "no entry": (lambda v: v.update(entry=None), "entry: payloadType"),
    "body": (_flip_in("entry", "payload"), "entry: "),
    "member": (lambda v: v.update(more=1), "the members are"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_request_changed_on_the_way_is_refused(world: World, name: str) -> None:
    change, expected = CHANGES[name]
    value = json.loads(exported(world, world.held()))
    change(value)
    with pytest.raises(Refused, match=expected) as refused:
        read_request(json.dumps(value).encode())
    assert refused.value.code == "bad_file"


def test_a_file_that_was_only_laid_out_anew_is_still_good(world: World) -> None:
    value = json.loads(exported(world, world.held()))
    assert read_request(json.dumps(value, indent=2).encode()).action.principal == "claude"


def test_an_entry_that_asks_for_nothing_is_refused(world: World) -> None:
    action = world.held()
    value = json.loads(exported(world, action))
    value["entry"] = world.entries("token.issued")[0].envelope.to_json()
    with pytest.raises(Refused, match=r"token\.issued asks for nothing"):
        read_request(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"[]", b"{}", b'{"type":"x"}', b"7", b'{"type":1.5}'])
@pytest.mark.parametrize("read", [read_request, read_signed])
def test_what_is_no_file_of_ours_is_a_usage_error(data: bytes, read: Callable[[bytes], object]) -> None:
    with pytest.raises(Refused, match="no file of the kind") as refused:
        read(data)
    assert refused.value.code == "usage"


def test_a_file_too_large_is_not_parsed() -> None:
    with pytest.raises(Refused, match="at most"):
        read_request(b" " * (MAX_FILE + 1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v["statement"].pop("verdict"), "statement: "),
        (lambda v: v.update(reason=7), "reason is not a text"),
        (lambda v: v.update(salt=None), "salt is not base64"),
        (lambda v: v.update(signature="?"), "signature is not base64"),
        (lambda v: v.pop("salt"), "the members are"),
    ],
)
def test_a_signed_review_of_another_form_is_refused(world: World, change: Change, expected: str) -> None:
    draft = drafted(world, read_request(exported(world, world.held())))
    value = json.loads(write_signed(draft, b"signature"))
    change(value)
    with pytest.raises(Refused, match=expected):
        read_signed(json.dumps(value).encode())
