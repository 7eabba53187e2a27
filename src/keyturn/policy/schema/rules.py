"""Declares the keys of rules: grants with their approvals, forbids, limits and freezes."""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.model.contract import Contract
from keyturn.policy.approval import DEFAULT_EXPIRY
from keyturn.policy.documents import CALENDAR
from keyturn.policy.freezes import DENY, HOLD
from keyturn.policy.limits import NAMED_WINDOWS, SINGULAR, UNITS
from keyturn.policy.reading import PIN
from keyturn.policy.risk.settings import HEAVIEST
from keyturn.policy.risk.thresholds import ALLOWED
from keyturn.policy.rules import KEY_CLASSES
from keyturn.policy.schema.conditions import where
from keyturn.policy.schema.keys import Fragment, Key, Keys, Several, one_of
from keyturn.policy.schema.values import MOMENT, TEXT, choice, duration, integer, length, listed, texts, written
from keyturn.policy.usage import DIMENSIONS, PENDING

MOST_PEOPLE = 100
TARGET: Fragment = {**TEXT, "pattern": "(:.*/|/.*:)"}
"""A glob over `<port>:<name>/<object>`."""

_MODE: Fragment = choice("live", "shadow")
_REFUSES_NOTHING = '`"live"`, or `"shadow"`: refuses nothing; decisions note what it would have done'


def _limit() -> str:
    """Return the pattern of a limit, such as `20 calls per hour`."""
    counted = [word for word in (*UNITS, *SINGULAR) if word != PENDING]
    window, whom = f"(({'|'.join(NAMED_WINDOWS)})|[0-9]+[smhd])", f"( per ({'|'.join(DIMENSIONS)}))?"
    return f"[1-9][0-9]{{0,15}} (({'|'.join(counted)}) per {window}|{PENDING}){whom}"


LIMITS: Fragment = texts(least=1, item={**written(_limit()), "examples": ["20 calls per hour", "5 pending"]})

APPROVAL = Keys(
    (
        Key("quorum", integer(1, MOST_PEOPLE), "how many different people must approve, at least 1", required=True),
        Key("from", texts(least=1), "reviewers by name or `group:NAME`", required=True),
        Key(
            "keys",
            choice(*KEY_CLASSES),
            '`"any"`; `"hardware"`: FIDO2 keys with the touch proved; `"hardware+pin"`: and the PIN. People without '
            "such a key are not counted as able to review",
        ),
        Key(
            "expires",
            duration(length(DEFAULT_EXPIRY)),
            'how long the request waits, `"4h"` unless given, at most `"7d"`. Of several approvals the shortest '
            "rules, and expiry is a no",
        ),
        Key("rejects", integer(1, MOST_PEOPLE, 1), "how many rejections end it, 1 unless given"),
        Key(
            "escalate",
            Several(
                Keys(
                    (
                        Key("after", duration(), "after how long they may review as well", required=True),
                        Key(
                            "to",
                            {"anyOf": [dict(TEXT), dict(texts(least=1))]},
                            "reviewers by name or `group:NAME`, one or a list",
                            required=True,
                        ),
                    )
                )
            ),
            'after a time, who may review as well: `{ after = "30m", to = "group:oncall" }`',
        ),
    )
)
"""An approval; wherever one is asked it has these keys."""

VALID = Key(
    "valid",
    Keys(
        (
            Key("from", MOMENT, "from when on the rule counts: a time with its offset, without quotes"),
            Key("until", MOMENT, "until when the rule counts, that moment left out"),
        ),
        least=1,
    ),
    "[dates between which it counts](#dates-between-which-a-rule-counts)",
)
THRESHOLDS = Keys(
    (
        Key("hold_at", integer(1, HEAVIEST * 10), "from this score on people must agree"),
        Key(
            "approval",
            APPROVAL,
            "who, as in a grant's `approval`; left out, it is the grant's or the lane's, which is asked for anyway",
        ),
        Key("deny_at", integer(1, HEAVIEST * 10), "from this score on it is refused, with the code `risk`"),
        Key("mode", _MODE, '`"live"`, or `"shadow"`: decisions note what would have been'),
    ),
    also=one_of("hold_at", "deny_at"),
)

_HOLDING: Fragment = {
    "if": {"properties": {"effect": {"const": HOLD}}, "required": ["effect"]},
    "then": {"required": ["approval"]},
    "else": {"not": {"required": ["approval"]}},
}
"""Who holds says who is asked; who refuses asks nobody."""


def tools(contracts: Iterable[Contract], *kinds: str) -> list[str]:
    """Return the names of the tools of these kinds."""
    return sorted(contract.tool for contract in contracts if contract.kind in kinds)


