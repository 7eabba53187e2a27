"""Changes of the entry key: a new one comes in and the one before goes out, in two entries that stand together.

The log key signs both, and a listed person signs that the one takes the place of the other: so neither whoever holds
the log key nor a person alone can bring in a key, and there is exactly one that may sign at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn import canon
from keyturn.fold.signatures import Act

ROTATED = "rotated"
COMPROMISED = "compromised"
VERBS: Mapping[str, str] = {ROTATED: "keys.rotate", COMPROMISED: "keys.revoke"}
"""Why a key is revoked → the verb that a person signs."""


def key_change(facts: Mapping[str, Any], added: str) -> Act:
    """Return what a person signs for a `key.revoked` entry; `added` is the key (base64) of the entry before it."""
    revoked, reason = facts["revoked"], facts["reason"]
    content = canon.digest({"added": added, "reason": reason, "revoked": revoked})
    return Act(verb=VERBS[reason], object=revoked, digest=content)
