"""Changing the policy with several signatures: proposing a text, endorsing it, and what stands so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ActStatement
from keyturn.canon import Json
from keyturn.fold.guarding import ENDORSE, Guard, Proposed, check_endorser, proposed
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, Candidate, statement_of
from keyturn.gateway.desk import Job, Look
from keyturn.gateway.in_force import POLICY_FILES, texts_of
from keyturn.gateway.payloads import read_value
from keyturn.gateway.review import Actor, check_reason
from keyturn.ledger.transaction import Transaction, View
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.model.errors import LedgerError, Refused
from keyturn.model.time import format_timestamp

_MOST = 10_000  # entries of a kind looked over for a history


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement:
    """Who endorsed a text, in which entry, when, and why."""

    by: str
    seq: int
    at: datetime
    reason: str | None

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {"by": self.by, "entry": self.seq, "at": format_timestamp(self.at), "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One text that was in force, or waits to be: its entry, who brought it, and who endorsed it.

    kind      "activated" or "proposed"
    previous  digest of the policy before it; None for the first
    by        who signed the activation, or the account that proposed; None for the first policy
    """

    kind: str
    seq: int
    at: datetime
    policy: str
    previous: str | None
    by: str | None
    reason: str | None
    endorsed: tuple[Endorsement, ...]

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "kind": self.kind,
            "entry": self.seq,
            "at": format_timestamp(self.at),
            "policy": self.policy,
            "previous": self.previous,
            "by": self.by,
            "reason": self.reason,
            "endorsed": [item.to_json() for item in self.endorsed],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the policy in force asks of the next one, and who has signed for which text."""

    guard: Guard | None
    proposals: tuple[Proposed, ...]


def standing(view: Look) -> Standing:
    """Return what is asked and what waits."""
    return Standing(guard=view.state.guard, proposals=tuple(view.state.proposals.values()))


def propose(ledger: Ledger[State], candidate: Candidate, by: Actor, reason: str) -> Entry:
    """Record a text for endorsement; that needs no signature. Raises `Refused`; nothing is written then."""
    check_reason(reason, "approve")
    digest = candidate.policy.digest

    def job(tx: Job) -> Entry:
        force = tx.state.policy
        if force is None:
            raise Refused("no_policy", "the ledger holds no policy; make a home with `keyturn init`")
        contracts = tx.state.catalog.digest if tx.state.catalog else None
        if force.digest == digest and contracts == candidate.catalog.digest:
            raise Refused("already_in_force", "this policy is in force already")
        facts: dict[str, Json] = {
            "policy": digest,
            "previous": force.digest,
            "by": {"type": by.kind, "name": by.name},
        }
        data = {POLICY_FILES: canon.encode(dict(candidate.files)), "reason": canon.encode(reason)}
        entry = tx.append("policy.proposed", facts, data=data)
        proposed(entry, force, tx.state.proposals)
        return entry

    return ledger.transact(job)


def draft_endorsement(ledger: Ledger[State], digest: str, by: str, reason: str = "") -> ActDraft:
    """Draft the endorsement of a proposed text, bound to the activation in force.

    Raises `Refused` when it is not proposed, when nobody asks for it, and when `by` is not asked or was heard.
    `reason` is kept beside the act for readers; the signature covers the text, not these words.
    """
    check_reason(reason, "approve")

    def look(view: View[State]) -> ActStatement:
        force = view.state.policy
        found = _waiting(view, digest)
        check_endorser(by, view.state.guard, found)
        return statement_of(view, ENDORSE, force.digest if force else "", found.policy, by)

    statement = ledger.look(look)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        found = _waiting(tx, statement.digest)
        check_endorser(statement.by, tx.state.guard, found)
        facts: dict[str, Json] = {"policy": found.policy, "proposal": found.seq, "act": act}
        return tx.append("policy.endorsed", facts, data={"reason": canon.encode(reason)} if reason else None)

    return ActDraft(statement, record)


def _waiting(view: View[State], digest: str) -> Proposed:
    found = view.state.proposals.get(digest)
    if found is None:
        raise Refused("not_proposed", f"the policy {digest} does not wait for endorsements under the one in force")
    return found


# --- what there was -------------------------------------------------------------------------------------------


def history(view: Look) -> tuple[Version, ...]:
    """Return every policy that was in force or proposed, the oldest first, with who signed for it."""
    kinds = ("policy.activated", "policy.proposed", "policy.endorsed")
    entries = sorted((e for kind in kinds for e in view.newest(kind, _MOST)), key=lambda entry: entry.seq)
    return tuple(_versions(view, entries))


def _versions(view: Look, entries: list[Entry]) -> Iterator[Version]:
    """Tell each text with the endorsements of its proposal: proposed anew it starts anew, and so it does in force."""
    endorsed: defaultdict[int, list[Endorsement]] = defaultdict(list)
    for entry in entries:
        if entry.kind == "policy.endorsed":
            facts: Mapping[str, Any] = entry.facts
            endorsed[facts["proposal"]].append(_endorsement(view, entry))
    newest: dict[str, int] = {}  # by digest, the proposal that waits under the policy in force then
    for entry in entries:
        if entry.kind == "policy.activated":
            yield _version(view, entry, endorsed.get(newest.get(entry.text("policy"), -1), ()))
            newest = {}
        elif entry.kind == "policy.proposed":
            newest[entry.text("policy")] = entry.seq
            yield _version(view, entry, endorsed.get(entry.seq, ()))


def _endorsement(view: Look, entry: Entry) -> Endorsement:
    return Endorsement(by=_signer(entry) or "", seq=entry.seq, at=entry.at, reason=_words(view, entry))


def _version(view: Look, entry: Entry, endorsed: Sequence[Endorsement]) -> Version:
    facts: Mapping[str, Any] = entry.facts
    return Version(
        kind=entry.kind.removeprefix("policy."),
        seq=entry.seq,
        at=entry.at,
        policy=entry.text("policy"),
        previous=facts["previous"],
        by=_signer(entry) if entry.kind == "policy.activated" else facts["by"]["name"],
        reason=_words(view, entry),
        endorsed=tuple(endorsed),
    )


def _signer(entry: Entry) -> str | None:
    act: Any = entry.facts.get("act")
    return None if act is None else str(act["statement"]["by"])


def _words(view: Look, entry: Entry) -> str | None:
    words = read_value(view, entry, "reason") if "reason" in entry.data else None
    return words if isinstance(words, str) else None


def find_version(view: Look, named: str) -> Version:
    """Return the text that an entry's place names, or the first digits of its digest: of equals the newest.

    Raises `Refused`: "not_found", or "usage" where several texts have a digest that begins so.
    """
    return _version_in(history(view), named)


def find_waiting(view: Look, named: str) -> Version:
    """Return the proposal that waits of the text that `find_version` finds. Raises `Refused` where none does."""
    versions, waiting = history(view), view.state.proposals
    version = _version_in(versions, named)
    if version.policy not in waiting:
        raise Refused("not_proposed", f"the policy {version.policy} does not wait for endorsements")
    return _version_in(versions, str(waiting[version.policy].seq))


def _version_in(versions: Sequence[Version], named: str) -> Version:
    """Return what `find_version` does, among the versions of a history."""
    if named.isascii() and named.isdecimal() and len(named) < 12:
        found = [version for version in versions if version.seq == int(named)]
    else:
        wanted = named.removeprefix("sha256:")
        found = [v for v in versions if len(wanted) >= 6 and v.policy.removeprefix("sha256:").startswith(wanted)]
    if not found:
        raise Refused("not_found", f"no policy of this ledger is {named!r}: `keyturn policy history` lists them")
    if len({version.policy for version in found}) > 1:
        raise Refused("usage", f"several policies have a digest that begins with {named!r}: give more of it")
    return found[-1]


def files_of(view: Look, version: Version) -> dict[str, str]:
    """Return the texts of a version as the ledger keeps them. Raises `LedgerError` unless they have its digest.

    People sign for the digest: what they are shown must be what has it.
    """
    files = texts_of(view, version.seq, POLICY_FILES)
    if canon.manifest_digest(files) != version.policy:
        wrong = f"entry {version.seq} carries the text of another policy than it says"
        raise LedgerError(f"{wrong}; check with `keyturn audit verify`")
    return files
