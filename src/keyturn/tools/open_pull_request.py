"""Opens a pull request: the files asked for, as a commit on a branch of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio.to_thread

from keyturn.connectors.forge import Forge, Opening, declared
from keyturn.connectors.forge.changes import Worked, read_wishes, work_out, work_out_again
from keyturn.connectors.forge.names import check_base
from keyturn.connectors.forge.text import clean_body, clean_title
from keyturn.model.outcome import Failed, Outcome, Probe, Stale
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.open_pull_request import Arguments
from keyturn.tools.audience import recipients_of
from keyturn.tools.proposing import Proposed, cleaned, landing_by, objecting, planned


class OpenPullRequest:
    """`open_pull_request` on the repositories declared in the wiring."""

    name = "open_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out commit and diff against the base as it is now.

        Reviewed facts are the base commit, what stands at each touched path, and how many people would be told; the
        guard is the base's head.
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
        return planned(_proposed(forge, opening, worked, await forge.audience(body)))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Land branch, commit and record once, if the reviewed facts still hold and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look for the branch; where it is not, make sure it cannot come."""
        return await _LANDING.probe(self._forges, plan, action)


def _proposed(forge: Forge, opening: Opening, worked: Worked, recipients: int) -> Proposed:
    return Proposed(
        tool=OpenPullRequest.name,
        verb="Open pull request",
        backend=forge.identity,
        opening=opening,
        worked=worked,
        recipients=recipients,
    )


async def objection(plan: Plan, forge: Forge, opening: Opening, action: ActionRef) -> Failed | Stale | None:
    """Work the plan out again from the files that shall stand; say what stands against it."""
    checked = cleaned(opening)
    snapshot = await forge.reviewed(opening)
    worked = await anyio.to_thread.run_sync(work_out_again, opening.files, snapshot)
    again = _proposed(forge, replace(checked, files=worked.files), worked, recipients_of(plan))
    return await objecting(plan, again, forge, action)


_LANDING = landing_by(objection)
TOOL = OpenPullRequest
