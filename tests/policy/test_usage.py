"""Windows slide, released uses never count, pending requests count until they are over."""

from __future__ import annotations

import base64
import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.canon import Json
from keyturn.policy import LONGEST_WINDOW, Scope, Usage, Used
from tests.policy.world import NOW, use

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
ALL = Scope()


def one(name: str) -> frozenset[str]:
    return frozenset({name})


def test_a_use_leaves_at_the_very_moment_its_window_has_passed() -> None:
    usage = Usage()
    use(usage, "a", NOW)
    assert usage.used("calls", ALL, HOUR, NOW) == Used(1, NOW + HOUR)
    assert usage.used("calls", ALL, HOUR, NOW + HOUR - TICK) == Used(1, NOW + HOUR)
    assert usage.used("calls", ALL, HOUR, NOW + HOUR) == Used(0)


def test_the_oldest_counted_use_says_when_room_comes_back() -> None:
    usage = Usage()
    for minutes in (30, 0, 10):  # entries may come late
        use(usage, str(minutes), NOW + timedelta(minutes=minutes))
    later = NOW + timedelta(minutes=65)
    assert usage.used("calls", ALL, HOUR, later) == Used(2, NOW + timedelta(minutes=70))


def test_a_release_gives_everything_back_and_a_plain_settlement_nothing() -> None:
    usage = Usage()
    use(usage, "a", NOW, {"calls": 1, "lines_changed": 7, "recipients": 0}, pending=True)
    use(usage, "b", NOW, {"calls": 1, "lines_changed": 7}, pending=True)
    assert usage.used("pending", ALL, None, NOW) == Used(2)
    usage.settle("a", release=True)
    usage.settle("b", release=False)
    assert usage.used("lines_changed", ALL, HOUR, NOW).amount == 7
    assert usage.used("recipients", ALL, HOUR, NOW) == Used(0)
    assert usage.used("pending", ALL, None, NOW) == Used(0)
    usage.settle("b", release=True)
    usage.unpend("b")
    assert usage.used("calls", ALL, HOUR, NOW).amount == 1  # what was settled for good is given back no more
    use(usage, "c", NOW)
    usage.settle("c", release=True)
    usage.settle("c", release=True)
    assert usage.used("calls", ALL, HOUR, NOW).amount == 1


def test_an_answered_request_is_no_longer_pending_but_still_counts() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    usage.unpend("a")
    assert usage.used("pending", ALL, None, NOW) == Used(0)
    assert usage.used("calls", ALL, HOUR, NOW).amount == 1


def test_an_action_reserves_once() -> None:
    usage = Usage()
    use(usage, "a", NOW)
    with pytest.raises(ValueError, match="has reserved already"):
        use(usage, "a", NOW)


def test_a_scope_counts_the_uses_whose_facts_lie_in_it() -> None:
    usage = Usage()
    use(usage, "a", NOW, principal="claude", tool="x", environment="staging")
    use(usage, "b", NOW, principal="claude", tool="y", environment="production")
    use(usage, "c", NOW, principal="codex", owner="carol", tool="x", environment="staging", target="t")

    def count(scope: Scope) -> int:
        return usage.used("calls", scope, HOUR, NOW).amount

    assert count(ALL) == 3
    assert count(Scope(principal=one("claude"))) == 2
    assert count(Scope(owner=one("carol"))) == 1
    assert count(Scope(principal=one("claude"), tool=one("x"))) == 1
    assert count(Scope(environment=frozenset({"staging", "production"}), tool=one("x"))) == 2
    assert count(Scope(target=one("t"))) == 1
    assert count(Scope(target=one("u"))) == 0
    assert count(Scope(principal=frozenset(str(n) for n in range(50)) | {"codex"})) == 1
    assert usage.values("tool", ALL) == {"x", "y"}
    assert usage.values("tool", Scope(principal=one("codex"))) == {"x"}


