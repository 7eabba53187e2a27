"""Which time decisions use, and when the clock is too wrong to decide anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyturn.ledger.clock import Reading, believed, read_clock
from keyturn.ledger.place import Place
from keyturn.ledger.snapshot import EVERY
from keyturn.log.chain import Basis, Head
from keyturn.model.time import Moment
from tests.ledger.world import Clock, opened, use, verified

AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
HEAD = Head(size=1, at=AT, boot="one", up=1_000_000_000)
DAYS = 86_400


def moment(wall: float, ran: float, boot: str = "one") -> Moment:
    return Moment(AT + timedelta(seconds=wall), boot, HEAD.up + int(ran * 1_000_000))


def test_an_empty_ledger_trusts_the_wall_clock() -> None:
    reading = read_clock(moment(0, 0), Head())
    assert (reading.now, reading.fault) == (AT, None)


def test_a_clock_that_agrees_gives_its_own_time() -> None:
    reading = read_clock(moment(30, 30), HEAD)
    assert (reading.now, reading.fault) == (AT + timedelta(seconds=30), None)


def test_a_clock_up_to_five_seconds_behind_is_no_fault_and_time_stands_at_the_last_entry() -> None:
    reading = read_clock(moment(-5, 0), HEAD)
    assert (reading.now, reading.fault) == (AT, None)


def test_a_clock_more_than_five_seconds_behind_is_a_fault_that_names_both_times() -> None:
    reading = read_clock(moment(-5.000001, 0), HEAD)
    assert reading.fault is not None
    assert "2026-11-21T08:59:54.999999Z" in reading.fault
    assert "2026-11-21T09:00:00.000000Z" in reading.fault
    assert "set the clock" in reading.fault


def test_under_a_fault_time_goes_on_by_the_time_the_machine_ran() -> None:
    reading = read_clock(moment(-3600, 90), HEAD)
    assert reading.fault is not None
    assert reading.now == AT + timedelta(seconds=90)


def test_a_clock_that_leaves_boottime_by_sixty_seconds_is_believed_and_by_more_is_not() -> None:
    assert read_clock(moment(70, 10), HEAD).fault is None
    ahead = read_clock(moment(70.000001, 10), HEAD)
    assert ahead.fault is not None
    assert ahead.now == AT + timedelta(seconds=10)
    stood_still = read_clock(moment(0, 61), HEAD)
    assert stood_still.fault is not None
    assert stood_still.now == AT + timedelta(seconds=61)


def test_after_another_boot_only_the_wall_clock_can_tell() -> None:
    assert read_clock(moment(30 * DAYS, -900, "two"), HEAD).fault is None
    behind = read_clock(moment(-30 * DAYS, -900, "two"), HEAD)
    assert behind.fault is not None
    assert behind.now == AT


def test_boottime_that_ran_backwards_never_moves_time_back() -> None:
    reading = read_clock(moment(-600, -500), HEAD)
    assert reading.fault is not None
    assert reading.now == AT


@given(wall=st.floats(-DAYS, DAYS), ran=st.floats(-900, DAYS), boot=st.sampled_from(["one", "two"]))
def test_time_never_goes_back_behind_the_last_entry(wall: float, ran: float, boot: str) -> None:
    assert read_clock(moment(wall, ran, boot), HEAD).now >= AT


# --- since the boot began, and since somebody signed ----------------------------------------------------------------

BOOTED = replace(HEAD, size=500, basis=Basis(seq=400, at=AT - timedelta(hours=10), up=HEAD.up - 36_000_000_000))


def test_small_steps_that_add_up_within_a_boot_are_seen() -> None:
    """Each step of 50 s is believed against the entry before it; the second is not against the boot's first."""
    once = replace(BOOTED, at=AT + timedelta(seconds=50), size=501)
    assert read_clock(moment(50, 0), BOOTED).fault is None
    reading = read_clock(moment(100, 0), once)
    assert reading.fault is not None
    assert "since entry 400" in reading.fault
    assert reading.now == once.at


def test_small_steps_back_and_forth_that_add_up_to_little_are_believed() -> None:
    assert read_clock(moment(4, 0), replace(BOOTED, at=AT + timedelta(seconds=-50))).fault is None


def test_where_the_log_is_ahead_of_the_clock_time_goes_on_from_the_log() -> None:
    hour = timedelta(hours=1)
    ahead = replace(HEAD, basis=Basis(seq=0, at=AT, up=HEAD.up, ahead=hour))
    agrees = read_clock(moment(30 - 3600, 30), ahead)
    assert (agrees.now, agrees.fault) == (AT + timedelta(seconds=30), None)
    jumped = read_clock(moment(30, 30), ahead)
    assert jumped.fault is not None
    assert jumped.now == AT + timedelta(seconds=30)


def test_whoever_signs_for_a_clock_moves_time_to_it_and_never_back() -> None:
    later, earlier = moment(10 * 365 * DAYS, 5), moment(-3600, 5)
    assert believed(read_clock(later, HEAD)) == Reading(later.wall, later, None)
    assert believed(read_clock(earlier, HEAD)) == Reading(AT + timedelta(seconds=5), earlier, None)


def test_the_first_entry_of_a_boot_is_what_later_ones_are_held_against(place: Place) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(hours=1))
    with opened(place, clock) as ledger:
        first = ledger.transact(use)
        ledger.transact(use)
        basis = ledger.look(lambda view: view.head.basis)
        assert basis is not None
        assert basis.seq <= first.seq
        clock.boot, clock.up = "another", 7
        clock.wall += timedelta(hours=1)
        begun = ledger.transact(use)
        ledger.transact(use)
        assert ledger.look(lambda view: view.head.basis) == Basis(begun.seq, begun.at, begun.up)


def test_small_steps_are_seen_by_a_process_that_started_from_a_snapshot(place: Place) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(hours=1))
    clock.boot = "another"
    with opened(place, clock) as ledger:
        first = ledger.transact(use)
        for _ in range(EVERY + 8):
            ledger.transact(use)
        clock.wall += timedelta(seconds=50)
        ledger.transact(use)
    with opened(place, clock) as ledger:
        assert ledger.look(lambda view: view.head.basis) == Basis(first.seq, first.at, first.up)
        clock.wall += timedelta(seconds=50)
        fault = ledger.look(lambda view: view.reading.fault)
        assert fault is not None
        assert f"since entry {first.seq}" in fault


def test_entries_never_go_back_in_time_whatever_the_clock_does(place: Place) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(hours=1))
    faults = []
    with opened(place, clock) as ledger:
        for step in (0, 10, -3, -3600, 4000, -86_400, 100_000, 1):
            clock.wall += timedelta(seconds=step)
            clock.up += 1_000_000
            faults.append(ledger.transact(lambda tx: (use(tx), tx.reading.fault)[1]))
    times = [entry.at for entry in verified(place)]
    assert times == sorted(times)
    assert faults[:3] == [None, None, None]
    assert all(faults[3:6])


def test_a_clock_at_fault_recovers_once_it_agrees_again(place: Place) -> None:
    clock = Clock(datetime.now(UTC) + timedelta(hours=1))
    with opened(place, clock) as ledger:
        ledger.transact(use)
        clock.wall -= timedelta(hours=2)
        assert ledger.look(lambda view: view.reading.fault) is not None
        clock.wall += timedelta(hours=2)
        assert ledger.look(lambda view: view.reading.fault) is None
