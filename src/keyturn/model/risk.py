"""How much could go wrong with one planned request, as a number with its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.canon import Json


@dataclass(frozen=True, slots=True)
class RiskPart:
    """One part of a score: its points out of the most it may give, and the sentences that say why."""

    name: str
    points: int
    most: int
    because: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The part as people read it."""
        why = f": {'; '.join(self.because)}" if self.because else ""
        return f"{self.name} {self.points} of {self.most}{why}"

    def to_json(self) -> dict[str, Json]:
        """Return the part as the payload keeps it."""
        return {"name": self.name, "points": self.points, "most": self.most, "because": list(self.because)}


@dataclass(frozen=True, slots=True)
class Risk:
    """A score: the sum of the points of its parts, which stand in the order of their names."""

    parts: tuple[RiskPart, ...]

    @property
    def score(self) -> int:
        """The points of all parts together."""
        return sum(part.points for part in self.parts)

    @property
    def points(self) -> Mapping[str, int]:
        """The points of each part by its name."""
        return {part.name: part.points for part in self.parts}

    @property
    def text(self) -> str:
        """The score with the parts that make it, in numbers alone."""
        made = ", ".join(f"{part.name} {part.points}" for part in self.parts if part.points)
        return f"risk {self.score}" + (f" ({made})" if made else "")

    def to_json(self) -> dict[str, Json]:
        """Return the score as the payload `risk` keeps it."""
        return {"score": self.score, "parts": [part.to_json() for part in self.parts]}


def risk_from_json(value: Json) -> Risk | None:
    """Rebuild a score from its payload, or return None where that is no score."""
    match value:
        case {"parts": list(parts)}:
            return Risk(tuple(part for row in parts if (part := _part(row)) is not None))
    return None


def _part(row: Json) -> RiskPart | None:
    match row:
        case {"name": str(name), "points": int(points), "most": int(most), "because": list(because)}:
            return RiskPart(name, points, most, tuple(str(text) for text in because))
    return None