def test_what_no_window_sees_is_dropped_but_waiting_requests_stay() -> None:
    usage = Usage()
    use(usage, "old", NOW)
    use(usage, "waits", NOW, pending=True)
    assert usage.used("calls", ALL, LONGEST_WINDOW, NOW).amount == 2
    use(usage, "new", NOW + LONGEST_WINDOW)
    assert [row[0] for row in rows(usage)] == ["waits", "new"]
    assert usage.used("pending", ALL, None, NOW) == Used(1)
    use(usage, "late", NOW)
    assert [row[0] for row in rows(usage)] == ["waits", "new"]
    usage.unpend("waits")
    assert usage.used("pending", ALL, None, NOW) == Used(0)
    assert [row[0] for row in rows(usage)] == ["new"]


AGES = [
    (timedelta(seconds=60), timedelta(seconds=1)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=15)),
]


@pytest.mark.parametrize(("age", "step"), AGES)
def test_a_settled_use_leaves_a_longer_window_at_most_one_step_late_and_never_early(
    age: timedelta, step: timedelta
) -> None:
    usage, window = Usage(), 2 * age
    use(usage, "a", NOW + TICK)
    use(usage, "open", NOW + TICK)
    use(usage, "released", NOW + TICK)
    usage.settle("a", release=False)
    use(usage, "b", NOW + age + step, tool="other")  # time goes on by entries
    usage.settle("released", release=True)
    leaves, scope = NOW + step + window, Scope(tool=one("set_flag"))
    assert usage.used("calls", scope, window, leaves - TICK) == Used(2, leaves)
    assert usage.without("open").used("calls", scope, window, leaves - TICK).amount == 1
    assert usage.used("calls", scope, window, leaves) == usage.without("open").used("calls", scope, window, leaves)
    assert usage.used("calls", scope, window, leaves) == Used(0)


def test_sums_beyond_eight_bytes_are_counted_all_the_same() -> None:
    usage, huge = Usage(), 2**53 - 1
    usage.used("calls", ALL, HOUR, NOW)
    for number in range(1_100):
        use(usage, str(number), NOW + number * timedelta(seconds=1), {"lines_changed": huge})
    usage.settle("0", release=True)
    later = NOW + timedelta(seconds=1_100)
    assert usage.used("lines_changed", ALL, HOUR, later).amount == 1_099 * huge
    use(usage, "later", NOW + timedelta(days=2))
    assert usage.used("lines_changed", ALL, LONGEST_WINDOW, NOW + timedelta(days=2)).amount == 1_099 * huge
    copy = Usage.from_json(usage.to_json())
    assert copy.used("lines_changed", ALL, LONGEST_WINDOW, NOW + timedelta(days=2)).amount == 1_099 * huge


@pytest.mark.parametrize(("age", "before"), [(AGES[0][0], TICK), (AGES[1][0], AGES[0][1]), (AGES[2][0], AGES[1][1])])
def test_a_window_is_not_rounded_by_the_step_that_begins_at_its_length(age: timedelta, before: timedelta) -> None:
    usage, scope = Usage(), Scope(tool=one("set_flag"))
    use(usage, "a", NOW + TICK)
    usage.settle("a", release=False)
    leaves = NOW + before + age
    use(usage, "b", leaves - TICK, tool="other")  # time goes on by entries
    assert usage.used("calls", scope, age, leaves - TICK) == Used(1, leaves)
    use(usage, "c", leaves, tool="other")
    assert usage.used("calls", scope, age, leaves) == Used(0)


def test_a_week_of_calls_takes_no_more_room_the_more_there_are() -> None:
    kept = []
    for calls in (10_000, 40_000):
        usage = Usage()
        usage.used("calls", ALL, HOUR, NOW)
        for number in range(calls):
            use(usage, str(number), NOW + LONGEST_WINDOW / calls * number, {"calls": 1, "lines_changed": number % 3})
            usage.settle(str(number), release=False)
        assert usage.used("calls", ALL, LONGEST_WINDOW, NOW + LONGEST_WINDOW / 2).amount == calls
        kept.append(len(canon.encode(usage.to_json())))
    assert kept[1] < 1.2 * kept[0]


def rows(usage: Usage) -> list[list[object]]:
    value = usage.to_json()
    assert isinstance(value, dict)
    return value["open"]  # type: ignore[return-value]  # rows, as to_json writes them


