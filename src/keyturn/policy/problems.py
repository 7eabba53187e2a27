"""Collects every problem of a policy text, each under its dotted path, so that they are told all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from keyturn.model.errors import ConfigurationError
from keyturn.policy.shown import shown

_SUGGESTED = 50  # beyond so many problems the search for a near name is not worth its time
_TOLD = 500


class Problems:
    """The problems found so far; mutable, and used by one reading only."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: str, text: str) -> None:
        """Record one problem at the dotted path `place`."""
        self._found.append(f"{place}: {text}")

    def unknown(self, place: str, text: str, name: str, known: Iterable[str]) -> None:
        """Record that `name` is none of `known`, with the nearest of them as a suggestion."""
        self.add(place, text + (nearest(name, known) if len(self._found) < _SUGGESTED else ""))

    def settle(self) -> None:
        """Raise `ConfigurationError` with all problems, if there are any."""
        if not self._found:
            return
        told = self._found[:_TOLD]
        if len(self._found) > _TOLD:
            told.append(f"policy.toml: and {len(self._found) - _TOLD} more problems")
        raise ConfigurationError(*told)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for the known name nearest to `name`, or nothing."""
    matches = difflib.get_close_matches(name[:100], list(known), n=1)
    return f" (did you mean {shown(matches[0])}?)" if matches else ""
