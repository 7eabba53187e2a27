"""Reads how a pull request that an earlier action opened stands now."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, declared
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Plan
from keyturn.model.text import visible
from keyturn.model.tool import Earlier
from keyturn.tools.arguments.get_pull_request import Arguments

MAX_NAMES = 100
"""File names told at once; the count is always complete."""


class GetPullRequest:
    """`get_pull_request` on the pull requests of the same principal."""

    name = "get_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def locate(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Find the repository through the action that opened the pull request."""
        opened = earlier(arguments.action_id)
        if opened is None or opened.tool != "open_pull_request":
            raise ConnectorError(f"action {arguments.action_id} is not one of yours that opened a pull request")
        if opened.status not in ("succeeded", "unknown"):
            raise ConnectorError(f"action {opened.action} is {opened.status}: there is no pull request of it")
        return Plan(
            tool=self.name,
            target=opened.plan.target,
            backend=opened.plan.backend,
            summary=f"Read the pull request of action {opened.action} on {opened.plan.backend.name}",
            change={"pull": opened.action},
        )

    async def read(self, plan: Plan, arguments: Arguments) -> Mapping[str, Json]:
        """Return state, commits and names of files of the pull request."""
        forge = declared(self._forges, plan.backend.name, plan.backend)
        pull = await forge.pull(str(plan.change["pull"]))
        return {
            "repository": plan.backend.name,
            "title": visible(pull.title),
            "state": pull.status,
            "draft": pull.draft,
            "branch": pull.branch,
            "commit": pull.head,
            "commits": pull.commits,
            "base": pull.base,
            "base_commit": pull.base_commit,
            "base_moved": pull.base_moved,
            "files_changed": len(pull.files),
            "files": [visible(name) for name in pull.files[:MAX_NAMES]],
            "url": None,
        }


TOOL = GetPullRequest