def test_a_view_without_an_action_leaves_exactly_its_uses_out() -> None:
    usage = Usage()
    use(usage, "a", NOW, pending=True)
    use(usage, "b", NOW + HOUR / 2)
    view = usage.without("a")
    assert view.used("calls", ALL, HOUR, NOW + HOUR / 2).amount == 1
    assert view.used("calls", ALL, HOUR, NOW + HOUR).amount == 1
    assert view.used("pending", ALL, None, NOW) == Used(0)
    assert view.used("calls", Scope(principal=one("codex")), HOUR, NOW) == Used(0)
    assert view.values("principal", ALL) == {"claude"}
    assert usage.without("a").used("calls", Scope(target=one("flags:staging/dark")), HOUR, NOW).amount == 1
    assert usage.without("nothing") is usage


def packed(data: bytes, compressed: bool = True) -> str:
    return base64.b64encode(zlib.compress(data) if compressed else data).decode()


FACTS = ["p", None, "t", "x", "e"]
TIME = "2026-01-01T00:00:00.000000Z"
SHAPE: dict[str, Json] = Usage().to_json()
FITTING: list[dict[str, Json]] = [
    {"open": [["a", *FACTS, TIME, {"calls": 1}, False]]},
    {"kept": [["calls", *FACTS, ["0", "1"]]]},
    {"kept": [["calls", *FACTS, packed(struct.pack("<2q", 0, 1))]]},
]


