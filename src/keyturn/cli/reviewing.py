"""Saying yes or no: finding the actions, showing what is signed, signing it, and handing it in."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from keyturn.cli.files import read_bytes
from keyturn.cli.frame import Exit, exit_of, home_of, worst
from keyturn.cli.ids import full_id, short_in
from keyturn.cli.output import AsJson, Column, Row, emit, json_option, note, on_terminal, say
from keyturn.cli.rows import without
from keyturn.cli.running import runs_or_waits
from keyturn.cli.screen import plain
from keyturn.cli.sheet import Line, grouped, speak
from keyturn.cli.signer import Signer, signer_of, signer_options
from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.assembly.home import Home
    from keyturn.gateway.desk import Desk, Look
    from keyturn.gateway.review import ReviewDraft, Reviewed
    from keyturn.gateway.show import Shown

Signed: TypeAlias = "tuple[ReviewDraft, bytes]"
"""A review and the signature over it."""

_OVER = {
    "succeeded": "has succeeded",
    "failed": "has failed",
    "expired": "has expired",
    "unknown": "was carried out, and nobody knows how it ended",
    "rejected": "was rejected",
    "cancelled": "was cancelled",
    "stale": "went stale",
    "shadowed": "was only recorded",
}

HALTED = "halted"  # of a row: the suspended scope its action waits for; for people, not in JSON

_COLUMNS = (
    Column("ID", "action_id", identifier=True),
    Column("VERDICT", "verdict"),
    Column("REVIEWER", "reviewer", identifier=True),
    Column("STATUS", "status"),
    Column("REVIEWS", lambda row: f"{row['have']}/{row['need']}" if row["need"] else ""),
    Column("DIGEST", "digest"),
    Column("ERROR", lambda row: row["error"]["message"] if row["error"] else ""),
)
_HELP = {
    "approve": "Approve actions with your SSH key.\n\n"
    "Each one's digest is shown and signed, and the signature handed in. "
    "ID is the end of an action's id (six characters as a rule). Look first: keyturn action show ID.",
    "reject": "Reject actions with your SSH key.\n\n"
    "One rejection ends an action as a rule. "
    "ID is the end of an action's id (six characters as a rule). A reason is required.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """What a person says about some actions, and how they want to be told of it. `verdict` as statements write it."""

    verdict: str
    reason: str
    digest: str
    signed: Path | None
    key: Path | None
    as_name: str | None
    as_json: AsJson


@dataclass(frozen=True, slots=True)
class Missing:
    """An id that names nothing."""

    given: str
    error: Refused


def review_command(verdict: str) -> click.Command:
    """Return the verb that says `verdict` ("approve" or "reject")."""

    @click.command(name="approve" if verdict == "approve" else "deny", help=_HELP[verdict])
    @click.argument("ids", metavar="ID...", nargs=-1)
    @click.option("-m", "--reason", default="", help="Why; it is recorded, and the assistant is told.")
    @click.option("--digest", default="", metavar="PREFIX", help="Sign only a digest that begins so (12 hex digits).")
    @click.option("--signed", type=click.Path(path_type=Path), metavar="FILE", help="Hand in what `review` signed.")
    @signer_options
    @json_option
    @click.pass_context
    def command(ctx: click.Context, /, ids: tuple[str, ...], **given: Any) -> None:
        order = Say(verdict=verdict, **given)
        _check_usage(order, ids)
        ctx.exit(_review(ctx, order, ids))

    return command


def _check_usage(order: Say, ids: Sequence[str]) -> None:
    if order.signed is not None:
        if len(ids) > 1 or order.reason or order.key or order.as_name:
            raise click.UsageError("--signed brings its own signature and reason: give it alone, or with one ID")
    elif not ids:
        raise click.UsageError("name at least one action: see `keyturn inbox`")
    elif order.digest and len(ids) > 1:
        raise click.UsageError("--digest pins one action: name only that one")
    elif order.verdict == "reject" and not order.reason.strip():
        raise click.UsageError("a rejection needs a reason, which the assistant is told: -m REASON")


def _review(ctx: click.Context, order: Say, ids: Sequence[str]) -> int:
    from keyturn.assembly.standing import open_desk, worker_starter

    home = home_of(ctx)
    desk = open_desk(home, f"keyturn {ctx.info_name}")
    try:
        rows = list(_results(desk, order, ids))
    finally:
        desk.ledger.close()
    if any(row["status"] == "approved" for row in rows):
        worker_starter(home)()
    _tell(home, rows, order.as_json)
    return worst(_exit(row) for row in rows)


def _results(desk: Desk, order: Say, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what became of each action. All ids are found before anything is signed: a wrong one costs no touch."""
    found = desk.ledger.look(lambda view: [_find(view, given) for given in ids])
    if order.signed is not None:
        yield _carried(desk, order, order.signed, found)
        return
    known = [target for target in found if isinstance(target, str)]
    signer = _signer(desk, order, known) if known else None
    for target in dict.fromkeys(found):
        match target:
            case Missing(given, error):
                yield _failed(given, error)
            case str() if signer is not None:
                yield _counted_or_not(desk, target, lambda action_id: _sign(desk, order, signer, action_id))


