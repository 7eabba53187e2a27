"""Changes one issue: first a comment that carries the action's tag, then the state.

The order makes it tellable what happened. GitHub takes no precondition and no key against repetition, so the comment
is what proves, to everybody and at any later time, that the change was begun; what follows it sets one state, which
may be done again without harm. A change of status alone posts a comment, too.

1. Our comment with the tag is looked for; where it is, nothing is posted.
2. The reviewed facts are compared, right before the comment is posted.
3. The comment is read back from the list of comments. Where the network posted it twice, the later one is removed.
4. The status is set if it is still the reviewed one, and read back. Where we set it since the comment and somebody
   changed it again, it is left alone: GitHub's list of events tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from keyturn.canon import Json
from keyturn.connectors.github import GitHub
from keyturn.connectors.tickets import Preview, TicketChange
from keyturn.connectors.tickets.github.issues import (
    CHANGES,
    STATUSES,
    Absent,
    Comment,
    Issue,
    comments_on,
    find_issue,
    own_comments,
    set_by_us,
)
from keyturn.connectors.tickets.github.reach import moved_facts, people, reached, reviewed_reach, watchers_of
from keyturn.connectors.tickets.github.wording import change_shown, check_words, comment_of
from keyturn.model.diff import counted, net_change
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
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

Completed: TypeAlias = Succeeded | Failed | Unknown
"""What becomes of a change that was begun: it cannot be stale any more."""

_DOUBTFUL: Final = frozenset({"unknown", "retry"})
"""Kinds of errors after which a change that was begun can still be completed."""


async def worked_out(github: GitHub, issue: Issue, change: TicketChange, us: str) -> Preview:
    """Return what a change makes of an issue as it is now; refuses what must not be done."""
    _check(issue, change)
    named = people(issue, await comments_on(github, change.ticket), watchers := await watchers_of(github), us)
    recipients = reached(named, watchers, change.comment or "", us)
    facts = _facts(issue, change, recipients)
    diff = change_shown(issue, replace(change, facts=facts)).text
    net = net_change(diff)
    return Preview(
        change=replace(change, facts=facts),
        diff=diff,
        added=counted([line.encode() for line in net.added]),
        removed=counted([line.encode() for line in net.removed]),
        recipients=recipients,
        guard={"updated_at": issue.updated_at},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Updating:
    """One action on one issue. `us` is our login there, `tracker` the back end's name."""

    tracker: str
    github: GitHub
    change: TicketChange
    action: ActionRef
    us: str
    refused: Callable[[Preview], str | None] = lambda preview: None

    async def run(self) -> Outcome:
        """Make the change unless it was made, or go on with it where it was begun."""
        issue = await find_issue(self.github, self.change.ticket)
        if isinstance(issue, Absent):
            return Stale(("ticket",))
        found = await self._single()
        if found is not None:
            return await self._completed(found)
        against = await self._against(issue)
        return await self._begin() if against is None else against

    async def settle(self) -> Probe:
        """Complete a change that was begun; otherwise say what can be said."""
        issue = await find_issue(self.github, self.change.ticket)
        if isinstance(issue, Absent):
            return await self._without(issue)
        found = await self._single()
        if found is None:
            return CannotTell(
                f"no comment of {visible(self.us)} on issue {self.change.ticket} of {self.github.repository} names "
                f"action {self.action.action}; it may still arrive, or was removed: look there, then resolve by hand"
            )
        match await self._completed(found):
            case Succeeded(result):
                return Happened(result)
            case Failed(reason, _, result):
                return Happened(result, reason)
            case Unknown(reason):
                return CannotTell(reason)

    async def _without(self, absent: Absent) -> Probe:
        """An issue that was deleted took its comments along, and takes none: if the rest can be read, that is so."""
        where = f"issue {self.change.ticket} of {self.github.repository}"
        if absent.status in (404, 410) and await _readable(self.github):
            return CannotHappen(f"{where} is not there any more, nor what may have been written to it")
        return CannotTell(f"{where} {absent.reason}; look for action {self.action.action} where it is now")

    async def _against(self, issue: Issue) -> Outcome | None:
        """Say why the change must not be made now: facts that moved, or the caller's objection."""
        if moved := self._moved(issue):
            return Stale(moved)
        preview = await worked_out(self.github, issue, replace(self.change, facts={}), self.us)
        reviewed = self.change.facts
        if moved := moved_facts(preview.change.facts, reviewed):
            return Stale(moved)
        # As many as were reviewed may be told, so that is what the plan is held against.
        as_reviewed = replace(preview, change=self.change, recipients=reviewed_reach(reviewed))
        if (objection := self.refused(as_reviewed)) is not None:
            return Failed(objection)
        # GitHub takes no precondition: read, compare, write, with nothing in between.
        last = await find_issue(self.github, self.change.ticket)
        moved = ("ticket",) if isinstance(last, Absent) else self._moved(last)
        return Stale(moved) if moved else None

    def _moved(self, issue: Issue) -> tuple[str, ...]:
        """Compare what the issue itself shows of the reviewed facts."""
        if issue.id != self.change.facts.get("issue"):
            return ("issue",)
        if self.change.status is not None and issue.status != self.change.facts.get("status"):
            return ("status",)
        return ("unlocked",) if issue.locked else ()

    async def _begin(self) -> Outcome:
        body: dict[str, Json] = {"body": comment_of(self.change, self.action)}
        doubt = "GitHub took the comment, but it is not there to be read"
        try:
            await self.github.change("POST", f"/issues/{self.change.ticket}/comments", body=body)
        except ConnectorError as error:
            if error.kind != "unknown":
                raise  # certainly nothing was posted
            doubt = str(error)
        try:
            found = await self._single()
        except ConnectorError as error:
            return Unknown(f"the comment was sent, then: {error}")
        return Unknown(doubt) if found is None else await self._completed(found)

    async def _single(self) -> Comment | None:
        """Return our comment, alone: a copy that the network made of it is removed."""
        found = await own_comments(self.github, self.change.ticket, self.action.action, self.us)
        for extra in found[1:]:
            if extra.body == found[0].body:
                await self.github.change("DELETE", f"/issues/comments/{extra.id}", expected=frozenset({404}))
        return found[0] if found else None

    async def _completed(self, comment: Comment) -> Completed:
        """Go on from a comment that is there: see to it that the status is set, once."""
        try:
            issue = await self._issue()
            if await self._is_set(issue, comment):
                return self._succeeded(issue)
            if issue.status != self.change.facts.get("status"):
                reason = f"the comment is there, but somebody set the status to {issue.status} before it could be set"
                return Failed(reason, effect=True, result=self._result(issue.status))
            return await self._set(issue, comment)
        except ConnectorError as error:
            return Unknown(f"the comment is there, then: {error}")

    async def _is_set(self, issue: Issue, comment: Comment) -> bool:
        wanted = self.change.status
        if wanted is None or issue.status == wanted:
            return True
        return await set_by_us(self.github, self.change.ticket, wanted, self.us, comment.created_at)

    async def _set(self, issue: Issue, comment: Comment) -> Completed:
        doubt = f"GitHub took the status, but it is still {issue.status}"
        try:
            body = CHANGES[str(self.change.status)]
            await self.github.change("PATCH", f"/issues/{self.change.ticket}", body=dict(body))
        except ConnectorError as error:
            if error.kind not in _DOUBTFUL:
                reason = f"the comment is there, but the status was not set: {error}"
                return Failed(reason, effect=True, result=self._result(issue.status))
            doubt = f"the comment is there, then: {error}"
        after = await self._issue()
        return self._succeeded(after) if await self._is_set(after, comment) else Unknown(doubt)

    async def _issue(self) -> Issue:
        issue = await find_issue(self.github, self.change.ticket)
        if isinstance(issue, Absent):
            raise ConnectorError(f"issue {self.change.ticket} of {self.github.repository} {issue.reason}")
        return issue

    def _succeeded(self, issue: Issue) -> Succeeded:
        """Tell what was done: a status as it was set, whoever changed it since."""
        return Succeeded(self._result(self.change.status or issue.status))

    def _result(self, status: str) -> dict[str, Json]:
        return {
            "tracker": self.tracker,
            "ticket": self.change.ticket,
            "status": status,
            "commented": self.change.comment is not None,
        }


