"""A tracker on GitHub as `emulate` plays it: a repository for one test, with one issue as people would write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keyturn.connectors.tickets import Tickets
from keyturn.connectors.tickets.github import GitHubIssues, Settings, build
from keyturn.model.tool import ActionRef
from tests.bed.emulator import Repository
from tests.bed.forge import Forge
from tests.connectors.surroundings import world_at

STATES: dict[str, dict[str, str]] = {
    "open": {"state": "open", "state_reason": "reopened"},
    "closed": {"state": "closed", "state_reason": "completed"},
    "not planned": {"state": "closed", "state_reason": "not_planned"},
    "duplicate": {"state": "closed", "state_reason": "duplicate"},
}


def open_issues(home: Path, forge: Forge, repository: str, who: str | None = "carol", **more: Any) -> GitHubIssues:
    """Return the back end as a person with a token, or as the App where `who` is None."""
    settings = {"kind": "github", "url": forge.url, "private": True, "pause": 0, "repository": repository, **more}
    environment = {}
    if who is None:
        key = forge.emulator.pem
        settings.setdefault("app", {"id": forge.emulator.app_id, "key": f"file:{key}"})
    else:
        environment["TOKEN"] = forge.emulator.tokens[who]
        settings.setdefault("credential", "env:TOKEN")
    return build("ops", Settings.model_validate(settings), world_at(home, environment))


class IssuesWorld:
    """The issues of one repository; ada is the others, carol (or the App) is us."""

    absent: str = "99"
    statuses: tuple[str, ...] = ("open", "closed", "not planned")
    middle: str = "not planned"
    closing: str = "not planned"
    watchers: tuple[str, ...] = ("ada", "bob")
    labels: tuple[str, ...] = ("shop", "urgent")

    def __init__(self, home: Path, forge: Forge, who: str | None = "carol") -> None:
        self.home = home
        self.forge = forge
        self.repository: Repository = forge.emulator.repository({})
        self.number = self.repository.issue("Checkout is slow", "It takes *nine* seconds.", self.labels)
        self.repository.edit_issue(self.number, assignees=["bob"])
        self.ticket = str(self.number)
        self.port: Tickets = open_issues(home, forge, self.repository.full_name, who)

    def text(self) -> str:
        issue = self.repository.read_issue(self.number)
        shown = {name: issue[name] for name in ("title", "body", "state", "state_reason", "labels", "locked")}
        return json.dumps([shown, self.repository.comments(self.number)])

    def comments_of(self, action: ActionRef) -> int:
        tag = f"<!-- keyturn/{action.action} -->"
        return sum(tag in comment for comment in self.repository.comments(self.number))

    def set_status(self, status: str) -> None:
        self.repository.edit_issue(self.number, **STATES[status])

    def comment(self, text: str) -> None:
        self.repository.comment(self.number, text, who="ada")

    def tickets(self) -> list[str]:
        return [str(number) for number in sorted(issue["number"] for issue in self.repository.issues())]

    def closings(self) -> int:
        """Return how often somebody closed the issue."""
        events = self.repository.ask("GET", f"issues/{self.number}/events?per_page=100")
        return sum(event["event"] == "closed" for event in events)
