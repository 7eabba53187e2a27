"""The kinds of entry and the facts each one carries; `docs/format.md` says the same in words.

A later version may add kinds, never change a field of one: an older verifier then stops at the first entry of a
kind it does not know and names it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from keyturn.canon import Json
from keyturn.model.time import parse_timestamp

Check = Callable[[Json], "str | None"]
"""Returns None when the value is right, else what was expected."""

FORMAT = "keyturn-ledger/v1"
"""The name of this format; the first entry of a log carries it."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
COMMITMENT = re.compile(r"hmac-sha256:[0-9a-f]{64}", re.ASCII)
# Written out, not `str.isprintable`: that changes with the Unicode version of the Python that reads.
_HIDDEN = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\U000e0000-\\U000e007f"
)
FIELD = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)


def pattern(expression: re.Pattern[str], what: str) -> Check:
    """Check for a text that matches the whole expression."""
    matches = expression.fullmatch
    return lambda value: None if isinstance(value, str) and matches(value) else what


def hexadecimal(digits: int) -> Check:
    """Check for exactly so many lower-case hex digits."""
    return pattern(re.compile(f"[0-9a-f]{{{digits}}}", re.ASCII), f"{digits} lower-case hex digits")


def text(limit: int) -> Check:
    """Check for a name: 1 to `limit` code points, none of them a control or an invisible character."""
    what = f"printable text of 1 to {limit} characters"
    matches = pattern(re.compile(f"[^{_HIDDEN}]{{1,{limit}}}"), what)

    def run(value: Json) -> str | None:
        if isinstance(value, str) and value.isascii():  # most texts; what is printable in ASCII never changes
            return None if value.isprintable() and 0 < len(value) <= limit else what
        return matches(value)

    return run


def integer(low: int = 0) -> Check:
    """Check for an integer (not a boolean) of at least `low`."""
    return lambda v: None if isinstance(v, int) and not isinstance(v, bool) and v >= low else f"integer ≥ {low}"


def boolean(value: Json) -> str | None:
    """Check for true or false."""
    return None if isinstance(value, bool) else "true or false"


def one_of(*values: str) -> Check:
    """Check for one of some words."""
    return lambda value: None if value in values else f"one of {', '.join(values)}"


def nullable(check: Check) -> Check:
    """Check for null or what `check` takes."""
    return lambda value: None if value is None else check(value)


def many(check: Check, limit: int = 256) -> Check:
    """Check for a list of at most `limit` items, each taken by `check`."""

    def run(value: Json) -> str | None:
        if not isinstance(value, list) or len(value) > limit:
            return f"a list of at most {limit}"
        return next((f"items: {wrong}" for item in value if (wrong := check(item))), None)

    return run


def mapping(check: Check, names: Check, low: int = 0, limit: int = 256) -> Check:
    """Check for an object of `low` to `limit` members: ASCII names taken by `names`, values by `check`."""

    def run(value: Json) -> str | None:
        if not isinstance(value, dict) or not low <= len(value) <= limit:
            return f"an object of {low} to {limit} members"
        for name, item in value.items():
            if not name.isascii():  # canonical JSON takes no other: its order would depend on the reader
                return f"{name!a}: a name in ASCII"
            if wrong := names(name) or check(item):
                return f"{name!a}: {wrong}"
        return None

    return run


def record(**fields: Check) -> Check:
    """Check for an object with exactly these members."""

    def run(value: Json) -> str | None:
        if not isinstance(value, dict):
            return "an object"
        return wrong_fields(value, fields)

    return run


def base64_of(*lengths: int) -> Check:
    """Check for canonical base64 of one of these byte lengths (any length when none is given)."""

    def check(value: Json) -> str | None:
        what = "canonical base64" + (f" of {' or '.join(map(str, lengths))} bytes" if lengths else "")
        if not isinstance(value, str):
            return what
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return what
        canonical = base64.b64encode(data).decode("ascii") == value
        return None if canonical and (not lengths or len(data) in lengths) else what

    return check


def timestamp(value: Json) -> str | None:
    """Check for a UTC time of fixed width with microseconds."""
    try:
        parse_timestamp(value if isinstance(value, str) else "")
    except ValueError:
        return "a timestamp like 2026-11-21T09:00:00.000000Z"
    return None