def _check(issue: Issue, change: TicketChange) -> None:
    wanted = change.status
    if wanted is None and change.comment is None:
        raise ConnectorError("nothing to change: give a status, a comment or both")
    if issue.locked:
        raise ConnectorError(f"the conversation of issue {issue.number} is locked; somebody unlocks it first")
    if wanted is not None:
        _check_status(issue, wanted, commented=change.comment is not None)
    if change.comment is not None:
        check_words(change.comment)


def _check_status(issue: Issue, wanted: str, *, commented: bool) -> None:
    if wanted not in STATUSES:
        raise ConnectorError(f'"{visible(wanted)}" is not a status here; use one of: {", ".join(STATUSES)}')
    if wanted == issue.status:
        more = "; leave the status out to only comment" if commented else ": nothing to do"
        raise ConnectorError(f'{issue.number} has the status "{wanted}" already{more}')
    if "open" not in (wanted, issue.status):
        raise ConnectorError(f"GitHub keeps the reason for which {issue.number} was closed; set it to open first")


def _facts(issue: Issue, change: TicketChange, recipients: int) -> dict[str, Json]:
    """Return what the change and its reach depend on; what else is written to the issue does not void a review."""
    facts: dict[str, Json] = {
        "ticket": str(issue.number),
        "issue": issue.id,
        "recipients": recipients,
        "unlocked": not issue.locked,
    }
    if change.status is not None:
        facts["status"] = issue.status
    if change.comment is not None:
        facts["exists"] = True
    return facts


async def _readable(github: GitHub) -> bool:
    """Say whether issues of the repository can be read at all: else nothing follows from one that is not there."""
    unreadable = frozenset({301, 403, 404, 410})
    return (await github.get("/issues", params={"per_page": "1"}, expected=unreadable)).status == 200
