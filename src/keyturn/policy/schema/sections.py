"""Declares the keys of everything but rules: who there is, what the whole policy asks, and cases."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.model.contract import Contract
from keyturn.policy.alarms import INCIDENT, LAG, UNKNOWN
from keyturn.policy.cases.case import ENDS, VERDICTS
from keyturn.policy.cases.reading import AMOUNTS
from keyturn.policy.costs import COST, MOST_COST, RUNTIME
from keyturn.policy.history import MOST_KEPT
from keyturn.policy.paths import COUNTED, RISK_PARTS, WEEKDAYS
from keyturn.policy.queue import Queue
from keyturn.policy.risk.settings import HEAVIEST, WEIGHTS, plain_settings
from keyturn.policy.schema.keys import Fragment, Key, Keys, Named, Several, one_of
from keyturn.policy.schema.rules import APPROVAL, MOST_PEOPLE, TARGET, tools
from keyturn.policy.schema.values import (
    MOMENT,
    NAME,
    TEXT,
    YES_OR_NO,
    choice,
    duration,
    integer,
    length,
    listed,
    texts,
    written,
)

_NAMES: Fragment = texts(item=written(NAME))
_PLAIN: Fragment = {"type": "object"}
_AMOUNT: Fragment = integer(0, 2**31)


def _amounts(units: Iterable[str]) -> Fragment:
    named = {f"^({'|'.join(units)})$": dict(_AMOUNT)}
    return {"type": "object", "patternProperties": named, "additionalProperties": False}


_GROUPS = Key("groups", _NAMES, "named in rules as `group:NAME`")
_DISPLAY = Key("display", TEXT, "words for people")
_CAP: Fragment = integer(1, 1_000)

PRINCIPALS = Keys(
    (
        _DISPLAY,
        Key(
            "owner",
            TEXT,
            "the accountable person, from `[reviewers]` or `[people]`; never reviews what this assistant asks. "
            "Without an owner, nobody is left out, and a warning says so",
        ),
        _GROUPS,
        Key("scopes", texts(), "the contracts it may use, besides a grant"),
    )
)
PEOPLE = Keys((_DISPLAY,))
REVIEWERS = Keys(
    (
        Key(
            "keys",
            texts(least=1, item={"type": "string", "minLength": 1, "maxLength": 8192}),
            "OpenSSH public keys, whole lines; no certificates; one key belongs to one person",
            required=True,
        ),
        _GROUPS,
        _DISPLAY,
    )
)
ENVIRONMENTS = Keys(
    (
        Key(
            "targets",
            texts(least=1, item=TARGET),
            "globs over `<port>:<name in keyturn.toml>/<object>`",
            required=True,
        ),
        Key("lane", TEXT, "the lane it lies in, see below; none unless given"),
    )
)
POLICY_APPROVAL = Keys(
    (
        Key(
            "quorum",
            integer(1, MOST_PEOPLE),
            "how many different people must have signed for the next policy",
            required=True,
        ),
        Key("from", texts(least=1), "reviewers by name or `group:NAME`", required=True),
    )
)
POLICY = Keys((Key("approval", POLICY_APPROVAL, "who must sign for the next policy, see below", required=True),))


def lanes(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a lane."""
    allowed = listed(tools(contracts, "governed", "read"))
    return Keys(
        (
            Key(
                "approval",
                APPROVAL,
                "asked, with the keys of a grant's own, wherever a matching grant has no `approval`. A grant that "
                "has one is asked for that one alone. Reading is never held",
            ),
            Key(
                "tools",
                texts(least=1, item=allowed),
                "no other tool may be called there, one that reads neither",
            ),
            Key(
                "recipients",
                texts(),
                "globs, upper and lower case being equal; who else would be told, is not. The plan has to name "
                "everybody it counts: the tickets folder does (`plan.audience`), a back end that only knows how many "
                "there are does not, and its actions are refused here unless they tell nobody",
            ),
            Key("retention", duration(), "how long the payloads of what happens there are kept"),
        )
    )


