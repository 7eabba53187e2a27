"""One case as a frozen value: a request, what was used before it, and the decision that is expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.model.decision import Request

VERDICTS = ("permit", "hold", "deny", "shadow")
ENDS = ("succeeded", "failed", "undone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier action took from limits, `ago` before the case.

    A dimension that is None is that of the case itself; `pending` says that it still waits for people, `ended` else
    how it ended: "succeeded", "failed" (and changed nothing), or "undone" (done, and taken back).
    """

    amounts: Mapping[str, int]
    ago: timedelta
    principal: str | None = None
    tool: str | None = None
    target: str | None = None
    environment: str | None = None
    pending: bool = False
    ended: str = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case and where it stands (`policy_tests/pulls.toml: cases[0]`).

    expect   "permit", "hold", "deny" or "shadow"
    rule     the id of a rule that must be among those that spoke; None where any may
    code     the code of a reason that must be given; None where any may
    """

    file: str
    place: str
    name: str
    request: Request
    at: datetime
    expect: str
    used: tuple[Earlier, ...] = ()
    rule: str | None = None
    code: str | None = None
