"""Merges a pull request of anybody, exactly at the head that was reviewed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import anyio.to_thread

from keyturn.canon import Json
from keyturn.connectors.forge import CheckState, FileState, Forge, Snapshot, declared
from keyturn.connectors.forge.merging import Merge, Merged, MergeMethod, Proposal
from keyturn.connectors.forge.names import shown
from keyturn.model.agreement import disagreeing
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Outcome, Probe, Stale
from keyturn.model.plan import Backend, Inverse, Plan
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.merge_pull_request import Arguments
from keyturn.tools.audience import more_are_told, recipients_of, told
from keyturn.tools.comparing import Compared, compare
from keyturn.tools.landing import PREVIEW, Landing
from keyturn.tools.merging import merges
from keyturn.tools.standing import Standing, moved, shown_standing, standing

_WAYS: Mapping[str, MergeMethod] = {"merge": "merge", "squash": "squash", "rebase": "rebase"}
_IN_WORDS = {"merge": "with a merge commit", "squash": "squashed into one commit", "rebase": "rebased"}


class MergePullRequest:
    """`merge_pull_request` on those repositories of the wiring whose forges merge."""

    name = "merge_pull_request"
    port = "forge"

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out what the merge would bring: the complete diff from where the branches part to the head.

        Reviewed facts are the head, the base branch, where they part, what stands on the base at each touched path,
        the worst state of the checks, and how many people would be told; the guard is the base's head. Checks that
        fail or have not ended are no reason to refuse: they are shown, and the policy can ask for better.
        """
        forge = declared(self._forges, arguments.repository)
        proposal = await merges(forge).proposal(arguments.number)
        _refuse_unready(proposal)
        snapshot = await forge.snapshot(proposal.base, sorted(proposal.files))
        seen = standing(proposal.checks, proposal.reviews)
        merge = _merge_of(proposal, arguments.method, snapshot, seen.worst)
        if mixed := _mixed(merge, proposal):
            raise ConnectorError(mixed)
        compared = await anyio.to_thread.run_sync(compare, proposal.files)
        return planned(Reviewed(forge.identity, proposal, merge, compared, seen))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Merge once, if all that was reviewed still holds and the plan shows what it does."""
        return await _LANDING.execute(self._forges, plan, action)

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Look whether the action merged it."""
        return await _LANDING.probe(self._forges, plan, action)


def _refuse_unready(proposal: Proposal) -> None:
    name = f"pull request {proposal.number}"
    if proposal.status != "open":
        raise ConnectorError(f"{name} is {proposal.status}; there is nothing to merge")
    if proposal.draft:
        raise ConnectorError(f"{name} is a draft; its author has to mark it ready first")
    if proposal.mergeable is False:
        raise ConnectorError(
            f"{name} cannot be merged into {proposal.base} as it is; bring its branch up to date and solve conflicts"
        )


def _merge_of(proposal: Proposal, method: MergeMethod, base: Snapshot, checks: CheckState) -> Merge:
    return Merge(
        number=proposal.number,
        title=proposal.title,
        base=proposal.base,
        base_commit=base.commit,
        head=proposal.head,
        method=method,
        files={path: file.state if file else None for path, file in sorted(base.files.items())},
        checks=checks,
    )