def _find(view: Look, given: str) -> str | Missing:
    try:
        return full_id(view, given)
    except Refused as error:
        return Missing(given, error)


def _signer(desk: Desk, order: Say, known: Sequence[str]) -> Signer:
    force = desk.ledger.look(lambda view: view.state.policy)
    people = force.reviewers if force else {}
    if order.as_name is not None and len(known) == 1:
        _check_may(desk, order.as_name, people, known[0])
    return signer_of(people, order.key, order.as_name)


def _check_may(desk: Desk, name: str, people: Container[str], action_id: str) -> None:
    """Refuse a name that may not review the one action, whatever its keys. Raises `Refused`."""
    shown = _reviewable(desk, action_id)
    if name == shown.action.asked_by:
        raise Refused("asker_excluded", f"{plain(name)} asks for it and may not review it")
    if name in shown.action.excluded:
        text = f"{plain(name)} answers for {plain(shown.action.principal)} and may not review what it asks"
        raise Refused("owner_excluded", text)
    if name not in people:
        able = dict.fromkeys(person for tally in shown.tallies for person in tally.eligible)
        may = ", ".join(plain(person) for person in able) or "nobody at present"
        raise Refused("not_a_reviewer", f"{plain(name)} is no reviewer; this action may be reviewed by: {may}")


def _counted_or_not(desk: Desk, action_id: str, sign: Callable[[str], Signed]) -> dict[str, Any]:
    from keyturn.gateway.review import submit_review

    try:
        draft, signature = sign(action_id)
        return _counted(desk, draft, submit_review(desk, draft, signature))
    except Refused as error:
        if error.code == "usage":
            raise
        return _failed(action_id, error)


def _sign(desk: Desk, order: Say, signer: Signer, action_id: str) -> Signed:
    from keyturn.approvals.statement import REVIEW_NAMESPACE
    from keyturn.gateway.review import draft_review

    shown = _reviewable(desk, action_id)
    draft = draft_review(
        desk,
        action_id,
        reviewer=signer.name,
        verdict=order.verdict,
        reason=order.reason,
        digest_prefix=order.digest,
    )
    speak(list(_what_is_signed(shown, draft)), err=True)
    return draft, signer.sign(draft.to_sign, REVIEW_NAMESPACE)


def _reviewable(desk: Desk, action_id: str) -> Shown:
    """Return an action that waits. Raises `Refused` for any other, before anybody is asked for a touch."""
    from keyturn.gateway.show import ShownRefusal, show

    shown = desk.ledger.look(lambda view: show(view, action_id))
    if isinstance(shown, ShownRefusal):
        raise Refused("already_decided", "the policy refused it: nothing waits for a review")
    if shown.state not in {"pending", "approved"}:
        raise Refused(
            "already_decided",
            f"the action {_OVER.get(shown.state, f'is {shown.state}')}: it can no longer be reviewed",
        )
    return shown


