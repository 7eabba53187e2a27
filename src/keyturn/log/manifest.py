"""The manifest of a bundle: which log it holds, how much of it, and which payloads it discloses.

A bundle holds every entry of the log, and of their payloads those that a rule gives: of a range of entries, of some
actions or of all, without some fields. So one short list says of any payload whether it must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.log import kinds
from keyturn.log.keys import BadKey, LogVerifier, parse_verifier

FORMAT = "keyturn-bundle/v1"
MAX_MANIFEST = 1024 * 1024
EVERYWHERE = frozenset({"policy.files", "catalog.files", "anchor.note", "anchor.token", "predecessor.note"})
"""Fields disclosed of every entry and never withheld, as they are never erased: no log is checked without them."""

_FORM = kinds.record(
    format=kinds.one_of(FORMAT),
    payloads=kinds.record(
        actions=kinds.nullable(kinds.many(kinds.uuid, 10_000)),
        end=kinds.integer(),
        first=kinds.integer(),
        withheld=kinds.many(kinds.payload_field),
    ),
    size=kinds.integer(1),
    verifier=kinds.text(300),
)


class ManifestError(ValueError):
    """A manifest is not of its form; the message names the member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    size         entries in it, from the first on
    first, end   entries of [first, end) have their payloads disclosed
    actions      … those of these actions, or of all (None)
    withheld     … without these fields
    """

    verifier: LogVerifier
    size: int
    first: int
    end: int
    actions: frozenset[str] | None = None
    withheld: frozenset[str] = frozenset()

    def discloses(self, seq: int, action: str | None, field: str) -> bool:
        """Tell whether a payload of entry `seq`, of `action` if it is of one, must be there, unless it was erased."""
        chosen = self.first <= seq < self.end and (self.actions is None or action in self.actions)
        return field in EVERYWHERE or (chosen and field not in self.withheld)

    def __bytes__(self) -> bytes:
        """Return the manifest as `manifest.json` holds it."""
        payloads: dict[str, Json] = {
            "actions": None if self.actions is None else sorted(self.actions),
            "end": self.end,
            "first": self.first,
            "withheld": sorted(self.withheld),
        }
        verifier = str(self.verifier)
        return canon.encode({"format": FORMAT, "payloads": payloads, "size": self.size, "verifier": verifier})


def read_manifest(data: bytes) -> Manifest:
    """Read `manifest.json`. Raises `ManifestError`."""
    try:
        value = canon.decode_object(data)
        if wrong := _FORM(value):
            raise ManifestError(wrong)
        fields: Mapping[str, Any] = value
        chosen = fields["payloads"]
        if withheld := EVERYWHERE.intersection(chosen["withheld"]):
            raise ManifestError(f"payloads: {min(withheld)} is never withheld")
        return Manifest(
            verifier=parse_verifier(fields["verifier"]),
            size=fields["size"],
            first=chosen["first"],
            end=chosen["end"],
            actions=None if chosen["actions"] is None else frozenset(chosen["actions"]),
            withheld=frozenset(chosen["withheld"]),
        )
    except canon.CanonError as error:
        raise ManifestError(str(error)) from error
    except BadKey as error:
        raise ManifestError(f"verifier: {error}") from error