def _mixed(merge: Merge, proposal: Proposal) -> str | None:
    """Name a file that changed on both sides, differently: what a merge makes of the two, no diff here shows."""
    for path, (was, wanted) in sorted(proposal.files.items()):
        states = [file.state if file else None for file in (was, wanted)]
        if merge.files.get(path) not in states:
            return (
                f"{shown(path)} has changed on {proposal.base} too since the branch parted from it, and what a merge "
                "makes of both is not known before; bring the branch up to date, and ask again"
            )
    return None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A merge, and all that its plan shows; `seen` is what the forge reported when it was planned."""

    backend: Backend
    proposal: Proposal
    merge: Merge
    compared: Compared
    seen: Standing


def planned(reviewed: Reviewed) -> Plan:
    """Return the plan of a merge."""
    proposal, merge, worked = reviewed.proposal, reviewed.merge, reviewed.compared.worked
    return Plan(
        tool=MergePullRequest.name,
        target=f"forge:{reviewed.backend.name}/{proposal.base}",
        backend=reviewed.backend,
        summary=_summary(reviewed),
        diff=worked.patch,
        effects=replace(worked.effects(), recipients=proposal.recipients),
        view=_view(reviewed),
        facts={
            "number": proposal.number,
            "head": proposal.head,
            "base": proposal.base,
            "merge_base": proposal.merge_base,
            "blobs": _states_to_json(merge.files),
            "checks": merge.checks,
            "recipients": proposal.recipients,
        },
        guard={"base_commit": merge.base_commit},
        change={"title": merge.title, "method": merge.method},
        inverse=Inverse(
            summary=f"open a pull request that reverts number {proposal.number}",
            tool="revert_pull_request",
            arguments={"repository": reviewed.backend.name, "number": proposal.number},
        ),
    )


def _summary(reviewed: Reviewed) -> str:
    proposal, compared = reviewed.proposal, reviewed.compared
    commits = "1 commit" if proposal.commits == 1 else f"{proposal.commits} commits"
    what = f'pull request {proposal.number} "{visible(proposal.title)}" of {visible(proposal.author)}'
    where = f"into {proposal.base} on {reviewed.backend.name} {_IN_WORDS[reviewed.merge.method]}"
    size = f"{compared.worked.summary()}{compared.note()}, {commits} up to {proposal.head}"
    return f"Merge {what} {where}: {size}{told(proposal.recipients)}; {reviewed.seen.words(proposal.head)}"


def _view(reviewed: Reviewed) -> dict[str, Json]:
    proposal = reviewed.proposal
    return {
        "files": reviewed.compared.worked.view(),
        "diff_complete": reviewed.compared.summarised == 0,
        "number": proposal.number,
        "url": proposal.url,
        "title": visible(proposal.title),
        "author": visible(proposal.author),
        "action": proposal.action,
        "base": proposal.base,
        "branch": visible(proposal.branch),
        "method": reviewed.merge.method,
        "commits": proposal.commits,
        "checks": reviewed.seen.checks_view(),
        "reviews": reviewed.seen.reviews_view(),
        "preview": PREVIEW,
    }


def _states_to_json(files: Mapping[str, FileState | None]) -> list[Json]:
    return [
        {"path": path, "blob": state.blob if state else None, "mode": state.mode if state else None}
        for path, state in sorted(files.items())
    ]


def _states(blobs: Json) -> dict[str, FileState | None]:
    if not isinstance(blobs, Sequence) or isinstance(blobs, str):
        raise ConnectorError("the plan's files are not a list")
    rows = [item for item in blobs if isinstance(item, Mapping)]
    return {
        str(item["path"]): None if item["blob"] is None else FileState(str(item["blob"]), str(item["mode"]))
        for item in rows
    }


async def objection(plan: Plan, forge: Forge, merge: Merge, action: ActionRef) -> Failed | Stale | None:
    """Work the plan out again from the pull request as it is; say what stands against it.

    What stands on the base at the touched paths is compared by the forge, which does so right before it merges.
    """
    proposal = await merges(forge).proposal(merge.number)
    if proposal.status != "open":
        return None  # merged by this very action, in a ledger since restored, or by others: merging it tells which
    seen = shown_standing(plan.view)
    differs = (*_moved(plan, merge, proposal), *moved(seen, standing(proposal.checks, proposal.reviews)))
    if differs:
        return Stale(differs)
    compared = await anyio.to_thread.run_sync(compare, proposal.files)
    as_then = replace(proposal, recipients=recipients_of(plan))
    again = planned(Reviewed(forge.identity, as_then, _bound(merge, seen, proposal), compared, seen))
    said = disagreeing(plan, again) or _mixed(merge, proposal)
    return Failed(said) if said is not None else None


def _bound(merge: Merge, seen: Standing, proposal: Proposal) -> Merge:
    """Return the merge with all that follows from the pull request taken from there."""
    files = {path: merge.files.get(path) for path in proposal.files}
    return replace(merge, number=proposal.number, files=files, checks=seen.worst)


def _moved(plan: Plan, merge: Merge, proposal: Proposal) -> list[str]:
    """Return a sentence for each thing reviewed that is another one now."""
    reviewed: list[tuple[bool, str]] = [
        (proposal.head == merge.head, f"its branch is no longer at the reviewed commit {merge.head}"),
        (proposal.base == merge.base, f"its base is {proposal.base} and no longer {merge.base}"),
        (proposal.merge_base == plan.facts["merge_base"], "it parts from its base at another commit"),
        (proposal.title == merge.title, "it has another title"),
        (not proposal.draft, "it is a draft again"),
        (proposal.mergeable is not False, f"it cannot be merged into {proposal.base} as it is any more"),
    ]
    more = more_are_told(plan.facts["recipients"], proposal.recipients)
    found = [said for holds, said in reviewed if not holds]
    return found if more is None else [*found, more]


async def merge_it(forge: Forge, merge: Merge, action: ActionRef) -> Merged | Stale:
    """Merge, once."""
    return await merges(forge).merge(merge, action)


async def settle(forge: Forge, merge: Merge, action: ActionRef) -> Merged | CannotHappen | CannotTell:
    """Look whether this action merged it."""
    return await merges(forge).probe_merge(merge, action)


def _merge(plan: Plan) -> Merge:
    number, method = plan.facts["number"], _WAYS.get(str(plan.change["method"]))
    if not isinstance(number, int) or method is None:
        raise ConnectorError("the plan does not say what is merged, and how")
    return Merge(
        number=number,
        title=str(plan.change["title"]),
        base=str(plan.facts["base"]),
        base_commit=str(plan.guard["base_commit"]),
        head=str(plan.facts["head"]),
        method=method,
        files=_states(plan.facts["blobs"]),
        checks=shown_standing(plan.view).worst,
    )


def _result(plan: Plan, merged: Merged) -> dict[str, Json]:
    return {
        "repository": plan.backend.name,
        "number": merged.number,
        "base": merged.base,
        "head": plan.facts["head"],
        "commit": merged.commit,
        "method": plan.change["method"],
        "url": merged.url,
    }


def _elsewhere(merge: Merge, merged: Merged) -> str | None:
    """Say that it went to another base: a forge takes no base along with a merge, and others may have changed it."""
    if merged.base == merge.base:
        return None
    return (
        f"pull request {merged.number} was sent to {shown(merged.base)} by others while it was merged, and went in "
        f"there, not into {shown(merge.base)} as reviewed"
    )


_LANDING = Landing(
    change=_merge, objection=objection, land=merge_it, settle=settle, result=_result, shortfall=_elsewhere
)
TOOL = MergePullRequest
