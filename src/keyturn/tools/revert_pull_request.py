"""Reverts a merged pull request: opens one that puts back what stood before in each file that the merge changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio.to_thread

from keyturn.canon import Json
from keyturn.connectors.forge import File, FileChange, FileState, Forge, Opening, Snapshot, declared
from keyturn.connectors.forge.changes import Worked, work_out_again
from keyturn.connectors.forge.merging import Merging
from keyturn.connectors.forge.names import shown
from keyturn.connectors.forge.text import MAX_TITLE, clean_title
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import Failed, Outcome, Probe, Stale
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.revert_pull_request import Arguments
from keyturn.tools.audience import recipients_of
from keyturn.tools.merging import merges
from keyturn.tools.proposing import Proposed, cleaned, landing_by, objecting, planned

MAX_NAMED = 10
"""Paths that a refusal names."""


class RevertPullRequest:
    """`revert_pull_request` on those repositories of the wiring whose forges merge."""

    name = "revert_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out commit and diff against the merge's base as it is now.

        Refused where a file is not any more what the merge made of it. Facts and guard are those of a pull request
        that is opened with these files.
        """
        forge = declared(self._forges, arguments.repository)
        merging = await merges(forge).merging(arguments.number)
        snapshot = await forge.snapshot(merging.base, sorted(merging.files))
        worked = await anyio.to_thread.run_sync(_worked, merging, snapshot)
        opening = Opening(
            base=merging.base,
            base_commit=snapshot.commit,
            files=worked.files,
            title=_title(merging) if arguments.title is None else arguments.title,
            body=_body(merging) if arguments.body is None else arguments.body,
            draft=arguments.draft,
            patch=worked.patch,
        )
        return planned(_proposed(forge, cleaned(opening), worked, merging, await forge.audience(opening.body)))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Land branch, commit and record once, if the reviewed facts still hold and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look for the branch; where it is not, make sure it cannot come."""
        return await _LANDING.probe(self._forges, plan, action)


def _worked(merging: Merging, snapshot: Snapshot) -> Worked:
    """Work out what puts everything back. Refused where a file is not any more what the merge made of it."""
    if not merging.files:
        raise ConnectorError(
            f"the merge of pull request {merging.number} changed no file; there is nothing to revert"
        )
    present = snapshot.files
    moved = [path for path in sorted(merging.files) if _state(present[path]) != _state(merging.files[path][1])]
    if moved:
        more = f" and {len(moved) - MAX_NAMED} more" if len(moved) > MAX_NAMED else ""
        named = ", ".join(shown(path) for path in moved[:MAX_NAMED])
        raise ConnectorError(
            f"changed on {merging.base} since pull request {merging.number} was merged: {named}{more}; "
            "open a pull request that says what shall stand there"
        )
    changes = [_back(path, merging.files[path][0], present[path]) for path in sorted(merging.files)]
    return work_out_again(changes, snapshot)


def _state(file: File | None) -> FileState | None:
    return file.state if file else None


def _back(path: str, before: File | None, present: File | None) -> FileChange:
    return FileChange(
        path=path,
        content=before.content if before else None,
        mode=before.state.mode if before else None,
        before=_state(present),
    )


def _title(merging: Merging) -> str:
    """Return the title that forges give a revert; the number alone where theirs holds what must not be posted."""
    try:
        return clean_title(f'Revert "{merging.title}"'[:MAX_TITLE])
    except ConnectorError:
        return f"Revert pull request {merging.number}"


def _body(merging: Merging) -> str:
    return f"Reverts pull request {merging.number}, which went into {merging.base} as {merging.commit}."


def _proposed(forge: Forge, opening: Opening, worked: Worked, merging: Merging, recipients: int) -> Proposed:
    about: dict[str, Json] = {"reverts": merging.number, "reverted_commit": merging.commit}
    return Proposed(
        tool=RevertPullRequest.name,
        verb=f"Revert pull request {merging.number} by one called",
        backend=forge.identity,
        opening=opening,
        worked=worked,
        recipients=recipients,
        about=about,
    )


async def objection(plan: Plan, forge: Forge, opening: Opening, action: ActionRef) -> Failed | Stale | None:
    """Work the plan out again from the merge, which is history; say what stands against it."""
    merging = await merges(forge).merging(_number(plan))
    checked = replace(cleaned(opening), base=merging.base)
    if {item.path for item in opening.files} != set(merging.files):
        return Failed("the plan touches other files than the merge did; nothing was done")
    worked = await anyio.to_thread.run_sync(_worked, merging, await forge.reviewed(opening))
    return await objecting(plan, _proposed(forge, checked, worked, merging, recipients_of(plan)), forge, action)


def _number(plan: Plan) -> int:
    number = plan.change["reverts"]
    if not isinstance(number, int):
        raise ConnectorError("the plan does not say which merge it reverts")
    return number


_LANDING = landing_by(objection)
TOOL = RevertPullRequest
