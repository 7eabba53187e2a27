"""Reads how a pull request that an earlier action opened stands now."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, Pull, declared
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Plan
from keyturn.model.text import visible
from keyturn.model.tool import Earlier
from keyturn.tools.arguments.get_pull_request import Arguments
from keyturn.tools.own_pulls import opened

MAX_NAMES = 100
"""File names told at once, and checks and reviews; the count of files is always complete."""


class GetPullRequest:
    """`get_pull_request` on the pull requests of the same principal."""

    name = "get_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def locate(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Find the repository through the action that opened the pull request."""
        action = opened(arguments.action_id, earlier)
        if action.status not in ("succeeded", "unknown"):
            raise ConnectorError(f"action {action.action} is {action.status}: there is no pull request of it")
        return Plan(
            tool=self.name,
            target=action.plan.target,
            backend=action.plan.backend,
            summary=f"Read the pull request of action {action.action} on {action.plan.backend.name}",
            change={"pull": action.action},
        )

    async def read(self, plan: Plan, arguments: Arguments) -> Mapping[str, Json]:
        """Return state, commits and names of files; checks and reviews where the forge has them."""
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
            "number": pull.number,
            "url": pull.url,
            "checks": _checks(pull),
            "reviews": _reviews(pull),
        }


def _checks(pull: Pull) -> list[Json] | None:
    if pull.checks is None:
        return None
    return [{"name": visible(check.name), "state": check.state} for check in pull.checks[:MAX_NAMES]]


def _reviews(pull: Pull) -> list[Json] | None:
    """Return who said what on the forge, and whether of the newest commit."""
    if pull.reviews is None:
        return None
    return [
        {"reviewer": visible(one.reviewer), "verdict": one.verdict, "of_newest": one.commit == pull.head}
        for one in pull.reviews[:MAX_NAMES]
    ]


TOOL = GetPullRequest
