"""Makes one issue, and finds it again by the tag in its text.

GitHub has no key against repetition here either, and an issue cannot be taken back: so an answer that was lost is
looked for in the list of issues, and never asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keyturn.canon import Json
from keyturn.connectors.github import GitHub, segment
from keyturn.connectors.tickets import Draft, NewTicket
from keyturn.connectors.tickets.github.issues import Issue, own_issues, same
from keyturn.connectors.tickets.github.reach import moved_facts, people, reached, reviewed_reach, watchers_of
from keyturn.connectors.tickets.github.wording import body_of, check_issue, issue_shown
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Failed, Happened, Outcome, Probe, Stale, Succeeded, Unknown
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef


async def drafted(github: GitHub, ticket: NewTicket, us: str) -> Draft:
    """Return what making an issue comes to; refuses what cannot be made or must not be posted."""
    check_issue(ticket.title, ticket.body, ticket.labels)
    await _check_repository(github)
    for label in ticket.labels:
        await _check_label(github, label)
    watchers = await watchers_of(github)
    recipients = reached(people(None, (), watchers, us), watchers, ticket.body, us)
    shown = issue_shown(ticket)
    return Draft(
        ticket=replace(ticket, facts={"repository": github.repository, "recipients": recipients}),
        diff=shown.text,
        added=shown.counted_added,
        recipients=recipients,
        guard={},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Creating:
    """One issue to be made. `us` is our login there."""

    github: GitHub
    ticket: NewTicket
    action: ActionRef
    us: str
    refused: Callable[[Draft], str | None] = lambda draft: None

    async def run(self) -> Outcome:
        """Make the issue unless it was made."""
        found = await self._own()
        if found:
            return self._judged(found)
        against = await self._against()
        return await self._begin() if against is None else against

    async def settle(self) -> Probe:
        """Find the issue; one that is not found may still appear, or be made by a request that is on its way."""
        found = await self._own()
        if not found:
            return CannotTell(
                f"no issue of {visible(self.us)} in {self.github.repository} names action {self.action.action}; it "
                f"may still appear, or was deleted: look for {visible(self.ticket.title)!r} there, then resolve by "
                "hand"
            )
        match self._judged(found):
            case Failed(reason, _, result):
                return Happened(result, reason)
            case _:
                return Happened(self._result(found[0]))

    async def _against(self) -> Outcome | None:
        draft = await drafted(self.github, replace(self.ticket, facts={}), self.us)
        reviewed = self.ticket.facts
        if moved := moved_facts(draft.ticket.facts, reviewed):
            return Stale(moved)
        # As many as were reviewed may be told, so that is what the plan is held against.
        objection = self.refused(replace(draft, ticket=self.ticket, recipients=reviewed_reach(reviewed)))
        return None if objection is None else Failed(objection)

    async def _begin(self) -> Outcome:
        ticket, doubt = self.ticket, "GitHub took the issue, but it is not there to be read"
        body: dict[str, Json] = {"title": ticket.title, "body": body_of(ticket, self.action)}
        if ticket.labels:
            body["labels"] = list(ticket.labels)
        try:
            await self.github.change("POST", "/issues", body=body)
        except ConnectorError as error:
            if error.kind != "unknown":
                raise  # certainly nothing was made
            doubt = str(error)
        try:
            found = await self._own()
        except ConnectorError as error:
            return Unknown(f"the issue was sent, then: {error}")
        return self._judged(found) if found else Unknown(doubt)

    async def _own(self) -> list[Issue]:
        return await own_issues(self.github, self.action.action, self.us)

    def _judged(self, found: list[Issue]) -> Outcome:
        """Hold what is there against what was to be made. Who may not set labels has them dropped without a word."""
        first, result = found[0], self._result(found[0])
        if len(found) > 1:
            numbers = ", ".join(str(issue.number) for issue in found)
            reason = f"the network made it {len(found)} times, as {numbers}; close all but one"
            return Failed(reason, effect=True, result=result)
        there = {label.casefold() for label in first.labels}
        lacking = [label for label in self.ticket.labels if label.casefold() not in there]
        if lacking:
            words = visible(", ".join(lacking))
            reason = f"{first.number} was made, but not with the labels {words}: this account may not set them"
            return Failed(reason, effect=True, result=result)
        return Succeeded(result)

    def _result(self, issue: Issue) -> dict[str, Json]:
        return {"ticket": str(issue.number), "url": issue.url or None}


async def _check_repository(github: GitHub) -> None:
    told = (await github.get("")).json()
    if not isinstance(told, dict):
        raise ConnectorError("GitHub describes the repository in a way that cannot be read")
    if not same(str(told.get("full_name")), github.repository):  # reads follow GitHub to the new name, writes do not
        raise ConnectorError(f"{github.repository} has another name now: {visible(str(told.get('full_name'))[:200])}")
    if told.get("archived") is True:
        raise ConnectorError(f"{github.repository} is archived: nothing can be written there")
    if told.get("has_issues") is False:
        raise ConnectorError(f"issues are switched off in {github.repository}")


async def _check_label(github: GitHub, label: str) -> None:
    """GitHub makes labels that are not there; nobody reviewed that."""
    if (await github.get(f"/labels/{segment(label)}", expected=frozenset({404}))).status == 404:
        raise ConnectorError(f"{github.repository} has no label {visible(label)!r}; make it there first")
