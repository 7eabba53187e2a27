"""One difference of two policies, as a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from keyturn.canon import Json
from keyturn.model.decision import Request

Kind: TypeAlias = Literal["gains", "loses", "changes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference as a sentence.

    who      the assistant or reviewer who gains or loses; empty for a change of the text
    request  a call that shows it, for gains and losses of assistants
    open     what else such a call would have to be, where that could not be settled
    """

    kind: Kind
    who: str
    text: str
    rules: tuple[str, ...] = ()
    request: Request | None = None
    open: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the change as `--json` prints it."""
        request = self.request
        call: dict[str, Json] | None = None
        if request is not None:
            call = {"tool": request.tool, "target": request.target, "arguments": dict(request.arguments)}
        return {
            "kind": self.kind,
            "who": self.who,
            "text": self.text,
            "rules": list(self.rules),
            "request": call,
            "open": list(self.open),
        }
