"""The verifier's own counting of who agreed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.log.entry import Entry
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import format_timestamp, parse_timestamp
from keyturn.verifier.lives import Lives, Terms, Word, shortfalls
from keyturn.verifier.proofs import NotProved
from tests.verifier.test_by_hand import waiting
from tests.verifier.test_suspensions import act
from tests.verifier.world import Thief

ASKED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LINES = {name: (f"key of {name}",) for name in ("alice", "carol", "owner", "boss")}


def terms(**changes: object) -> Terms:
    fields = {
        "rule": "rule",
        "quorum": 2,
        "sources": ("group:sre",),
        "reviewers": ("alice", "carol", "owner"),
        "escalations": (Escalation(3600, ("boss",)),),
        **changes,
    }
    obligation = Obligation(**fields)  # type: ignore[arg-type]  # the fields of an obligation by name
    return Terms(obligations=(obligation,), reviewers=LINES, excluded=frozenset({"owner"}))


def word(name: str, verdict: str = "approve", **changes: object) -> Word:
    fields = {"seq": 1, "line": f"key of {name}", "present": None, "pinned": None, **changes}
    return Word(reviewer=name, verdict=verdict, **fields)  # type: ignore[arg-type]  # the fields of a word by name


def met(words: list[Word], due: Terms, after: timedelta = timedelta()) -> bool:
    return not shortfalls(words, due, ASKED, ASKED + after)


def test_a_quorum_counts_distinct_people() -> None:
    assert met([word("alice"), word("carol")], terms())
    assert not met([word("alice"), word("alice")], terms())


def test_the_owner_and_unlisted_keys_do_not_count() -> None:
    assert not met([word("alice"), word("owner")], terms())
    assert not met([word("alice"), word("carol", line="another key")], terms())


def test_an_escalation_counts_from_its_time_on() -> None:
    words = [word("alice"), word("boss")]
    assert not met(words, terms(), timedelta(seconds=3599))
    assert met(words, terms(), timedelta(seconds=3600))


def test_the_newest_word_of_a_person_counts() -> None:
    due = terms(rejects=2)
    assert not met([word("alice"), word("carol"), word("carol", "reject")], due)
    assert met([word("alice"), word("carol", "reject"), word("carol")], due)


def test_rejections_end_it_at_the_threshold() -> None:
    assert not met([word("alice", "reject"), word("carol")], terms(quorum=1))
    assert met([word("alice", "reject"), word("carol")], terms(quorum=1, rejects=2))


@pytest.mark.parametrize(
    ("keys", "present", "pinned", "counts"),
    [
        ("any", None, None, True),
        ("hardware", None, None, False),
        ("hardware", False, True, False),
        ("hardware", True, False, True),
        ("hardware+pin", True, False, False),
        ("hardware+pin", False, True, False),
        ("hardware+pin", True, True, True),
    ],
)
def test_a_key_counts_by_its_class(keys: str, present: bool | None, pinned: bool | None, counts: bool) -> None:
    assert met([word("alice", present=present, pinned=pinned)], terms(quorum=1, keys=keys)) is counts


# --- what it proves by itself: the fold, which refuses the same, is not asked ------------------------------------

TAKES: dict[str, Callable[[Lives, Entry], None]] = {
    **dict.fromkeys(("action.requested", "action.undoing"), Lives.requested),
    **dict.fromkeys(("action.reserved", "action.withheld"), Lives.followed),
    **dict.fromkeys(("action.cancelled", "action.stale", "action.expired"), Lives.stopped),
    "action.released": Lives.released,
    "action.reviewed": Lives.reviewed,
    "execution.started": Lives.started,
    "execution.finished": Lives.finished,
    "execution.resolved": Lives.resolved,
}


def lived(thief: Thief) -> None:
    lives = Lives()
    for entry in thief.all:
        if entry.kind in TAKES:
            TAKES[entry.kind](lives, entry)


def expiry(thief: Thief, name: str) -> datetime:
    return parse_timestamp(thief.find("action.requested", name).text("expires_at"))


def test_a_word_counts_until_the_very_expiry(thief: Thief) -> None:
    left = expiry(thief, "waiting") - thief.all[-1].at
    thief.review("waiting", "alice", after=left - timedelta(microseconds=1))
    lived(thief)


def test_a_word_at_the_expiry_is_too_late(thief: Thief) -> None:
    left = expiry(thief, "waiting") - thief.all[-1].at
    thief.review("waiting", "alice", after=left)
    with pytest.raises(NotProved, match="the review came after the action had expired"):
        lived(thief)


def test_an_intent_at_the_expiry_is_too_late(thief: Thief) -> None:
    thief.review("quorum", "alice")
    thief.review("quorum", "carol")
    lived(thief)
    thief.start("quorum", ts=format_timestamp(expiry(thief, "quorum")))
    with pytest.raises(NotProved, match="it was begun after it had expired"):
        lived(thief)


def test_a_signature_for_the_execution_at_the_expiry_is_too_late(thief: Thief) -> None:
    request = waiting(thief)
    lived(thief)
    signed = act(thief, "action.execute", thief.id("forged"), request.digest)
    thief.append("action.released", {"act": signed}, action=thief.id("forged"), ts=request.text("expires_at"))
    with pytest.raises(NotProved, match="or too late"):
        lived(thief)


def test_a_cancellation_is_by_the_principal_itself(thief: Thief) -> None:
    by = {"type": "principal", "name": "tester"}
    thief.append("action.cancelled", {"by": by}, action=thief.id("waiting"))
    with pytest.raises(NotProved, match="another principal than its own"):
        lived(thief)