def wrong_fields(value: Mapping[str, Json], fields: Mapping[str, Check]) -> str | None:
    """Name the first member that is missing, not known or wrong; None when all are right."""
    for name, check in fields.items():
        if name not in value:
            return f"{name} is missing"
        if wrong := check(value[name]):
            return f"{name}: expected {wrong}"
    if len(value) == len(fields):
        return None
    return f"{min(set(value) - set(fields))} is not known"


digest = pattern(DIGEST, "sha256:<64 hex>")
uuid = pattern(UUID, "a UUIDv7 in lower case")
commitment = pattern(COMMITMENT, "hmac-sha256:<64 hex>")
payload_field = pattern(FIELD, "the name of a payload field")
name = text(200)
key_line = text(3000)
signature = base64_of()

REVIEW_STATEMENT = record(
    type=one_of("keyturn.review/v1"),
    log=name,
    action=uuid,
    digest=digest,
    verdict=one_of("approve", "reject"),
    reviewer=name,
    reason=commitment,
    at=timestamp,
)
ACT_STATEMENT = record(
    type=one_of("keyturn.act/v1"),
    log=name,
    after=integer(),
    verb=pattern(re.compile(r"[a-z]+\.[a-z]+", re.ASCII), "a verb like policy.activate"),
    object=name,
    digest=digest,
    by=name,
    at=timestamp,
)
ACT = record(statement=ACT_STATEMENT, signature=signature)
ACTOR = record(type=one_of("principal", "person", "account", "policy"), name=name)
SCOPE = record(type=one_of("principal", "tool", "environment", "all"), name=nullable(text(100)))
BACKEND = record(port=name, name=name, kind=name, location=text(1000), account=lambda v: None if v == "" else name(v))
EFFECTS = record(calls=integer(), files_changed=integer(), lines_changed=integer(), recipients=integer())
END = record(size=integer(1), leaf=hexadecimal(64))
CLOCK = record(boot=text(64), wall=timestamp, up=integer())
OBLIGATION = record(
    **{"rule": name, "quorum": integer(1), "from": many(name), "reviewers": many(name)},
    keys=one_of("any", "hardware", "hardware+pin"),
    rejects=integer(1),
    escalate=many(record(after=integer(), reviewers=many(name))),
)
AMOUNTS = record(cost=integer(), runtime=integer())
UNDONE = record(action=uuid, digest=digest, request=integer(), outcome=integer())
WHO: Mapping[str, Check] = {"principal": name, "owner": nullable(name), "token": digest, "transport": name}
WHERE: Mapping[str, Check] = {"backend": BACKEND, "target": text(500), "environment": name}
_REQUEST: Mapping[str, Check] = {
    **WHO,
    **WHERE,
    "tool": name,
    "contract": name,
    "policy": digest,
    "decision": one_of("permit", "hold", "shadow"),
    "rules": many(name),
    "obligations": many(OBLIGATION),
    "reviewers": mapping(many(key_line), name),
    "excluded": many(name),
    "effects": EFFECTS,
    "expires_at": timestamp,
    "repeat": boolean,
    "supersedes": nullable(uuid),
}

