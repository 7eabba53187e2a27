"""The policy in force: what puts one in force, what does not, and who notices."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from keyturn import canon
from keyturn.assembly.build import check_consent, open_gateway
from keyturn.gateway.acts import (
    ActDraft,
    TokenGrant,
    draft_activation,
    draft_token,
    read_candidate,
    revoke_token,
    submit_act,
)
from keyturn.gateway.call import call
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import ContractsMoved
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.review import Actor
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from tests.gateway.hands import read_call, submit
from tests.gateway.world import PULL_REQUEST, World

LESS = ('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]')


def refused(world: World, draft: ActDraft, who: str) -> str:
    size = len(world.entries())
    with pytest.raises(Refused) as caught:
        world.act(draft, who)
    assert len(world.entries()) == size
    return caught.value.code


def test_a_policy_edited_on_disk_changes_nothing_until_it_is_activated(world: World) -> None:
    draft = world.draft_policy(LESS)
    assert all(world.comment(f"{n}").envelope["status"] == "succeeded" for n in range(2))
    assert world.act(draft).kind == "policy.activated"
    assert world.comment("3").envelope["status"] == "denied"


@pytest.mark.parametrize(("by", "who"), [("mallory", "mallory"), ("alice", "mallory"), ("alice", "carol")])
def test_an_activation_signed_by_nobody_the_policy_in_force_lists_is_refused(world: World, by: str, who: str) -> None:
    """Even when the candidate itself lists the signer."""
    line = f'[reviewers.mallory]\nkeys = ["{world.keys["mallory"].with_suffix(".pub").read_text().strip()}"]\n'
    draft = world.draft_policy(LESS, ("[reviewers.alice]", f"{line}\n[reviewers.alice]"), by=by)
    assert refused(world, draft, who) == "not_a_reviewer"


def test_an_old_activation_cannot_be_replayed(world: World) -> None:
    loose = world.draft_policy(LESS)
    signature = world.sign(loose.to_sign, "alice", "keyturn.act.v1")
    submit_act(world.gate.ledger, loose, signature)
    world.activate((LESS[1], LESS[0]))
    with pytest.raises(Refused) as caught:
        submit_act(world.gate.ledger, loose, signature)
    assert caught.value.code == "superseded"


def test_what_is_in_force_already_is_not_activated_again(world: World) -> None:
    with pytest.raises(Refused) as caught:
        world.draft_policy()
    assert caught.value.code == "already_in_force"


def test_a_signature_over_another_policy_activates_nothing(world: World) -> None:
    draft = world.draft_policy(LESS)
    other = replace(draft, statement=replace(draft.statement, digest="sha256:" + "0" * 64))
    size = len(world.entries())
    with pytest.raises(LedgerError, match="refused to append"):
        world.act(other)
    assert len(world.entries()) == size


def test_a_running_gateway_takes_up_a_new_policy_in_its_next_transaction(world: World) -> None:
    running = world.open()
    incoming = Incoming("update_ticket", {"ticket": "OPS-1", "comment": "Hello."}, 40)
    asked = read_call(running, world.caller(), running.catalog.contracts["update_ticket"], incoming)
    assert isinstance(asked, Call)
    world.activate(('where = { "arguments.status" = { exists = false } }', 'where = { "arguments.comment" = "no" }'))
    answer = anyio.run(submit, running, asked)
    assert answer.envelope["status"] == "denied"
    running.ledger.close()


def test_a_process_whose_contracts_are_not_the_published_ones_decides_nothing(world: World) -> None:
    path = world.home.schemas / "get_ticket.v1.json"
    text = path.read_text()
    path.write_text(text.replace('"description": "', '"description": "New: ', 1))
    changed = open_gateway(world.home, "changed")
    with pytest.raises(ConfigurationError) as caught:
        check_consent(changed)
    assert caught.value.problems[0].startswith("tool_schemas/get_ticket: ")
    assert "keyturn policy activate" in caught.value.problems[-1]
    with pytest.raises(ContractsMoved):
        authenticate(changed, world.tokens["claude"], transport="stdio")
    # Published with a policy that pins them, it is the old process that may not go on.
    old = world.gate.catalog.contracts["get_ticket"].label
    new = changed.catalog.contracts["get_ticket"].label
    before, world.gate = world.gate, changed
    world.activate((old, new))
    check_consent(changed)
    with pytest.raises(ContractsMoved):
        before.ledger.look(before.policies.in_force)
    before.ledger.close()


def test_a_pin_that_is_not_the_contracts_is_refused_with_its_place(world: World) -> None:
    label = world.gate.catalog.contracts["get_ticket"].label
    with pytest.raises(ConfigurationError, match=r"grants\[7\]"):
        world.draft_policy((label, label[:-1] + ("0" if label[-1] != "0" else "1")))


def test_a_shadow_grant_records_what_would_have_been_and_does_nothing(world: World) -> None:
    world.activate(('id = "assistants comment on tickets"', 'id = "assistants comment on tickets"\nmode = "shadow"'))
    answer = world.comment("Hello.")
    assert (answer.is_error, answer.envelope["status"], answer.envelope["terminal"]) == (False, "shadowed", True)
    assert world.kinds()[-2:] == ["action.requested", "execution.finished"]
    assert "Hello." not in world.ticket
    world.drain()
    assert world.entries("execution.started") == []
    assert world.status(str(answer.envelope["action_id"])) == "shadowed"
    assert world.comment("Hello.").envelope["repeated"] is False


def test_an_action_held_under_the_old_policy_still_takes_its_reviews(world: World) -> None:
    action = world.held()
    world.activate(LESS)
    world.approve(action)
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.held(title="Another") != action


def grant(world: World, **changes: object) -> TokenGrant:
    expires = world.gate.ledger.look(lambda view: view.now).replace(year=2100)
    made = TokenGrant(
        token="sha256:" + "a" * 64, principal="claude", transports=("stdio",), scopes=None, expires_at=expires
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_token_is_issued_by_a_signed_act_and_revoked_by_an_account(world: World) -> None:
    secret = "kt_secret"
    made = grant(world, token=canon.sha256(secret.encode()), scopes=("ticket:read",))
    world.act(draft_token(world.gate.ledger, world.gate.policies, made, "alice"))
    caller = authenticate(world.gate, secret, transport="stdio")
    assert (caller.principal, caller.scopes) == ("claude", frozenset({"ticket:read"}))
    assert world.gate.ledger.look(lambda view: view.state.tokens[caller.token].expires_at) == made.expires_at
    with pytest.raises(Refused, match="not for http"):
        authenticate(world.gate, secret, transport="http")
    assert revoke_token(world.gate.ledger, made.token[7:15], Actor("account", "root")) == [made.token]
    with pytest.raises(Refused, match="revoked"):
        authenticate(world.gate, secret, transport="stdio")
    for nothing in ("", made.token[7:15], "nobody"):
        with pytest.raises(Refused):
            revoke_token(world.gate.ledger, nothing, Actor("account", "root"))


def test_a_token_that_is_unknown_expired_or_of_nobody_does_not_count(world: World) -> None:
    def code(token: str) -> str:
        with pytest.raises(Refused) as caught:
            authenticate(world.gate, token, transport="stdio")
        assert caught.value.code == "not_authenticated"
        return str(caught.value)

    assert "not known" in code("kt_wrong")
    assert "not known" in code("\udcff")
    world.activate(("[principals.codex]", "[principals.codes]"))
    assert "no principal" in code(world.tokens["codex"])
    world.clock.run(days=91)
    assert "expired" in code(world.tokens["claude"])


def test_a_token_that_falls_during_a_call_ends_the_call(world: World) -> None:
    """Authenticated before, revoked meanwhile: nothing is decided and no read leaves."""
    caller = world.caller()
    revoke_token(world.gate.ledger, "claude", Actor("account", "root"))
    for tool, arguments in (
        ("open_pull_request", PULL_REQUEST),
        ("get_ticket", {"ticket": "OPS-1"}),
    ):
        answer = anyio.run(call, world.gate, caller, Incoming(tool, arguments, 100))
        assert (answer.envelope["status"], answer.envelope["result"]) == ("denied", None)
        assert answer.envelope["reasons"] == [{"code": "token", "rule": None, "text": "the token was revoked"}]
    assert world.entries("action.requested") == world.entries("read.served") == []


def test_a_token_for_nobody_or_with_scopes_nobody_has_is_not_drafted(world: World) -> None:
    for changes, code in (({"principal": "nobody"}, "not_found"), ({"scopes": ("pr:nothing",)}, "usage")):
        with pytest.raises(Refused) as caught:
            draft_token(world.gate.ledger, world.gate.policies, grant(world, **changes), "alice")
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"policy.toml": "version = 1\n"}, "not the policy whose activation was signed"),
        ({"policy.toml": "x"}, "does not load"),
    ],
)
def test_a_text_that_is_not_the_signed_policy_is_never_decided_by(
    world: World, files: dict[str, str], why: str
) -> None:
    """Whoever has the entry key can put any text beside a signed digest."""
    world.draft_policy(LESS)
    candidate = read_candidate(world.home.policy_files(), world.gate.catalog)
    world.act(draft_activation(world.gate.ledger, replace(candidate, files=files), "alice"))
    for _ in range(2):
        with pytest.raises(LedgerError, match=why):
            world.gate.ledger.look(world.gate.policies.in_force)