def grants(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a grant of one of these contracts' tools."""
    granted = tools(contracts, "governed", "read")
    return Keys(
        (
            Key("id", TEXT, "the rule's name in every decision and entry", required=True),
            Key("principals", texts(least=1), "names, or `group:NAME`", required=True),
            Key("tool", listed(granted), "one tool of `tool_schemas/`", required=True),
            Key(
                "contract",
                written(PIN.pattern),
                "the exact schema you agreed to; `keyturn policy pin` writes it",
                required=True,
            ),
            Key("where", where(contracts), "conditions that must all hold; none means always"),
            Key(
                "limits",
                LIMITS,
                "see below; a grant's limits count the uses of its tool by its principals, in the environments that "
                "its `where` lists by name (in all, if it lists none)",
            ),
            Key(
                "approval",
                APPROVAL,
                "who must agree; without it the action runs at once. Tools that only read cannot have one",
            ),
            Key("risk", THRESHOLDS, "what follows from its risk score, see below"),
            Key(
                "secrets",
                choice("refused", ALLOWED),
                '`"refused"`, or `"allowed"`: whether lines may be added that look like a credential',
            ),
            Key(
                "mode",
                _MODE,
                '`"live"`, or `"shadow"`: plan and record what would have happened, do nothing',
            ),
            Key(
                "execute",
                choice("automatic", "manual"),
                '`"automatic"`, or `"manual"`: once it is allowed, nobody executes it before a reviewer of the '
                "policy has signed `keyturn action execute ID`. It waits for that no longer than for reviews, and "
                "for four hours where none are asked",
            ),
            Key(
                "anchor",
                choice("before"),
                '`"before"`: the effect begins only once the intent is '
                "[anchored](../how-to/anchor-the-ledger.md#anchor-before-the-effect); else nothing is done. Needs an "
                "anchor with `required = true`. Without the key no action waits for an anchor. Tools that only read "
                "cannot have one",
            ),
            VALID,
        )
    )


def forbids(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a forbid."""
    return Keys(
        (
            Key("id", TEXT, "the rule's name in every decision and entry", required=True),
            Key("principals", texts(least=1), "whom it binds: names, or `group:NAME`; all unless given"),
            Key("tool", listed(_names(contracts)), "the tool it is about; all unless given"),
            Key(
                "where",
                where(contracts),
                "conditions that must all hold; none means always. Those on `arguments` need a `tool`",
            ),
            Key("mode", _MODE, _REFUSES_NOTHING),
            VALID,
        )
    )


def limits(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a rule of `[[limits]]`."""
    return Keys(
        (
            Key("id", TEXT, "the rule's name in every decision and entry", required=True),
            Key("limits", LIMITS, "`COUNT UNIT per WINDOW`, see below", required=True),
            Key("per", choice(*DIMENSIONS), "what has a count of its own, where a limit does not say so itself"),
            Key("principals", texts(least=1), "whose uses are counted: names, or `group:NAME`; all unless given"),
            Key("tool", listed(_names(contracts)), "the tool whose uses are counted; all unless given"),
            Key("environments", texts(least=1), "the environments where uses are counted; all unless given"),
            Key("mode", _MODE, _REFUSES_NOTHING),
            VALID,
        )
    )


def freezes(contracts: tuple[Contract, ...]) -> Keys:
    """Return the keys of a freeze."""
    governed = tools(contracts, "governed")
    return Keys(
        (
            Key("id", TEXT, "the rule's name in every decision and entry", required=True),
            Key("environments", texts(least=1), "the environments that are frozen; all unless given"),
            Key("tools", texts(least=1, item=listed(governed)), "the tools that are frozen; all unless given"),
            Key("targets", texts(least=1, item=TARGET), "globs over what is frozen; everything unless given"),
            Key(
                "calendar",
                written(CALENDAR.pattern),
                "the calendar's file: while it has an event, it is frozen",
                required=True,
            ),
            Key("timezone", TEXT, "the zone of whole days and of times without one, such as `Europe/Berlin`"),
            Key(
                "effect",
                choice(DENY, HOLD),
                '`"deny"`: changes are refused; `"hold"`: they need the `approval` as well',
            ),
            Key("approval", APPROVAL, 'who must agree, where `effect` is `"hold"`'),
            Key("override", texts(), "reviewers who may set it aside, as names or `group:NAME`; all unless given"),
            Key("mode", _MODE, _REFUSES_NOTHING),
            VALID,
        ),
        also=_HOLDING,
    )


def _names(contracts: Iterable[Contract]) -> list[str]:
    return sorted(contract.tool for contract in contracts)
