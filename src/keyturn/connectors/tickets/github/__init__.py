"""A tracker as the issues of one repository on GitHub, over its REST API.

A ticket's id is the issue's number, `42`; pull requests, which GitHub numbers along, are no tickets. Every change
posts a comment that names principal and action (see `updating`), and what was begun can be told by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from keyturn.connectors.checking import Finding
from keyturn.connectors.github import GitHub, GitHubConnection, github
from keyturn.connectors.tickets import (
    CreationObjection,
    Draft,
    NewTicket,
    Objection,
    Preview,
    Ticket,
    TicketChange,
)
from keyturn.connectors.tickets.github.creating import Creating, drafted
from keyturn.connectors.tickets.github.issues import (
    STATUSES,
    Absent,
    Comment,
    Issue,
    comments_on,
    find_issue,
    is_number,
)
from keyturn.connectors.tickets.github.looking import look
from keyturn.connectors.tickets.github.reach import people, watchers_of
from keyturn.connectors.tickets.github.updating import Updating, worked_out
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe
from keyturn.model.plan import Backend, Inverse, from_result
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

PERMISSIONS: Final = {"issues": "write", "metadata": "read"}
"""What an App's tokens are narrowed to.

https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
"""
TEXT: Final = 19_000
"""Characters of description and comments that a snapshot holds: an assistant is told no more of one text."""
DESCRIPTION: Final = 8_000
"""Characters of them that the description takes at most, where there are comments."""


class Settings(GitHubConnection):
    """`[tickets.<name>]` of the wiring: the repository whose issues are the tickets."""

    kind: Literal["github"]


def build(name: str, settings: Settings, world: World) -> GitHubIssues:
    """Build the back end. Raises `ConfigurationError`."""
    return GitHubIssues(name=name, github=github(f"tickets.{name}", settings, world, PERMISSIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubIssues:
    """The issues of one repository; implements `Tickets`."""

    name: str
    github: GitHub

    def backend(self) -> Backend:
        """Identify the tracker by the repository's address in the API, and by the App that acts there."""
        return Backend(
            port="tickets",
            name=self.name,
            kind="github",
            location=self.github.location,
            account=self.github.account,
        )

    async def holds(self, ticket: str) -> bool:
        """Say whether there is an issue of this number."""
        return is_number(ticket) and not isinstance(await find_issue(self.github, ticket), Absent)

    async def snapshot(self, ticket: str) -> Ticket:
        """Read an issue with its comments; of long ones the beginning and the newest comments."""
        issue = await self._issue(ticket)
        comments = await comments_on(self.github, ticket)
        watchers, us = await watchers_of(self.github), await self.github.login()
        return Ticket(
            id=ticket,
            title=issue.title,
            status=issue.status,
            watchers=people(issue, comments, watchers, us),
            labels=issue.labels,
            text=_text(issue, comments),
        )

    async def preview(self, ticket: str, status: str | None, comment: str | None) -> Preview:
        """Work out a change."""
        issue, us = await self._issue(ticket), await self.github.login()
        return await worked_out(self.github, issue, TicketChange(ticket=ticket, status=status, comment=comment), us)

    async def apply(self, change: TicketChange, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Comment, then set the status; each once."""
        self._check_location(change.location)
        return await Updating(
            tracker=self.name,
            github=self.github,
            change=change,
            action=action,
            us=await self.github.login(),
            refused=objection or _no_objection,
        ).run()

    async def probe(self, change: TicketChange, action: ActionRef) -> Probe:
        """Settle an action by its comment, completing what was begun. There is no fence on GitHub."""
        try:
            self._check_location(change.location)
            us = await self.github.login()
            updating = Updating(tracker=self.name, github=self.github, change=change, action=action, us=us)
            return await updating.settle()
        except ConnectorError as error:
            return CannotTell(str(error))

    def inverse(self, change: TicketChange) -> Inverse:
        """A status can be set back; a comment stays."""
        old = change.facts.get("status")
        stays = " The comment stays; add another that corrects it." if change.comment is not None else ""
        if not isinstance(old, str):
            return Inverse(summary=stays.strip())
        if old not in STATUSES:
            return Inverse(summary=f"Its status was {visible(old)!r}, which cannot be set from here.{stays}")
        return Inverse(
            summary=f"Set {change.ticket} back to {old}.{stays}",
            tool="update_ticket",
            arguments={"tracker": self.name, "ticket": change.ticket, "status": old},
        )

    async def draft(self, title: str, body: str, labels: Sequence[str]) -> Draft:
        """Work out a new issue."""
        ticket = NewTicket(title=title, body=body, labels=tuple(labels))
        return await drafted(self.github, ticket, await self.github.login())

    async def create(
        self, ticket: NewTicket, action: ActionRef, objection: CreationObjection | None = None
    ) -> Outcome:
        """Make the issue once."""
        self._check_location(ticket.location)
        return await Creating(
            github=self.github,
            ticket=ticket,
            action=action,
            us=await self.github.login(),
            refused=objection or _no_objection,
        ).run()

    async def probe_creation(self, ticket: NewTicket, action: ActionRef) -> Probe:
        """Settle an action by the tag in its issue. There is no fence on GitHub."""
        try:
            self._check_location(ticket.location)
            us = await self.github.login()
            return await Creating(github=self.github, ticket=ticket, action=action, us=us).settle()
        except ConnectorError as error:
            return CannotTell(str(error))

    def inverse_of_creation(self, ticket: NewTicket) -> Inverse:
        """An issue is never deleted; it is closed."""
        del ticket
        return Inverse(
            summary="Close the new issue as not planned; it stays to be read.",
            tool="update_ticket",
            arguments={"tracker": self.name, "ticket": from_result("ticket"), "status": "not planned"},
        )

    async def check(self) -> tuple[Finding, ...]:
        """Look who we are there, whether issues are switched on, and whether we may write them."""
        return await look(self.github)

    async def _issue(self, ticket: str) -> Issue:
        if not is_number(ticket):
            raise ConnectorError(f"{visible(ticket[:80])!r} is not the number of an issue, such as 42")
        issue = await find_issue(self.github, ticket)
        if isinstance(issue, Absent):
            raise ConnectorError(f'ticket "{ticket}" is not in {self.name}: it {issue.reason}')
        return issue

    def _check_location(self, location: str) -> None:
        if location not in ("", self.github.location):
            raise ConnectorError(
                f"{self.name}: is another repository now than the one that was reviewed", kind="conflict"
            )


def _no_objection(preview: object) -> None:
    del preview


def _text(issue: Issue, comments: Sequence[Comment]) -> str:
    said = [_said(comment) for comment in comments]
    body = issue.body.rstrip() + "\n"
    most = DESCRIPTION if said else TEXT
    if len(body) > most:
        body = f"{body[:most].rstrip()}\n… ({len(body) - most} characters left out)\n"
    left = TEXT - len(body)
    shown: list[str] = []
    for text in reversed(said):
        left -= len(text)
        if left < 0 and shown:
            break
        shown.append(text)
    gap = f"\n({len(said) - len(shown)} earlier comments left out)\n" if len(shown) < len(said) else ""
    return body + gap + "".join(reversed(shown))


def _said(comment: Comment) -> str:
    who = visible(comment.author) or "somebody"
    return f"\n## Comment by {who} at {comment.created_at}\n\n{comment.body.rstrip()}\n"
