"""Opens a pull request: the files asked for, as a commit on a branch of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio.to_thread

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, Landed, Opening, declared
from keyturn.connectors.forge.changes import (
    Worked,
    files_from_json,
    files_to_json,
    read_wishes,
    states_to_json,
    work_out,
    work_out_again,
)
from keyturn.connectors.forge.names import check_base
from keyturn.connectors.forge.text import clean_body, clean_title
from keyturn.model.agreement import disagreeing
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.plan import Backend, Inverse, Plan
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.open_pull_request import Arguments
from keyturn.tools.landing import Landing


class OpenPullRequest:
    """`open_pull_request` on the repositories declared in the wiring."""

    name = "open_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out commit and diff against the base as it is now.

        Reviewed facts are the base commit and what stands at each touched path; the guard is the base's head.
        """
        forge = declared(self._forges, arguments.repository)
        check_base(arguments.base)
        title, body = clean_title(arguments.title), clean_body(arguments.body)
        wishes = read_wishes([item.model_dump() for item in arguments.files])
        snapshot = await forge.snapshot(arguments.base, [wish.path for wish in wishes])
        worked = await anyio.to_thread.run_sync(work_out, wishes, snapshot)
        opening = Opening(
            base=arguments.base,
            base_commit=snapshot.commit,
            files=worked.files,
            title=title,
            body=body,
            draft=arguments.draft,
            patch=worked.patch,
        )
        return planned(forge.identity, opening, worked)

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Land branch, commit and record once, if the reviewed facts still hold and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look for the branch; where it is not, make sure it cannot come."""
        return await _LANDING.probe(self._forges, plan, action)


def planned(backend: Backend, opening: Opening, worked: Worked) -> Plan:
    """Return the plan of a pull request to be opened, with what its files make of the base commit."""
    place = f"{backend.name}: {worked.summary()}, base {opening.base}"
    return Plan(
        tool=OpenPullRequest.name,
        target=f"forge:{backend.name}/{opening.base}",
        backend=backend,
        summary=f'Open pull request "{opening.title}" on {place}',
        diff=worked.patch,
        effects=worked.effects(),
        view={
            "files": worked.view(),
            "title": opening.title,
            "body": opening.body,
            "base": opening.base,
            "draft": opening.draft,
        },
        facts={"base_commit": opening.base_commit, "blobs": states_to_json(worked.files)},
        guard={"head": opening.base_commit},
        change={
            "base": opening.base,
            "title": opening.title,
            "body": opening.body,
            "draft": opening.draft,
            "files": files_to_json(worked.files),
        },
        inverse=Inverse(summary="delete the branch keyturn/<action id>; the base branch is untouched"),
    )


async def disagreement(plan: Plan, forge: Forge, opening: Opening) -> str | None:
    """Say what a plan shows that its own change, worked out again, does not; None when all of it follows."""
    check_base(opening.base)
    cleaned = replace(opening, title=clean_title(opening.title), body=clean_body(opening.body))
    snapshot = await forge.reviewed(opening)
    worked = await anyio.to_thread.run_sync(work_out_again, opening.files, snapshot)
    return disagreeing(plan, planned(forge.identity, cleaned, worked))


def _opening(plan: Plan) -> Opening:
    return Opening(
        base=str(plan.change["base"]),
        base_commit=str(plan.facts["base_commit"]),
        files=files_from_json(plan.change["files"], plan.facts["blobs"]),
        title=str(plan.change["title"]),
        body=str(plan.change["body"]),
        draft=plan.change["draft"] is True,
        patch=plan.diff,
    )


def _result(plan: Plan, landed: Landed) -> dict[str, Json]:
    return {
        "repository": plan.backend.name,
        "branch": landed.branch,
        "commit": landed.commit,
        "base": plan.change["base"],
        "base_commit": plan.facts["base_commit"],
        "draft": plan.change["draft"],
        "url": None,
    }


_LANDING = Landing(_opening, disagreement, _result)
TOOL = OpenPullRequest
