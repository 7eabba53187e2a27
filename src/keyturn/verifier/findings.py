"""What an examination gathers on its way for the report, each list bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from keyturn.log.chain import Head
from keyturn.log.entry import Entry
from keyturn.model.sshkey import PublicKey
from keyturn.model.time import parse_timestamp
from keyturn.verifier.proofs import proving
from keyturn.verifier.report import (
    LISTED,
    Activation,
    ClockStep,
    Closed,
    Erased,
    Issued,
    KeyChange,
    Pruning,
    Recovered,
    RefusedReview,
    Stranger,
    Underivable,
)

T = TypeVar("T")
STEP = timedelta(seconds=60)
"""How far the wall clock may go another way than the machine's own clock between two entries without a word."""
_TICK = timedelta(microseconds=1)


class Listing(Generic[T]):
    """A list that stops growing at `LISTED` and counts what it leaves out."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self.omitted = 0

    @property
    def items(self) -> tuple[T, ...]:
        """What is listed."""
        return tuple(self._items)

    def add(self, make: Callable[[], T]) -> None:
        """List what `make` gives, or count it."""
        if len(self._items) < LISTED:
            self._items.append(make())
        else:
            self.omitted += 1


@dataclass(slots=True)
class Findings:
    """What is gathered on the way, each list bounded."""

    counts: Counter[str] = field(default_factory=Counter)
    clock_steps: Listing[ClockStep] = field(default_factory=Listing)
    refused_reviews: Listing[RefusedReview] = field(default_factory=Listing)
    activations: Listing[Activation] = field(default_factory=Listing)
    tokens: Listing[Issued] = field(default_factory=Listing)
    recoveries: Listing[Recovered] = field(default_factory=Listing)
    strangers: Listing[Stranger] = field(default_factory=Listing)
    key_changes: Listing[KeyChange] = field(default_factory=Listing)
    erased: Listing[Erased] = field(default_factory=Listing)
    pruned: Listing[Pruning] = field(default_factory=Listing)
    underivable: Listing[Underivable] = field(default_factory=Listing)
    _keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def activated(self, entry: Entry, by: str | None, endorsed: tuple[str, ...]) -> None:
        """List a policy that came into force, with the reviewers' keys that came and went."""
        before, self._keys = self._keys, _fingerprints(entry)
        now = self._keys
        self.activations.add(
            lambda: Activation(
                seq=entry.seq,
                at=entry.at,
                policy=entry.text("policy"),
                by=by,
                added=_beyond(now, before),
                removed=_beyond(before, now),
                endorsed=endorsed,
            )
        )

    def issued(self, entry: Entry) -> None:
        """List a token."""
        facts: Mapping[str, Any] = entry.facts
        self.tokens.add(
            lambda: Issued(
                seq=entry.seq,
                at=entry.at,
                token=facts["token"],
                principal=facts["principal"],
                expires_at=parse_timestamp(facts["expires_at"]),
                by=_signer(entry) if facts["act"] else None,
            )
        )

    def changed_key(self, entry: Entry) -> None:
        """List an entry key that another took the place of."""
        facts: Mapping[str, Any] = entry.facts
        self.key_changes.add(
            lambda: KeyChange(
                seq=entry.seq, at=entry.at, revoked=facts["revoked"], reason=facts["reason"], by=_signer(entry)
            )
        )

    def recovered(self, entry: Entry, missing: tuple[int, str] | None, ahead: timedelta) -> None:
        """List a person's word on a restored ledger or a clock."""
        self.recoveries.add(
            lambda: Recovered(
                seq=entry.seq,
                at=entry.at,
                reason=entry.text("reason"),
                by=_signer(entry),
                missing=missing,
                ahead=round(ahead.total_seconds()),
            )
        )

    def erasure(self, entry: Entry) -> None:
        """List a payload that was deleted."""
        facts: Mapping[str, Any] = entry.facts
        self.erased.add(
            lambda: Erased(
                seq=entry.seq,
                at=entry.at,
                entry=facts["entry"],
                field=facts["field"],
                basis=facts["basis"],
                by=_signer(entry),
            )
        )

    def pruning(self, entry: Entry) -> None:
        """List payloads that were deleted by their age."""
        facts: Mapping[str, Any] = entry.facts
        self.pruned.add(
            lambda: Pruning(
                seq=entry.seq,
                at=entry.at,
                environment=facts["environment"],
                before=facts["before"],
                basis=facts["basis"],
                by=_signer(entry),
            )
        )

    def refused(self, entry: Entry, reason: str) -> None:
        """List a review that cannot count."""
        self.refused_reviews.add(
            lambda: RefusedReview(
                seq=entry.seq, action=entry.action or "", reviewer=entry.text("reviewer"), reason=reason
            )
        )

    def stranger(self, found: Stranger) -> None:
        """List a key that nobody outside bears out."""
        self.strangers.add(lambda: found)

    def lacks(self, entry: Entry, missing: tuple[str, ...]) -> None:
        """List a decision that cannot be derived again, for want of `missing`."""
        self.underivable.add(lambda: Underivable(seq=entry.seq, kind=entry.kind, missing=missing))

    def clock(self, before: Head, entry: Entry) -> None:
        """List it if the clocks jumped between the entry that `before` ends with and this one."""
        if before.size == 0:
            return
        if entry.boot != before.boot:
            self.clock_steps.add(lambda: ClockStep(seq=entry.seq, at=entry.at, kind="boot", seconds=None))
            return
        # In whole microseconds: `up` may be any number, more than a time span can hold.
        step = (entry.at - before.at) // _TICK - (entry.up - before.up)
        if abs(step) > STEP // _TICK:
            seconds = round(step / 1_000_000)
            self.clock_steps.add(lambda: ClockStep(seq=entry.seq, at=entry.at, kind="step", seconds=seconds))

    def omitted(self) -> dict[str, int]:
        """Return how much each list leaves out, by its name."""
        lists = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: listing.omitted for name, listing in lists if isinstance(listing, Listing)}


def closed(entry: Entry) -> Closed:
    """Return how a log was ended."""
    facts: Mapping[str, Any] = entry.facts
    return Closed(seq=entry.seq, at=entry.at, successor=facts["successor"], by=_signer(entry))


def _signer(entry: Entry) -> str:
    act: Any = entry.facts["act"]
    return str(act["statement"]["by"])


def _fingerprints(entry: Entry) -> dict[str, tuple[str, ...]]:
    facts: Mapping[str, Any] = entry.facts
    with proving(entry.seq, 10):
        return {
            name: tuple(PublicKey.parse(line).fingerprint for line in lines)
            for name, lines in facts["reviewers"].items()
        }


def _beyond(these: Mapping[str, tuple[str, ...]], those: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the keys of `these` that are not in `those`, by person."""
    more = {name: tuple(key for key in keys if key not in those.get(name, ())) for name, keys in these.items()}
    return {name: keys for name, keys in more.items() if keys}
