"""What a verification found, as a value: the verdict, and what an auditor wants to know beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from keyturn.model.time import format_timestamp
from keyturn.verifier.proofs import ADVICE, NotProved

T = TypeVar("T")
Verdict: TypeAlias = Literal["PASS", "PASS-UNANCHORED", "FAIL"]
LISTED = 1000
"""How many of each thing a report lists; of the rest it says how many there are."""
APART = timedelta(minutes=5)
"""How far the clocks of a witness and of a ledger may be from each other without a word about it."""


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

    def lines(self, given: str | None = None) -> list[str]:
        """Return the report for people, line by line; nothing in it can steer a terminal.

        `given` says where the verifier string that the log was held against came from; None when there was none.
        """
        return [_visible(line) for line in _lines(self, given)]


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


def _visible(line: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def _lines(report: Report, given: str | None) -> Iterator[str]:
    yield f"{report.verdict}: {report.log or 'nothing of a log was proved'}"
    if report.first_bad is not None:
        yield from _failure(report.first_bad)
    last = "" if report.last_at is None else f"; the last proved is {report.last_seq} of {_time(report.last_at)}"
    if report.opened:
        claimed = "" if report.first_bad is None else ", as the file says"  # nobody has counted them
        yield f"{report.size} entries{claimed}{last}"
    yield f"read {report.opened}" if report.opened else "the file could not be read as a ledger"
    yield _log_key(report, given)
    yield from _neighbours(report)
    yield from _seen(report)
    yield from _events(report)


def _neighbours(report: Report) -> Iterator[str]:
    """Tell which log this one goes on from, and which goes on from it."""
    if (before := report.succeeds) is not None:
        told = (
            f"; {', '.join(before.agreed)} says the same"
            if before.agreed
            else "; hold that against its last checkpoint"
        )
        yield f"goes on from {before.log}, which ended with {before.size} entries{told}"
    if (end := report.closed) is not None:
        after = "no log goes on from it" if end.successor is None else f"{end.successor} goes on from it"
        yield f"closed at entry {end.seq} ({_time(end.at)}), signed by {end.by}; {after}"


def _seen(report: Report) -> Iterator[str]:
    """Tell who has seen what, and exactly what nobody has."""
    if report.witnessed_size:
        yield f"witnessed: the first {report.witnessed_size} entries, exactly as they are"
    newest = {(voucher.by, voucher.how): voucher for voucher in report.vouched}
    yield from (f"  {_voucher(voucher)}" for voucher in newest.values())
    if report.unwitnessed_tail is not None:
        first, last = report.unwitnessed_tail.first, report.unwitnessed_tail.last
        which = f"{report.unwitnessed} entries, {first} to {last}" if first < last else f"1 entry, {first}"
        yield f"unwitnessed: {which}. {_risk(report)}"
    for anchor in report.anchors:
        yield (
            f"anchor {anchor.anchor} ({anchor.type}): entry {anchor.seq} says that it holds a checkpoint of "
            f"{anchor.size} entries; fetch that and hold it against the ledger"
        )
    yield from _stamps(report)
    if (count := report.anchored_before.actions) > 0:
        yield (
            f"anchored before their effects, as their rules ask: {count} actions; of "
            f"{report.anchored_before.cosigned} a witness that you named cosigned the intent"
        )


def _stamps(report: Report) -> Iterator[str]:
    """Tell the newest timestamp that holds, and those that do not."""
    if report.timestamps and not report.stamps:
        yield f"timestamps: {report.timestamps}, not checked: name the authority's certificates (--tsa-cert)"
    for stamp in [stamp for stamp in report.stamps if stamp.problem is None][-1:]:
        when = "" if stamp.at is None else _time(stamp.at)
        yield f"entries 0 to {stamp.size - 1} existed by {when}: timestamped by {stamp.by} (entry {stamp.seq})"
    for stamp in report.stamps:
        if stamp.problem is not None:
            yield f"the timestamp of entry {stamp.seq} does not hold: {stamp.problem}"


def _voucher(voucher: Vouched) -> str:
    entries = "entry 0" if voucher.size == 1 else f"entries 0 to {voucher.size - 1}"
    if voucher.how != "cosignature":
        return f"{entries}: as {voucher.by} has them, a {voucher.how} that was brought"
    if voucher.at is None:
        return f"{entries}: cosigned by {voucher.by}, which gives no time of this calendar"
    told = f"{entries} existed by {_time(voucher.at)}: cosigned by {voucher.by}"
    late = voucher.last_at > voucher.at + APART
    return f"{told}, yet entry {voucher.size - 1} says it is of {_time(voucher.last_at)}" if late else told


def _risk(report: Report) -> str:
    if report.verdict == "PASS":
        return "That only says where checkpoints of what is before were brought"
    return (
        "Nobody outside is known to have seen that; whoever holds the keys could have rewritten it, or cut off what "
        "came later"
    )


def _log_key(report: Report, given: str | None) -> str:
    """Tell whose word the log key is: a verdict is worth as much."""
    if report.log is None:
        return "no log key was believed"  # the file is no ledger, or another log than the one given
    if report.pinned:
        return f"the log key is {given or 'the one given from outside'}"
    return "the log key is what the file itself says: compare the verifier string above with one you kept"


def _failure(bad: FirstBad) -> Iterator[str]:
    where = "the file" if bad.seq is None else f"entry {bad.seq}"
    yield f"first bad: {where}, proof {bad.proof}: {bad.reason}"
    yield bad.advice


def _events(report: Report) -> Iterator[str]:
    if report.counts:
        yield "kinds: " + ", ".join(f"{kind} {count}" for kind, count in sorted(report.counts.items()))
    for change in report.activations:
        signed = _signer(change.by) + (f", endorsed by {', '.join(change.endorsed)}" if change.endorsed else "")
        yield f"policy in force from entry {change.seq} ({_time(change.at)}), {signed}{_changes(change)}"
    for token in report.tokens:
        until = f"until {_time(token.expires_at)}"
        yield f"token for {token.principal} issued at entry {token.seq}, {until}, {_signer(token.by)}"
    yield from _each("open intent", report.open_intents, _begun)
    yield from _each("unknown outcome", report.unknown_outcomes, _begun)
    yield from _each("recovery", report.recoveries, _recovered)
    yield from _each("entry key changed", report.key_changes, _key_change)
    yield from _each("erased", report.erased, _erased)
    yield from _each("pruned", report.pruned, _pruning)
    yield from _each("not derived again", report.underivable, _underivable)
    yield from _each("clock", report.clock_steps, _step)
    yield from _each("refused review", report.refused_reviews, _refused)
    yield from _each("not among the signers given", report.strangers, _stranger)
    yield from (f"and {count} more in {name}" for name, count in report.omitted.items())


def _each(title: str, items: Sequence[T], words: Callable[[T], str]) -> Iterator[str]:
    yield from (f"{title}: {words(item)}" for item in items)


def _begun(item: Begun) -> str:
    asked = f"requested at entry {item.seq}"
    return f"action {item.action} ({item.tool} on {item.target}), {asked}, begun {_time(item.at)}"


def _step(item: ClockStep) -> str:
    what = "another boot of the machine" if item.seconds is None else f"the wall clock jumped by {item.seconds} s"
    return f"before entry {item.seq} ({_time(item.at)}): {what}"


def _recovered(item: Recovered) -> str:
    place = f"entry {item.seq} ({_time(item.at)}), signed by {item.by}"
    if item.reason == "clock":
        ahead = f"; from there on the log's time is {item.ahead} s ahead of the wall clock" if item.ahead else ""
        return f"the clock was taken for right at {place}{ahead}"
    if item.missing is None:
        return f"restored from a copy at {place}; nothing was known to be missing"
    size, leaf = item.missing
    return f"restored from a copy at {place}; a ledger of {size} entries that ended with {leaf} is lost"


def _key_change(item: KeyChange) -> str:
    place = f"entry {item.seq} ({_time(item.at)})"
    return f"{item.revoked} signs nothing from {place} on, {item.reason}, signed by {item.by}"


def _erased(item: Erased) -> str:
    place = f"entry {item.seq} ({_time(item.at)})"
    return f"{item.field} of entry {item.entry}, at {place} on the ground of {item.basis}, signed by {item.by}"


def _pruning(item: Pruning) -> str:
    where = "" if item.environment is None else f" of {item.environment}"
    place = f"entry {item.seq} ({_time(item.at)})"
    return (
        f"payloads{where} before entry {item.before}, at {place} on the ground of {item.basis}, signed by {item.by}"
    )


def _underivable(item: Underivable) -> str:
    return f"the decision of entry {item.seq} ({item.kind}), for want of {', '.join(item.missing)}"


def _refused(item: RefusedReview) -> str:
    return f"entry {item.seq}, by {item.reviewer} on action {item.action}: {item.reason}"


def _stranger(item: Stranger) -> str:
    return f"entry {item.seq}, {item.reviewer} with {item.key}: {item.reason}"


def _signer(by: str | None) -> str:
    return "at the founding" if by is None else f"signed by {by}"


def _changes(change: Activation) -> str:
    parts = [f"+ {name} {' '.join(keys)}" for name, keys in change.added.items()]
    parts += [f"- {name} {' '.join(keys)}" for name, keys in change.removed.items()]
    return f"; reviewers: {', '.join(parts)}" if parts else "; reviewers unchanged"


def _time(at: datetime) -> str:
    return format_timestamp(at)