@pytest.mark.parametrize("part", FITTING)
def test_a_snapshot_of_this_shape_is_read(part: dict[str, Json]) -> None:
    again = Usage.from_json({**SHAPE, "latest": "1970-01-01T00:00:00.000000Z", **part}).to_json()
    [name] = part
    assert isinstance(again, dict)
    assert again[name]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {**SHAPE, "version": 3},
        {**SHAPE, "history": None},
        {**SHAPE, "open": {}},
        {**SHAPE, "more": 1},
        {name: value for name, value in SHAPE.items() if name != "open"},
        {**SHAPE, "latest": "yesterday"},
        {**SHAPE, "open": [[]]},
        {**SHAPE, "open": [None]},
        {**SHAPE, "open": [["a", *FACTS, "when", {}, False]]},
        {**SHAPE, "open": [["a", "p", 3, "t", "x", "e", TIME, {}, False]]},
        {**SHAPE, "open": [["a", *FACTS, TIME, 3, False]]},
        {**SHAPE, "open": [["a", *FACTS, TIME, {"calls": -1}, False]]},
        {**SHAPE, "open": [["a", *FACTS, TIME, {"calls": True}, False]]},
        {**SHAPE, "open": [["a", *FACTS, TIME, {"calls": 1}, False]] * 2},
        {**SHAPE, "kept": [["calls", *FACTS]]},
        {**SHAPE, "kept": [["calls", *FACTS, 1]]},
        {**SHAPE, "kept": [["calls", *FACTS, [0, 1]]]},
        {**SHAPE, "kept": [["calls", *FACTS, []]]},
        {**SHAPE, "kept": [["calls", *FACTS, ["0"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, ["0", "+1"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, ["0", "1", "1"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, ["0", "-1", "1", "1"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, ["0", "1", "1", "-1"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, [str(2**64), "1"]]]},
        {**SHAPE, "kept": [["calls", *FACTS, "no base64"]]},
        {**SHAPE, "kept": [["calls", *FACTS, packed(b"no zlib", compressed=False)]]},
        {**SHAPE, "kept": [["calls", *FACTS, packed(b"")]]},
        {**SHAPE, "kept": [["calls", *FACTS, packed(b"not 8 n")]]},
        {**SHAPE, "kept": [["calls", *FACTS, packed(struct.pack("<2q", 0, -1))]]},
    ],
)
def test_a_snapshot_of_another_shape_is_refused(value: Json) -> None:
    with pytest.raises(ValueError):
        Usage.from_json(value)


@pytest.mark.parametrize("amount", [1, 2**40, 2**53 - 1, 2**70])
def test_a_snapshot_keeps_amounts_of_any_size_and_times_before_1970(amount: int) -> None:
    usage, old = Usage(), datetime(1969, 12, 31, tzinfo=UTC)
    for action, at in (("a", old), ("b", old), ("c", old + HOUR)):
        use(usage, action, at, {"calls": amount})
        usage.settle(action, release=False)
    again = Usage.from_json(canon.decode(canon.encode(usage.to_json())))
    assert again.to_json() == usage.to_json()
    assert again.used("calls", ALL, HOUR * 2, old + HOUR).amount == 3 * amount


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "release", "settle", "unpend"]),
        st.integers(0, 11),
        # Minutes from the start: several times the longest window, and backwards.
        st.integers(-1_000, 24_000) | st.integers(0, 3_000) | st.integers(0, 5),
        st.sampled_from(["claude", "codex"]),
        st.sampled_from(["x", "y"]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=25,
)


def _rounded(at: datetime, latest: datetime) -> datetime:
    for age, step in AGES:
        late = NOW - (NOW - at) // step * step
        at = late if latest >= late + age else at
    return at


class Slow:
    """The same bookkeeping, as plainly as it can be said."""

    def __init__(self) -> None:
        self.uses: dict[str, tuple[datetime, str, str, int]] = {}
        self.pending: set[str] = set()
        self.settled: list[tuple[datetime, str, str, int]] = []

    def settle(self, action: str) -> None:
        """Keep what a use took for good."""
        self.settled += [self.uses.pop(action)] if action in self.uses else []

    def grow_old(self, latest: datetime) -> None:
        """Forget what no window can see."""
        self.latest = latest
        for known, (when, *_) in list(self.uses.items()):
            if _rounded(when, latest) <= latest - LONGEST_WINDOW and known not in self.pending:
                del self.uses[known]

    def used(self, principal: str | None, tool: str | None, window: timedelta, now: datetime) -> int:
        return sum(
            amount
            for at, who, what, amount in (*self.uses.values(), *self.settled)
            if _rounded(at, self.latest) > now - window and principal in (None, who) and tool in (None, what)
        )


@given(STEPS, st.booleans())
def test_counting_agrees_with_the_plainest_way_to_count_and_snapshots_round_trip(
    steps: list[tuple[str, int, int, str, str, int, bool]], restored: bool
) -> None:
    usage, slow, latest = Usage(), Slow(), NOW
    usage.used("calls", Scope(tool=one("x")), HOUR, NOW)  # this table is kept up to date, the others are built late
    for verb, number, minutes, principal, tool, amount, pending in steps:
        action, at = str(number), NOW + timedelta(minutes=minutes, microseconds=number)
        if verb == "reserve" and action not in slow.uses:
            latest = max(latest, at)
            use(usage, action, at, {"calls": amount}, principal=principal, tool=tool, pending=pending)
            slow.uses[action] = (at, principal, tool, amount)
            slow.pending |= {action} if pending else set()
        elif verb == "reserve":
            continue
        elif verb == "unpend":
            usage.unpend(action)
            slow.pending.discard(action)
        else:
            usage.settle(action, release=verb == "release")
            slow.pending.discard(action)
            if verb == "release":
                slow.uses.pop(action, None)
            slow.settle(action)
        slow.grow_old(latest)
        check(usage, slow, latest)
        copy = Usage.from_json(canon.decode(canon.encode(usage.to_json())))
        assert copy.to_json() == usage.to_json()
        check(copy, slow, latest)
        usage = copy if restored else usage


def check(usage: Usage, slow: Slow, now: datetime) -> None:
    for who in (None, "claude", "codex"):
        for what in (None, "x"):
            scope = Scope(principal=None if who is None else one(who), tool=None if what is None else one(what))
            for window in (timedelta(seconds=60), timedelta(hours=1), timedelta(hours=5), LONGEST_WINDOW):
                assert usage.used("calls", scope, window, now).amount == slow.used(who, what, window, now)
    assert usage.used("pending", ALL, None, now).amount == len(slow.pending)