def _what_is_signed(shown: Shown, draft: ReviewDraft) -> Iterator[Line]:
    said, action = draft.statement, shown.action
    yield Line("Approve" if said.verdict == "approve" else "Reject", shown.asked.plan.summary)
    yield Line("", f"{plain(action.target)} ({plain(action.environment)}), asked by {plain(action.principal)}")
    yield Line("Digest", grouped(said.digest))
    yield Line("Reviewer", plain(said.reviewer))


def _carried(desk: Desk, order: Say, path: Path, found: Sequence[str | Missing]) -> dict[str, Any]:
    """Hand in a review that was signed elsewhere."""
    from keyturn.gateway.detached import MAX_FILE, read_signed
    from keyturn.gateway.review import check_digest

    draft, signature = read_signed(read_bytes(path, MAX_FILE))
    said = draft.statement
    if said.verdict != order.verdict:
        verb = "approve" if said.verdict == "approve" else "deny"
        raise click.UsageError(f"{path} says {said.verdict}: hand it in with `keyturn {verb} --signed`")
    for target in found:
        if isinstance(target, Missing):
            return _failed(target.given, target.error)
        if target != said.action:
            raise click.UsageError(f"{path} is about action {said.action}, not {target}")
    check_digest(said.digest, order.digest)
    return _counted_or_not(desk, said.action, lambda _: _shown_first(desk, draft, signature))


def _shown_first(desk: Desk, draft: ReviewDraft, signature: bytes) -> Signed:
    speak(list(_what_is_signed(_reviewable(desk, draft.statement.action), draft)), err=True)
    return draft, signature


def _counted(desk: Desk, draft: ReviewDraft, review: Reviewed) -> dict[str, Any]:
    said = draft.statement
    short_id, halted = desk.ledger.look(lambda view: (short_in(view, said.action), _halted(view, said.action)))
    return {
        "action_id": said.action,
        "short_id": short_id,
        "verdict": said.verdict,
        "reviewer": said.reviewer,
        "status": review.status,
        "have": review.have,
        "need": review.need,
        "digest": said.digest,
        "entry": review.seq,
        "error": None,
        HALTED: halted,
    }


def _halted(view: Look, action_id: str) -> str | None:
    """Name the scope that keeps an action from beginning: "environment production", "everything"; None for none."""
    action = view.state.actions.get(action_id)
    if action is None:
        return None
    halt = view.state.suspensions.halting(
        principal=action.principal, tool=action.tool, environment=action.environment, governed=True
    )
    return None if halt is None else str(halt.scope)


def _failed(given: str, error: Refused) -> dict[str, Any]:
    empty = dict.fromkeys(("short_id", "verdict", "reviewer", "status", "have", "need", "digest", "entry"))
    return {"action_id": given, **empty, "error": {"code": error.code, "message": str(error)}}


def _exit(row: Row) -> int:
    return exit_of(Refused(row["error"]["code"], "")) if row["error"] else Exit.OK


def _tell(home: Home, rows: Sequence[Row], as_json: AsJson) -> None:
    for row in rows:
        if row["error"]:
            note(f"keyturn: {_objection(row)}")
    if as_json or not on_terminal():
        emit(without(rows, frozenset({HALTED})), as_json=as_json, columns=_COLUMNS)
        return
    for row in rows:
        if not row["error"]:
            say(_sentence(home, row), style="green" if row["verdict"] == "approve" else "yellow")


def _objection(row: Row) -> str:
    error = row["error"]
    missing = error["code"] == "not_found"
    return str(error["message"]) if missing else f"{row['action_id']}: this does not count: {error['message']}"


def _sentence(home: Home, row: Row) -> str:
    counted = f"{row['short_id']}: {row['have']} of {row['need']} reviews"
    match row["status"]:
        case "approved":
            if row[HALTED] is not None:
                return f"✓ {counted}: approved; it waits until {plain(row[HALTED])} is resumed."
            return f"✓ {counted}: approved; {runs_or_waits(home, row['action_id'], row['short_id'])}"
        case "rejected":
            return f"✗ {row['short_id']}: rejected by {plain(row['reviewer'])}. Nothing was or will be done."
    return f"✓ {counted}: recorded in entry {row['entry']}; it waits for others."
