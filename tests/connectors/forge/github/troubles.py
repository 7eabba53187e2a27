"""What can happen to one request on its way to GitHub and back, for tests that try each."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bed.faults import Deed, DoneBut, DropAfter, DropBefore, Garble, Instead, Truncate, Twice, echo
from tests.bed.faults import refusal as says

TROUBLES: Mapping[str, Deed] = {
    "is lost on its way": DropBefore(),
    "is done and its answer lost": DropAfter(),
    "is done and its line reset": DropAfter(reset=True),
    "is done and called an error": DoneBut(says(500)),
    "is an error": Instead(says(502)),
    "is done and its answer cut": Truncate(),
    "is done and its answer garbled": Garble(),
    "is a lie": Instead(echo(201)),
    "arrives twice": Twice(),
    "arrives twice, told of the second": Twice(answered=2),
    "conflicts": Instead(says(409)),
    "is refused": Instead(says(403, "Resource not accessible by integration")),
    "is invalid": Instead(says(422, "Repository rule violations found")),
    "comes too often": Instead(says(429, retry_after="1")),
}
"""By words that go on from the name of a step: what happens to it."""
FEW = ("is lost on its way", "is done and its answer lost", "is a lie", "is refused")
"""Those that are tried where the others make no difference."""


def cases(steps: Mapping[str, tuple[str, str, int]], all_of: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return steps with troubles: all of them for the steps named, a few for the others."""
    return [(step, trouble) for step in steps for trouble in (TROUBLES if step in all_of else FEW)]
