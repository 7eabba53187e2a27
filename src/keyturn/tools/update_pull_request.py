"""Updates a pull request that an earlier action opened: a further commit on its branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio.to_thread

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, Landed, Pull, Revision, declared
from keyturn.connectors.forge.changes import (
    Worked,
    files_from_json,
    files_to_json,
    read_wishes,
    states_to_json,
    work_out,
    work_out_again,
)
from keyturn.model.agreement import disagreeing
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Outcome, Probe, Stale
from keyturn.model.plan import Backend, Inverse, Plan
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.update_pull_request import Arguments
from keyturn.tools.audience import more_are_told, recipients_of, told
from keyturn.tools.landing import PREVIEW, Landing
from keyturn.tools.own_pulls import open_pull, surely_opened


class UpdatePullRequest:
    """`update_pull_request` on the pull requests of the same principal."""

    name = "update_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out the further commit against the branch as it is now.

        Reviewed facts are its head, what stands at each touched path, and how many people would be told.
        """
        opened = surely_opened(arguments.action_id, earlier, "updated")
        forge = declared(self._forges, opened.plan.backend.name, opened.plan.backend)
        pull = await open_pull(forge, opened.action, "open a new one")
        wishes = read_wishes([item.model_dump() for item in arguments.files])
        snapshot = await forge.snapshot(pull.branch, [wish.path for wish in wishes])
        worked = await anyio.to_thread.run_sync(work_out, wishes, snapshot)
        return planned(forge.identity, opened.action, pull, snapshot.commit, worked)

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Land the commit once, if the branch is still at the reviewed head and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look for the commit on the branch; where it is not, make sure it cannot come."""
        return await _LANDING.probe(self._forges, plan, action)


def planned(backend: Backend, opened: str, pull: Pull, head: str, worked: Worked) -> Plan:
    """Return the plan of a further commit on `head`, for the pull request that the action `opened` made."""
    place = f"{backend.name}: {worked.summary()}, base {pull.base}{told(pull.recipients)}"
    return Plan(
        tool=UpdatePullRequest.name,
        target=f"forge:{backend.name}/{pull.base}",
        backend=backend,
        summary=f'Update pull request "{visible(pull.title)}" on {place}',
        diff=worked.patch,
        effects=replace(worked.effects(), recipients=pull.recipients),
        view={
            "files": worked.view(),
            "title": visible(pull.title),
            "base": pull.base,
            "branch": pull.branch,
            "preview": PREVIEW,
        },
        facts={"head": head, "blobs": states_to_json(worked.files), "recipients": pull.recipients},
        guard={"head": head},
        change={
            "pull": opened,
            "base": pull.base,
            "title": pull.title,
            "files": files_to_json(worked.files),
        },
        inverse=Inverse(summary=f"no tool does it; {pull.branch} was at {head}, and the base branch is untouched"),
    )


async def objection(plan: Plan, forge: Forge, revision: Revision, action: ActionRef) -> Failed | Stale | None:
    """Work the plan out again from the files that shall stand; say what stands against it."""
    pull = await forge.pull(revision.pull)
    reviewed = replace(pull, recipients=recipients_of(plan))
    snapshot = await forge.reviewed(revision)
    worked = await anyio.to_thread.run_sync(work_out_again, revision.files, snapshot)
    said = disagreeing(plan, planned(forge.identity, revision.pull, reviewed, revision.head, worked))
    if said is not None:
        return Failed(said)
    # Once the head has moved, by this very action or by others, landing it tells which.
    more = more_are_told(reviewed.recipients, pull.recipients) if pull.head == revision.head else None
    return None if more is None else Stale((more,))


async def apply(forge: Forge, revision: Revision, action: ActionRef) -> Landed | Stale:
    """Land the commit, once."""
    return await forge.apply(revision, action)


async def settle(forge: Forge, revision: Revision, action: ActionRef) -> Landed | CannotHappen | CannotTell:
    """Look for the commit; where it is not, make sure it cannot come."""
    return await forge.probe(revision, action)


def _revision(plan: Plan) -> Revision:
    return Revision(
        pull=str(plan.change["pull"]),
        base=str(plan.change["base"]),
        head=str(plan.facts["head"]),
        title=str(plan.change["title"]),
        files=files_from_json(plan.change["files"], plan.facts["blobs"]),
    )


def _result(plan: Plan, landed: Landed) -> dict[str, Json]:
    return {
        "repository": plan.backend.name,
        "branch": landed.branch,
        "commit": landed.commit,
        "base": plan.change["base"],
        "previous_commit": plan.facts["head"],
        "number": landed.number,
        "url": landed.url,
    }


_LANDING = Landing(change=_revision, objection=objection, land=apply, settle=settle, result=_result)
TOOL = UpdatePullRequest
