"""What a verification found, as a value: the verdict, and what an auditor wants to know beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from keyturn.model.time import format_timestamp
from keyturn.verifier.proofs import ADVICE, NotProved

Verdict: TypeAlias = Literal["PASS", "PASS-UNANCHORED", "FAIL"]
LISTED = 1000
"""How many of each thing a report lists; of the rest it says how many there are."""


@dataclass(frozen=True, slots=True)
class FirstBad:
    """The first thing that was not proved: the entry (None: the file), the proof's number, why, and what to do."""

    seq: int | None
    proof: int
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An action that was begun and is not settled; `seq` is its request, `at` when it was begun."""

    action: str
    seq: int
    tool: str
    target: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """An entry before which the clocks jumped.

    kind     "boot": another boot of the machine; "step": within a boot the wall clock went another way than the
             machine's own clock
    seconds  by how much more the wall clock moved, rounded; None for another boot, where nothing can tell
    """

    seq: int
    at: datetime
    kind: Literal["boot", "step"]
    seconds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedReview:
    """A recorded review that cannot count, and why."""

    seq: int
    action: str
    reviewer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A policy that came into force: who signed it (None: the founding one), and whose keys changed.

    `added` and `removed` map reviewers to fingerprints of keys, `SHA256:…`; `endorsed` names who endorsed it before.
    """

    seq: int
    at: datetime
    policy: str
    by: str | None
    added: Mapping[str, tuple[str, ...]]
    removed: Mapping[str, tuple[str, ...]]
    endorsed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token that was issued: for whom, until when, and who signed (None: at the founding)."""

    seq: int
    at: datetime
    token: str
    principal: str
    expires_at: datetime
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A person's signed word that the ledger was restored ("restored"), or that the clock is right ("clock").

    missing  size and last leaf hash of the ledger that was lost, as far as somebody knew it
    ahead    seconds by which the log's time runs ahead of the wall clock from there on
    """

    seq: int
    at: datetime
    reason: str
    by: str
    missing: tuple[int, str] | None
    ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """Another entry key took the place of `revoked` (a kid): why, and who signed."""

    seq: int
    at: datetime
    revoked: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """A payload that was deleted: of which entry, on what ground, and who signed. Its commitment stays."""

    seq: int
    at: datetime
    entry: int
    field: str
    basis: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """The payloads of all entries below `before` were deleted, in one environment or in all (None).

    On what ground, and who signed. Their commitments stay.
    """

    seq: int
    at: datetime
    environment: str | None
    before: int
    basis: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The log was ended: who signed, and the verifier string of the log that goes on in its place (None: none)."""

    seq: int
    at: datetime
    successor: str | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeds:
    """The log that this one goes on from: its verifier string, and size and root (hex) it ended with.

    agreed  what was brought that says the same
    """

    seq: int
    log: str
    size: int
    root: str
    agreed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Underivable:
    """A decision that was not derived again: `missing` are payloads it follows from, which were erased."""

    seq: int
    kind: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """The entries at the end that nobody outside is known to have seen: first and last `seq`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Somebody outside who has seen the first `size` entries exactly as they are.

    by           a witness's name and key id, or what the auditor called what was brought
    seconds, at  when, by the witness's clock: the entries existed by then. None for what was brought, which the
                 auditor can date; `at` also for a number of seconds that is no date
    last_at      the time that the last of these entries gives itself
    """

    size: int
    by: str
    how: Literal["cosignature", "checkpoint", "receipt", "proof"]
    seconds: int | None
    at: datetime | None
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """The newest checkpoint that the ledger says it brought to an anchor: where to look, not proof of it."""

    seq: int
    at: datetime
    anchor: str
    type: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A timestamp (RFC 3161) of the first `size` entries that the `anchor.recorded` entry `seq` keeps.

    at, by   when they existed at the latest, and the subject of the authority's certificate; None where it does not
             hold against the certificates that were given, and `problem` says why
    """

    seq: int
    size: int
    at: datetime | None
    by: str | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredBefore:
    """How many actions ran under a rule that asks for an anchor before the effect, and had one.

    cosigned  those of them whose intent a witness cosigned that the auditor names; of the others the ledger says so
    """

    actions: int = 0
    cosigned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A key that a reviewer has in the ledger, or signed with, and that the signers given do not bear out."""

    seq: int
    reviewer: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one verification.

    size              entries in the file, as far as the file says; with a good verdict, entries proved
    last_seq, last_at the last entry that was proved, None if there is none
    log               the log's verifier string as the file has it, None if it could not be read
    pinned            whether a verifier string was given from outside and this log is the one it names
    opened            how the file was read
    witnessed_size    first entries that somebody outside has seen, by what was named or brought
    unwitnessed       entries after them, of which `unwitnessed_tail` names first and last
    vouched           who has seen how many, the newest
    checkpoints       checkpoints kept in the ledger that were proved
    anchors           by the ledger's own word, where its newest checkpoints were brought
    timestamps        timestamps that the ledger keeps, `stamps` the newest, if certificates were given
    anchored_before   actions whose rule asks for an anchor before the effect, and that had one
    strangers         reviewers' keys that the list of signers given does not bear out
    counts            entries proved, by kind
    omitted           what the lists leave out, each longer than 1,000: name of the list → how many
    """

    verdict: Verdict
    size: int
    last_seq: int | None
    last_at: datetime | None
    first_bad: FirstBad | None
    log: str | None
    pinned: bool
    opened: str
    unwitnessed: int
    counts: Mapping[str, int]
    witnessed_size: int = 0
    unwitnessed_tail: Tail | None = None
    vouched: tuple[Vouched, ...] = ()
    checkpoints: int = 0
    anchors: tuple[Anchored, ...] = ()
    anchored_before: AnchoredBefore = AnchoredBefore()
    timestamps: int = 0
    stamps: tuple[Stamp, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    open_intents: tuple[Begun, ...] = ()
    unknown_outcomes: tuple[Begun, ...] = ()
    clock_steps: tuple[ClockStep, ...] = ()
    refused_reviews: tuple[RefusedReview, ...] = ()
    activations: tuple[Activation, ...] = ()
    tokens: tuple[Issued, ...] = ()
    recoveries: tuple[Recovered, ...] = ()
    key_changes: tuple[KeyChange, ...] = ()
    erased: tuple[Erased, ...] = ()
    pruned: tuple[Pruning, ...] = ()
    closed: Closed | None = None
    succeeds: Succeeds | None = None
    underivable: tuple[Underivable, ...] = ()
    omitted: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON: its fields by name, times as the ledger writes them."""
        value: dict[str, Any] = _plain(self)
        return value


def first_bad(failure: NotProved) -> FirstBad:
    """Return a failed proof as reports name it."""
    return FirstBad(failure.seq, failure.proof, failure.reason, ADVICE[failure.proof])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_timestamp(value)
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
