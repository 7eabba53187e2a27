"""Updates a pull request that an earlier action opened: a further commit on its branch."""

from __future__ import annotations

from collections.abc import Mapping

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
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.plan import Backend, Inverse, Plan
from keyturn.model.tool import ActionRef, Earlier, EarlierAction
from keyturn.tools.arguments.update_pull_request import Arguments
from keyturn.tools.landing import Landing


class UpdatePullRequest:
    """`update_pull_request` on the pull requests of the same principal."""

    name = "update_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out the further commit against the branch as it is now; its head is the reviewed fact."""
        opened = _opened(arguments.action_id, earlier)
        forge = declared(self._forges, opened.plan.backend.name, opened.plan.backend)
        pull = await forge.pull(opened.action)
        if pull.status != "open":
            raise ConnectorError(f"the pull request of action {opened.action} is {pull.status}; open a new one")
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
    return Plan(
        tool=UpdatePullRequest.name,
        target=f"forge:{backend.name}/{pull.base}",
        backend=backend,
        summary=f'Update pull request "{pull.title}" on {backend.name}: {worked.summary()}, base {pull.base}',
        diff=worked.patch,
        effects=worked.effects(),
        view={"files": worked.view(), "title": pull.title, "base": pull.base, "branch": pull.branch},
        facts={"head": head, "blobs": states_to_json(worked.files)},
        guard={"head": head},
        change={
            "pull": opened,
            "base": pull.base,
            "title": pull.title,
            "files": files_to_json(worked.files),
        },
        inverse=Inverse(summary=f"move the branch {pull.branch} back to {head}; the base branch is untouched"),
    )


async def disagreement(plan: Plan, forge: Forge, revision: Revision) -> str | None:
    """Say what a plan shows that its own change, worked out again, does not; None when all of it follows."""
    pull = await forge.pull(revision.pull)
    snapshot = await forge.reviewed(revision)
    worked = await anyio.to_thread.run_sync(work_out_again, revision.files, snapshot)
    return disagreeing(plan, planned(forge.identity, revision.pull, pull, revision.head, worked))


def _opened(action_id: str, earlier: Earlier) -> EarlierAction:
    opened = earlier(action_id)
    if opened is None or opened.tool != "open_pull_request":
        raise ConnectorError(f"action {action_id} is not one of yours that opened a pull request")
    if opened.status != "succeeded":
        raise ConnectorError(f"action {action_id} is {opened.status}: its pull request cannot be updated")
    return opened


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
        "url": None,
    }


_LANDING = Landing(_revision, disagreement, _result)
TOOL = UpdatePullRequest