PRICES = Keys(
    (
        Key(COST, integer(1, MOST_COST), "what one call costs, in a unit of your own"),
        Key(
            RUNTIME,
            duration(),
            "how long its effect may take, in whole seconds. It is interrupted when that is over, and then asked "
            "whether it happened",
        ),
    ),
    least=1,
)
WEIGHING = Keys(
    tuple(
        Key(name, integer(0, HEAVIEST, WEIGHTS[name]), f"how many points the part {name} gives at most")
        for name in RISK_PARTS
    )
)
_SCORED = plain_settings()
LARGE = Keys(
    (
        Key("files", integer(1, 10_000, _SCORED.files), "a change of so many files is large"),
        Key("lines", integer(1, 1_000_000, _SCORED.lines), "a change of so many lines is large"),
    )
)
PAST = Keys(
    (
        Key(
            "failures",
            integer(1, MOST_KEPT, _SCORED.failures),
            "so many failed and undone actions on one target are many",
        ),
        Key("within", duration(length(_SCORED.within)), "how far back they are looked for, at most 30 days"),
    )
)
HOURS = Keys(
    (
        Key("from", integer(0, 23, _SCORED.hours.begin), "the hour at which working hours begin"),
        Key("until", integer(1, 24, _SCORED.hours.end), "the hour before which they end"),
        Key("days", texts(least=1, item={"type": "string", "enum": list(WEEKDAYS)}), "the days people work on"),
        Key("zone", {**TEXT, "default": "UTC"}, "by whose clock, such as `Europe/Berlin`; UTC unless given"),
    )
)
RISK = Keys(
    (
        Key("paths", texts(), "globs over files that are delicate; there are some unless given"),
        Key("infrastructure", texts(), "globs over what builds and deploys; there are some unless given"),
        Key(
            "dependencies",
            texts(),
            "globs over what says on which packages all of it rests; there are some unless given",
        ),
        Key("weights", WEIGHING, "the points of each part at most; of a part of weight 0 nothing is looked at"),
        Key("size", LARGE, "what a large change is"),
        Key("history", PAST, "what many failures are"),
        Key("hours", HOURS, "when people are at work; Monday to Friday from 8 until 18 in UTC unless given"),
    )
)
_CALM = Queue()
QUEUE = Keys(
    (
        Key("per_principal", _CAP, "how many calls of one assistant may ask other systems at the same time"),
        Key("per_owner", _CAP, "how many of all assistants of one owner"),
        Key("total", _CAP, "how many in all"),
        Key(
            "waiting",
            integer(0, 1_000, _CALM.waiting),
            "how many calls of one assistant may wait in one process; 20 unless given",
        ),
        Key(
            "patience",
            duration(length(_CALM.patience)),
            'how long each waits for a free place; `"20s"` unless given, at most `"5m"`',
        ),
    ),
    also=one_of("per_principal", "per_owner", "total"),
)
_DEGRADED = (
    Key(
        "mode",
        choice("read-only", "suspended"),
        '`"read-only"`: nothing changes, reads go on; `"suspended"`: nothing at all, and what waits is cancelled',
    ),
    Key("environments", texts(least=1), "where; everywhere unless given"),
)
DEGRADE = Keys(
    (
        Key(
            UNKNOWN,
            Keys((Key("over", integer(0, 10_000), "more than so many", required=True), *_DEGRADED)),
            "speaks when more than `over` actions have an outcome nobody knows",
        ),
        Key(
            LAG,
            Keys((Key("over", duration(), "for longer than this, at most 30 days", required=True), *_DEGRADED)),
            "speaks when for longer than `over` there have been entries that no anchor covers (told too long by up "
            "to a minute, never too short)",
        ),
        Key(
            INCIDENT,
            Keys(_DEGRADED),
            "speaks when the ledger was restored from a backup, the clock was put right by hand, or a key was "
            "revoked as compromised",
        ),
    )
)
USED = Keys(
    (
        Key("ago", duration("1m"), 'how long before the case; `"1m"` unless given'),
        Key("times", integer(1, 10_000, 1), "how often; once unless given"),
        Key(
            "amounts",
            _amounts(AMOUNTS),
            "what it took from limits, by any unit of [theirs](#limits) but `pending`; one call unless given",
        ),
        Key("pending", YES_OR_NO, "whether it waits for people still"),
        Key(
            "ended",
            choice(*ENDS),
            'how it ended if it does not wait: `"succeeded"` unless given, `"failed"` (changing nothing), `"undone"`',
        ),
        *(
            Key(word, TEXT, f"its {word}, where it is not that of the case")
            for word in ("principal", "tool", "target", "environment")
        ),
    )
)


def cases(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a case."""
    return Keys(
        (
            Key("name", TEXT, "names it in every report; no two are alike", required=True),
            Key("principal", TEXT, "who asks", required=True),
            Key("tool", listed(contract.tool for contract in contracts), "for what", required=True),
            Key(
                "target",
                TEXT,
                "what the plan would act on, `<port>:<name>/<object>`",
                required=True,
            ),
            Key(
                "arguments",
                _PLAIN,
                "what conditions on `arguments.*` see, of the contract's types; its defaults stand for the others",
            ),
            Key("scopes", texts(), "what the token is restricted to; none unless given"),
            Key("environment", TEXT, "what an `environment` argument selected, where the tool has one"),
            Key("plan", _PLAIN, "what conditions on `plan.*` see; nothing unless given"),
            Key(
                "effects",
                _amounts(COUNTED),
                "what it would take from limits besides one call: `files_changed`, `lines_changed`, `recipients`",
            ),
            Key(
                "diff",
                {"type": "string"},
                "the unified diff of the plan, which is looked through for credentials; none unless given",
            ),
            Key(
                "time",
                MOMENT,
                "when, with its offset; noon of a Monday in January 2026 (UTC) unless given",
            ),
            Key("used", Several(USED), "what was used before, see below"),
            Key(
                "expect",
                listed(VERDICTS),
                '`"permit"`, `"hold"`, `"deny"` or `"shadow"`: what has to come of it',
                required=True,
            ),
            Key("rule", TEXT, "a rule that must have spoken; any may unless given"),
            Key("code", TEXT, "the code of a reason that must be among those given; any may unless given"),
        )
    )


def by_name(each: Keys, says: str) -> Named:
    """Return tables by a name that is the policy's own."""
    return Named(each, NAME, says)
