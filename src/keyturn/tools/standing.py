"""Holds what a forge says of a pull request, its checks and its reviews, against what a reviewer was shown of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.forge import Check, CheckState, PullReview
from keyturn.connectors.forge.merging import worse, worst
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

_STATES: Mapping[str, CheckState] = {
    "success": "success",
    "pending": "pending",
    "failure": "failure",
    "none": "none",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the forge reports of the head: checks by name, and the newest review of each person."""

    checks: Mapping[str, CheckState]
    reviews: Mapping[str, tuple[str, str]]

    @property
    def worst(self) -> CheckState:
        """Return the worst state of the checks."""
        return worst(Check(name, state) for name, state in self.checks.items())

    def checks_view(self) -> dict[str, Json]:
        """Return the checks as conditions see them."""
        seen: list[Json] = [{"name": name, "state": state} for name, state in sorted(self.checks.items())]
        return {"state": self.worst, "seen": seen}

    def reviews_view(self) -> list[Json]:
        """Return the reviews as conditions see them."""
        return [
            {"reviewer": reviewer, "verdict": verdict, "commit": commit}
            for reviewer, (verdict, commit) in sorted(self.reviews.items())
        ]

    def words(self, head: str) -> str:
        """Return what a summary says: the worst of the checks, and who approved or wants changes."""
        approved = sum(verdict == "approved" and commit == head for verdict, commit in self.reviews.values())
        against = sum(verdict == "changes_requested" for verdict, _ in self.reviews.values())
        parts = ["no checks" if self.worst == "none" else f"checks: {self.worst}"]
        parts.append(f"{approved or 'no'} approval{'' if approved == 1 else 's'} there")
        if against:
            parts.append(f"changes wanted by {against}")
        return ", ".join(parts)


def standing(checks: Iterable[Check], reviews: Iterable[PullReview]) -> Standing:
    """Return what a forge reports; of checks that share a name the worst counts."""
    named: dict[str, list[Check]] = {}
    for check in checks:
        named.setdefault(visible(check.name), []).append(check)
    return Standing(
        {name: worst(those) for name, those in named.items()},
        {visible(one.reviewer): (visible(one.verdict), one.commit) for one in reviews},
    )


def shown_standing(view: Mapping[str, Json]) -> Standing:
    """Read back from a plan's view what its reviewer was shown. Refused (`ConnectorError`): another shape."""
    try:
        checks, reviews = view["checks"], view["reviews"]
        return Standing(
            {str(item["name"]): _STATES[str(item["state"])] for item in _rows(_mapping(checks)["seen"])},
            {str(item["reviewer"]): (str(item["verdict"]), str(item["commit"])) for item in _rows(reviews)},
        )
    except (KeyError, TypeError) as error:
        raise ConnectorError("the plan does not show checks and reviews as plans do") from error


def _mapping(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value


def _rows(value: Json) -> Sequence[Mapping[str, Json]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError("not a list")
    return [_mapping(item) for item in value]


def moved(shown: Standing, now: Standing) -> Iterator[str]:
    """Yield a sentence for each check that is worse than shown and each review that speaks against it since.

    What turned out better is no reason to ask again: a check that has passed, one more approval, a remark.
    """
    for name, state in shown.checks.items():
        if name not in now.checks:
            yield f"the check {name!r} is not there any more"
        elif worse(now.checks[name], state):
            yield f"the check {name!r} was {state} at the review and is {now.checks[name]}"
    for name, state in now.checks.items():
        if name not in shown.checks and state in ("pending", "failure"):
            yield f"the check {name!r} was not there at the review and is {state}"
    for reviewer, said in shown.reviews.items():
        if said[0] == "approved" and now.reviews.get(reviewer) != said:
            yield f"the approval of {reviewer!r} on the forge is not there any more"
    for reviewer, (verdict, _) in now.reviews.items():
        if verdict == "changes_requested" and shown.reviews.get(reviewer, ("", ""))[0] != verdict:
            yield f"{reviewer!r} has asked for changes on the forge since the review"
