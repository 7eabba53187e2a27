"""What the tools share that open a pull request of their own: its plan, and the landing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, Landed, Opening
from keyturn.connectors.forge.changes import Worked, files_from_json, files_to_json, states_to_json
from keyturn.connectors.forge.names import check_base
from keyturn.connectors.forge.text import clean_body, clean_title
from keyturn.model.agreement import disagreeing
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Stale
from keyturn.model.plan import OWN_ACTION, Backend, Inverse, Plan
from keyturn.model.tool import ActionRef
from keyturn.tools.audience import more_are_told, told
from keyturn.tools.landing import PREVIEW, Against, Landing


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A pull request to be opened, with what its files make of the base commit.

    tool        the tool that opens it
    verb        begins the summary, such as `Open pull request`
    recipients  people who would be told at the time of planning
    about       what the tool's plans have beside those of `open_pull_request`: in what conditions see, and in what
                execution needs
    """

    tool: str
    verb: str
    backend: Backend
    opening: Opening
    worked: Worked
    recipients: int
    about: Mapping[str, Json] = field(default_factory=dict)


def planned(proposed: Proposed) -> Plan:
    """Return the plan of a pull request to be opened; "it" in the inverse is closed with its branch deleted."""
    opening, worked = proposed.opening, proposed.worked
    place = f"{proposed.backend.name}: {worked.summary()}, base {opening.base}{told(proposed.recipients)}"
    texts: dict[str, Json] = {
        "base": opening.base,
        "title": opening.title,
        "body": opening.body,
        "draft": opening.draft,
        **proposed.about,
    }
    return Plan(
        tool=proposed.tool,
        target=f"forge:{proposed.backend.name}/{opening.base}",
        backend=proposed.backend,
        summary=f'{proposed.verb} "{opening.title}" on {place}',
        diff=worked.patch,
        effects=replace(worked.effects(), recipients=proposed.recipients),
        view={"files": worked.view(), **texts, "preview": PREVIEW},
        facts={
            "base_commit": opening.base_commit,
            "blobs": states_to_json(worked.files),
            "recipients": proposed.recipients,
        },
        guard={"head": opening.base_commit},
        change={**texts, "files": files_to_json(worked.files)},
        inverse=Inverse(
            summary="close it and delete the branch keyturn/<action id>; the base branch is untouched",
            tool="close_pull_request",
            arguments={"action_id": OWN_ACTION},
        ),
    )


def cleaned(opening: Opening) -> Opening:
    """Return an opening as it may be posted. Refused: a base, a title or a body that no call could have."""
    check_base(opening.base)
    return replace(opening, title=clean_title(opening.title), body=clean_body(opening.body))


async def objecting(plan: Plan, again: Proposed, forge: Forge, action: ActionRef) -> Failed | Stale | None:
    """Say what stands against a plan, given the same pull request worked out again for the reviewed recipients."""
    said = disagreeing(plan, planned(again))
    if said is not None:
        return Failed(said)
    more = more_are_told(again.recipients, await forge.audience(again.opening.body))
    # Opened by this very action already, in a ledger since restored: then landing it finds that, whoever came since.
    return None if more is None or await _there(forge, action) else Stale((more,))


async def _there(forge: Forge, action: ActionRef) -> bool:
    try:
        await forge.pull(action.action)
    except ConnectorError as error:
        if error.kind != "refused":
            raise
        return False
    return True


def landing_by(objection: Against[Opening]) -> Landing[Opening, Landed]:
    """Return how a tool opens what its plans describe; `objection` works such a plan out once more."""
    return Landing(change=_opening, objection=objection, land=_apply, settle=_settle, result=_result)


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


async def _apply(forge: Forge, opening: Opening, action: ActionRef) -> Landed | Stale:
    return await forge.apply(opening, action)


async def _settle(forge: Forge, opening: Opening, action: ActionRef) -> Landed | CannotHappen | CannotTell:
    return await forge.probe(opening, action)


def _result(plan: Plan, landed: Landed) -> dict[str, Json]:
    return {
        "repository": plan.backend.name,
        "branch": landed.branch,
        "commit": landed.commit,
        "base": plan.change["base"],
        "base_commit": plan.facts["base_commit"],
        "draft": plan.change["draft"],
        "number": landed.number,
        "url": landed.url,
    }
