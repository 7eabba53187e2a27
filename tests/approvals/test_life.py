"""Which entry may follow which: the diagram of `keyturn.approvals.action`, every state against every entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from keyturn.approvals import life
from keyturn.approvals.action import Action, Started, ended_at, status
from keyturn.approvals.judgement import Counts, judge_review
from keyturn.approvals.life import LifeError, obligation_to_json
from keyturn.approvals.statement import ReviewStatement
from keyturn.canon import Json
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from tests.approvals.world import (
    INSTANCE,
    ORIGIN,
    REASON,
    START,
    TTL,
    Book,
    action_id,
    key_of,
    obligation,
    review,
    seconds,
    with_reviews,
)

OTHER_INSTANCE: Final = "f" * 32


@dataclass
class Scene:
    """An action in some state, and the book in which the next entry is written."""

    action: Action
    book: Book


def pending() -> Scene:
    book = Book()
    action = life.requested(book.request())
    book.now = START + seconds(60)
    return Scene(action, book)


def approved() -> Scene:
    scene = pending()
    return Scene(with_reviews(scene.action, review("alice", seq=1)), scene.book)


def running() -> Scene:
    scene = approved()
    return Scene(life.started(scene.action, scene.book.start(1)), scene.book)


def finished(outcome: str) -> Scene:
    scene = running()
    return Scene(life.finished(scene.action, scene.book.finish(outcome)), scene.book)


def resolved() -> Scene:
    scene = finished("unknown")
    return Scene(life.resolved(scene.action, scene.book.resolve("failed")), scene.book)


def shadowed() -> Scene:
    book = Book()
    return Scene(life.requested(book.request(decision="shadow")), book)


def shadow_finished() -> Scene:
    scene = shadowed()
    return Scene(life.finished(scene.action, scene.book.finish("shadowed")), scene.book)


def rejected() -> Scene:
    scene = pending()
    return Scene(with_reviews(scene.action, review("alice", "reject", seq=1)), scene.book)


def expired() -> Scene:
    scene = pending()
    scene.book.now = START + TTL
    return scene


def expiry_written() -> Scene:
    scene = expired()
    return Scene(life.expired(scene.action, scene.book.expire()), scene.book)


def cancelled() -> Scene:
    scene = approved()
    return Scene(life.stopped(scene.action, scene.book.cancel()), scene.book)


def stale() -> Scene:
    scene = pending()
    return Scene(life.stopped(scene.action, scene.book.stale()), scene.book)


STATES: Final[dict[str, tuple[Callable[[], Scene], str]]] = {
    "pending": (pending, "pending"),
    "approved": (approved, "approved"),
    "running": (running, "running"),
    "succeeded": (lambda: finished("succeeded"), "succeeded"),
    "failed": (lambda: finished("failed"), "failed"),
    "stale at execution": (lambda: finished("stale"), "stale"),
    "unknown": (lambda: finished("unknown"), "unknown"),
    "settled": (resolved, "failed"),
    "shadowed": (shadowed, "shadowed"),
    "shadow finished": (shadow_finished, "shadowed"),
    "rejected": (rejected, "rejected"),
    "expired": (expired, "expired"),
    "expiry written": (expiry_written, "expired"),
    "cancelled": (cancelled, "cancelled"),
    "stale": (stale, "stale"),
}


def reviewing(verdict: str) -> Callable[[Scene], Action]:
    def take(scene: Scene) -> Action:
        action, now = scene.action, scene.book.now + seconds(1)
        said = ReviewStatement(
            log=ORIGIN,
            action=action.id,
            digest=action.digest,
            verdict=verdict,
            reviewer="alice",
            reason=REASON,
            at=now,
        )
        given = review("alice", verdict, at=now, seq=len(scene.book.entries))
        judged = judge_review(action, said, given, key_of("alice"), now)
        if judged != Counts():
            raise LifeError(str(judged))
        return life.reviewed(action, given)

    return take


def finishing(outcome: str) -> Callable[[Scene], Action]:
    return lambda scene: life.finished(scene.action, scene.book.finish(outcome))


def resolving(outcome: str) -> Callable[[Scene], Action]:
    return lambda scene: life.resolved(scene.action, scene.book.resolve(outcome))


KINDS: Final[dict[str, Callable[[Scene], Action]]] = {
    "approved by a person": reviewing("approve"),
    "rejected by a person": reviewing("reject"),
    "action.cancelled": lambda scene: life.stopped(scene.action, scene.book.cancel()),
    "action.stale": lambda scene: life.stopped(scene.action, scene.book.stale()),
    "action.expired": lambda scene: life.expired(scene.action, scene.book.expire()),
    "execution.started": lambda scene: life.started(
        scene.action, scene.book.start(*(given.seq for given in scene.action.reviews))
    ),
    "finished succeeded": finishing("succeeded"),
    "finished failed": finishing("failed"),
    "finished stale": finishing("stale"),
    "finished unknown": finishing("unknown"),
    "finished shadowed": finishing("shadowed"),
    "resolved succeeded": resolving("succeeded"),
    "resolved failed": resolving("failed"),
}

WAITING: Final = {
    "approved by a person": "approved",
    "rejected by a person": "rejected",
    "action.cancelled": "cancelled",
    "action.stale": "stale",
}
DIAGRAM: Final[dict[str, dict[str, str]]] = {
    "pending": WAITING,
    "approved": {**WAITING, "execution.started": "running"},
    "running": {
        "finished succeeded": "succeeded",
        "finished failed": "failed",
        "finished stale": "stale",
        "finished unknown": "unknown",
    },
    "unknown": {"resolved succeeded": "succeeded", "resolved failed": "failed"},
    "shadowed": {"finished shadowed": "shadowed"},
    "expired": {"action.expired": "expired"},
}
"""State → the entries that may follow, with the state they lead to. Nothing else may."""


@pytest.mark.parametrize("state", STATES)
def test_each_scene_is_in_the_state_it_is_named_for(state: str) -> None:
    make, name = STATES[state]
    scene = make()
    assert status(scene.action, scene.book.now) == name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES)
def test_an_entry_follows_exactly_where_the_diagram_says(state: str, kind: str) -> None:
    scene = STATES[state][0]()
    leads_to = DIAGRAM.get(state, {}).get(kind)
    if leads_to is None:
        with pytest.raises(LifeError):
            KINDS[kind](scene)
        return
    after = KINDS[kind](scene)
    assert status(after, scene.book.now + seconds(1)) == leads_to


def test_a_permitted_action_runs_without_anybody() -> None:
    book = Book()
    action = life.requested(book.request(decision="permit"))
    assert status(life.started(action, book.start()), book.now) == "running"


# --- requests -------------------------------------------------------------------------------------------------


def test_a_request_is_read_whole() -> None:
    due = [obligation("alice", quorum=1), obligation("bob", keys="hardware+pin", rejects=2, later={60: ["carol"]})]
    written: list[Json] = [obligation_to_json(one) for one in due]
    entry = Book().request(obligations=written)
    action = life.requested(entry)
    assert (action.id, action.seq, action.digest) == (action_id(1), 0, entry.digest)
    assert action.obligations == tuple(due)
    assert (action.owner, action.excluded) == ("olga", ("olga",))
    assert action.reviewers == {"alice": ("ssh-ed25519 alice",)}
    assert (action.requested_at, action.expires_at) == (START, START + TTL)
    assert action.backend["name"] == "shop"
    assert action.effects["lines_changed"] == 30


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"obligations": []}, "obligations"),
        ({"decision": "permit", "obligations": [obligation_to_json(obligation("alice"))]}, "obligations"),
        ({"decision": "shadow", "obligations": [obligation_to_json(obligation("alice"))]}, "obligations"),
        ({"excluded": []}, "owner"),
        ({"excluded": ["bob"]}, "owner"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(changed: dict[str, Json], words: str) -> None:
    with pytest.raises(LifeError, match=words):
        life.requested(Book().request(1, **changed))


def test_an_assistant_nobody_owns_excludes_nobody() -> None:
    assert life.requested(Book().request(owner=None, excluded=[])).excluded == ()


def test_an_entry_without_an_action_is_no_request() -> None:
    book = Book()
    moment = format_timestamp(START)
    facts: dict[str, Json] = {"principal": "claude", "count": 1, "code": "x", "since": moment, "until": moment}
    entry = book.add("requests.throttled", facts)
    with pytest.raises(LifeError, match="names no action"):
        life.requested(entry)


# --- details of the entries that follow -----------------------------------------------------------------------


def test_a_start_keeps_who_began_and_when() -> None:
    scene = approved()
    entry = scene.book.start(1)
    assert life.started(scene.action, entry).started == Started(seq=entry.seq, instance=INSTANCE, at=entry.at)


@pytest.mark.parametrize(("named", "words"), [([1, 7], "not there"), ([], "not suffice")])
def test_a_start_counts_recorded_reviews_that_suffice(named: list[int], words: str) -> None:
    scene = approved()
    with pytest.raises(LifeError, match=words):
        life.started(scene.action, scene.book.start(*named))


def test_a_start_cannot_leave_out_the_newer_word_of_a_reviewer() -> None:
    scene = pending()
    due: list[Json] = [obligation_to_json(obligation("alice", rejects=2))]
    action = life.requested(Book().request(obligations=due))
    changed_mind = review("alice", "reject", at=START + seconds(61), seq=2)
    action = with_reviews(action, review("alice", seq=1), changed_mind)
    with pytest.raises(LifeError, match="pending"):
        life.started(action, scene.book.start(1))


def test_nothing_starts_at_the_moment_of_its_expiry() -> None:
    scene = approved()
    scene.book.now = START + TTL
    with pytest.raises(LifeError, match="expired"):
        life.started(scene.action, scene.book.start(1))


def test_an_outcome_comes_from_the_executor_that_began_or_is_a_recovery() -> None:
    scene = running()
    with pytest.raises(LifeError, match="another executor"):
        life.finished(scene.action, scene.book.finish("succeeded", instance=OTHER_INSTANCE))
    entry = scene.book.finish("succeeded", instance=OTHER_INSTANCE, recovered=True)
    assert life.finished(scene.action, entry).ended == "succeeded"


def test_a_shadowed_action_is_finished_directly_after_its_request() -> None:
    scene = shadowed()
    scene.book.request(2)
    with pytest.raises(LifeError):
        life.finished(scene.action, scene.book.finish("shadowed"))


@pytest.mark.parametrize(
    ("outcome", "effect", "right"),
    [
        ("succeeded", True, True),
        ("succeeded", False, False),
        ("succeeded", None, False),
        ("failed", True, True),
        ("failed", False, True),
        ("failed", None, False),
        ("stale", False, True),
        ("stale", True, False),
        ("stale", None, False),
        ("unknown", None, True),
        ("unknown", True, False),
        ("unknown", False, False),
    ],
)
def test_an_outcome_says_of_its_effect_only_what_it_can_mean(outcome: str, effect: bool | None, right: bool) -> None:
    scene = running()
    entry = scene.book.finish(outcome, effect=effect)
    if right:
        after = life.finished(scene.action, entry)
        assert (after.ended, after.effect) == (outcome, effect)
        return
    with pytest.raises(LifeError, match="effect"):
        life.finished(scene.action, entry)


@pytest.mark.parametrize(("outcome", "effect", "right"), [("succeeded", False, False), ("failed", True, True)])
def test_a_resolution_says_of_the_effect_only_what_it_can_mean(outcome: str, effect: bool, right: bool) -> None:
    scene = finished("unknown")
    entry = scene.book.resolve(outcome, effect=effect)
    if right:
        assert life.resolved(scene.action, entry).effect is effect
        return
    with pytest.raises(LifeError, match="effect"):
        life.resolved(scene.action, entry)


def test_a_principal_cancels_only_its_own_actions_and_an_account_any() -> None:
    scene = pending()
    with pytest.raises(LifeError, match="claude's"):
        life.stopped(scene.action, scene.book.cancel(by="mallory"))
    assert life.stopped(scene.action, scene.book.cancel(by="root", kind="account")).ended == "cancelled"


def test_an_expiry_written_late_keeps_the_time_of_the_expiry() -> None:
    scene = expired()
    scene.book.now = START + TTL + seconds(999)
    after = life.expired(scene.action, scene.book.expire())
    assert (after.ended_at, ended_at(after, scene.book.now)) == (START + TTL, START + TTL)


def test_an_end_keeps_the_time_of_its_entry() -> None:
    scene = running()
    scene.book.now += seconds(100)
    entry: Entry = scene.book.finish("failed")
    after = life.finished(scene.action, entry)
    assert ended_at(after, scene.book.now) == entry.at
