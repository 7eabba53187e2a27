"""Closes a pull request that an earlier action opened, unmerged, and deletes its branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from keyturn.canon import Json
from keyturn.connectors.forge import Closed, Closing, Forge, Pull, declared
from keyturn.model.agreement import disagreeing
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Outcome, Probe, Stale
from keyturn.model.plan import Backend, Effects, Inverse, Plan
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.close_pull_request import Arguments
from keyturn.tools.audience import more_are_told, recipients_of, told
from keyturn.tools.landing import Landing
from keyturn.tools.own_pulls import open_pull, surely_opened


class ClosePullRequest:
    """`close_pull_request` on the pull requests of the same principal."""

    name = "close_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out what would be thrown away.

        Reviewed facts are the branch's head, the base, and how many people would be told. There is no diff, as no
        file of the base changes: the summary names the commit, the view the files that go with it.
        """
        opened = surely_opened(arguments.action_id, earlier, "closed")
        forge = declared(self._forges, opened.plan.backend.name, opened.plan.backend)
        pull = await open_pull(forge, opened.action, "there is nothing to close")
        return planned(forge.identity, opened.action, pull, str(pull.head))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Close it once, if its branch is still at the reviewed head and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look whether the action closed it; where it did not, make sure it cannot, if that can be."""
        return await _LANDING.probe(self._forges, plan, action)


def planned(backend: Backend, opened: str, pull: Pull, head: str) -> Plan:
    """Return the plan of closing the pull request that the action `opened` made, at `head`."""
    title = visible(pull.title)
    commits = "1 commit" if pull.commits == 1 else f"{pull.commits} commits"
    files = "1 file" if len(pull.files) == 1 else f"{len(pull.files)} files"
    place = f"{backend.name} and delete its branch: {commits} up to {head} in {files}{told(pull.recipients)}"
    return Plan(
        tool=ClosePullRequest.name,
        target=f"forge:{backend.name}/{pull.base}",
        backend=backend,
        summary=f'Close pull request "{title}" unmerged on {place}',
        effects=Effects(recipients=pull.recipients),
        view={
            "title": title,
            "base": pull.base,
            "branch": pull.branch,
            "opened_by": opened,
            "draft": pull.draft,
            "number": pull.number,
            "url": pull.url,
            "commits": pull.commits,
            "files": [{"path": visible(path)} for path in pull.files],
        },
        facts={"head": head, "base": pull.base, "recipients": pull.recipients},
        guard={"head": head},
        change={"pull": opened, "title": pull.title},
        inverse=Inverse(
            summary=f"none; a new pull request can bring the change again while the repository keeps {head}"
        ),
    )


async def objection(plan: Plan, forge: Forge, closing: Closing, action: ActionRef) -> Failed | Stale | None:
    """Look at the pull request again; say what stands against closing it."""
    pull = await forge.pull(closing.pull)
    if pull.status != "open":
        return None  # by this very action, in a ledger since restored, or by others: closing it tells which
    if pull.head != closing.head:
        return Stale((f"{pull.branch} is no longer at the reviewed commit {closing.head}",))
    reviewed = replace(pull, recipients=recipients_of(plan))
    said = disagreeing(plan, planned(forge.identity, closing.pull, reviewed, closing.head))
    if said is not None:
        return Failed(said)
    more = more_are_told(reviewed.recipients, pull.recipients)
    return None if more is None else Stale((more,))


async def close(forge: Forge, closing: Closing, action: ActionRef) -> Closed | Stale:
    """Close it, once."""
    return await forge.close(closing, action)


async def settle(forge: Forge, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
    """Look whether it was closed by this action."""
    return await forge.probe_closing(closing, action)


def _closing(plan: Plan) -> Closing:
    return Closing(
        pull=str(plan.change["pull"]),
        base=str(plan.facts["base"]),
        head=str(plan.facts["head"]),
        title=str(plan.change["title"]),
    )


def _result(plan: Plan, closed: Closed) -> dict[str, Json]:
    return {
        "repository": plan.backend.name,
        "pull_request": plan.change["pull"],
        "branch": closed.branch,
        "last_commit": closed.head,
        "base": plan.facts["base"],
        "number": closed.number,
        "url": closed.url,
    }


_LANDING = Landing(change=_closing, objection=objection, land=close, settle=settle, result=_result)
TOOL = ClosePullRequest