KINDS: Mapping[str, Mapping[str, Check]] = MappingProxyType(
    {
        "log.opened": {
            "format": one_of(FORMAT),
            "nonce": hexadecimal(64),
            "verifier": text(300),
        },
        "key.added": {"key": base64_of(32), "proof": base64_of(64)},
        "key.revoked": {"revoked": hexadecimal(32), "reason": one_of("rotated", "compromised"), "act": ACT},
        "policy.activated": {
            "policy": digest,
            "previous": nullable(digest),
            "reviewers": mapping(many(key_line), name),
            "act": nullable(ACT),
        },
        "policy.guarded": {
            "policy": digest,
            "quorum": integer(1),
            "from": many(name),
            "reviewers": many(name),
        },
        "policy.proposed": {"policy": digest, "previous": digest, "by": ACTOR},
        "policy.endorsed": {"policy": digest, "proposal": integer(), "act": ACT},
        "catalog.published": {"catalog": digest, "contracts": mapping(name, name)},
        "token.issued": {
            "token": digest,
            "principal": name,
            "transports": many(name),
            "scopes": nullable(many(name)),
            "expires_at": timestamp,
            "act": nullable(ACT),
        },
        "token.revoked": {"token": digest, "by": ACTOR},
        "read.served": {
            **WHO,
            **WHERE,
            "tool": name,
            "contract": name,
            "policy": digest,
            "rules": many(name),
        },
        "action.requested": _REQUEST,
        "action.undoing": {**_REQUEST, "token": nullable(digest), "undoes": UNDONE, "act": nullable(ACT)},
        "action.reserved": {"amounts": AMOUNTS},
        "action.withheld": {"rules": many(name)},
        "action.released": {"act": ACT},
        "action.denied": {
            **WHO,
            "tool": nullable(name),
            "stage": one_of("contract", "screen", "plan", "policy"),
            "codes": many(record(code=name, rule=nullable(name))),
            "arguments_bytes": integer(),
            "policy": digest,
            "target": nullable(text(500)),
            "environment": nullable(name),
        },
        "requests.throttled": {
            "principal": name,
            "count": integer(1),
            "code": name,
            "since": timestamp,
            "until": timestamp,
        },
        "action.reviewed": {
            "reviewer": name,
            "verdict": one_of("approve", "reject"),
            "key": name,
            "statement": REVIEW_STATEMENT,
            "signature": signature,
        },
        "action.cancelled": {"by": ACTOR},
        "action.expired": {},
        "action.stale": {
            "stage": one_of("claim", "superseded"),
            "codes": many(name),
            "superseded_by": nullable(uuid),
        },
        "execution.started": {"instance": hexadecimal(32), "reviews": many(integer()), "policy": digest},
        "execution.finished": {
            "instance": hexadecimal(32),
            "outcome": one_of("succeeded", "failed", "stale", "unknown", "shadowed"),
            "effect": nullable(boolean),
            "recovered": boolean,
        },
        "execution.resolved": {
            "outcome": one_of("succeeded", "failed"),
            "effect": boolean,
            "method": one_of("probe", "operator"),
            "act": nullable(ACT),
        },
        "suspension.set": {"scope": SCOPE, "mode": one_of("suspended", "read-only"), "by": ACTOR},
        "suspension.lifted": {"scope": SCOPE, "act": ACT},
        "freeze.overridden": {"freeze": name, "until": timestamp, "act": ACT},
        "recovery": {
            "reason": one_of("restored", "clock"),
            "size": integer(1),
            "leaf": hexadecimal(64),
            "missing": nullable(END),
            "clock": nullable(CLOCK),
            "act": ACT,
        },
        "anchor.recorded": {
            "anchor": name,
            "type": one_of("file", "git", "witness", "rfc3161"),
            "size": integer(1),
            "root": hexadecimal(64),
        },
        "payload.erased": {"entry": integer(), "field": payload_field, "basis": name, "act": ACT},
        "payloads.pruned": {"environment": nullable(name), "before": integer(1), "basis": name, "act": ACT},
        "log.closed": {"successor": nullable(text(300)), "act": ACT},
        "log.succeeds": {"verifier": text(300), "size": integer(1), "root": hexadecimal(64)},
    }
)
"""Kind → its facts. Kinds that belong to one action also carry `action`."""

REQUESTS = frozenset({"action.requested", "action.undoing"})
"""Kinds that ask for an action; the leaf hash of such an entry is the action's digest."""

OF_AN_ACTION = frozenset(kind for kind in KINDS if kind.startswith(("action.", "execution.")))
BY_THE_LOG_KEY = frozenset({"log.opened", "key.added", "key.revoked", "log.closed", "log.succeeds"})
ADDS_AUTHORITY = frozenset(
    {
        "key.added",
        "key.revoked",
        "policy.activated",
        "policy.guarded",
        "policy.endorsed",
        "catalog.published",
        "token.issued",
        "action.requested",
        "action.undoing",
        "action.reviewed",
        "action.released",
        "execution.resolved",
        "suspension.lifted",
        "freeze.overridden",
        "recovery",
        "payload.erased",
        "payloads.pruned",
        "log.closed",
        "log.succeeds",
    }
)
"""Kinds whose own signature a reader verifies, even where a later signature vouches for the chain."""
