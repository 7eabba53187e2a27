"""A report in words, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from keyturn.model.time import format_timestamp
from keyturn.verifier.report import (
    Activation,
    Begun,
    ClockStep,
    Erased,
    FirstBad,
    KeyChange,
    Pruning,
    Recovered,
    RefusedReview,
    Report,
    Stranger,
    Underivable,
    Vouched,
)

T = TypeVar("T")
APART = timedelta(minutes=5)
"""How far the clocks of a witness and of a ledger may be from each other without a word about it."""


def in_words(report: Report, given: str | None = None) -> list[str]:
    """Return the report line by line; nothing in it can steer a terminal.

    `given` says where the verifier string that the log was held against came from; None when there was none.
    """
    return [_visible(line) for line in _lines(report, given)]


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
            f"anchored before their effects, as their rules ask: {count} {'action' if count == 1 else 'actions'}; of "
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
