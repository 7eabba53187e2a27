"""One transaction for many jobs: nothing is answered before it is durable, and no job spoils another's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.lock import held
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Reader
from keyturn.log.entry import Entry, EntryError
from keyturn.model.errors import LedgerError
from keyturn.model.time import Moment
from tests.ledger.processes import commit_until, hold, race, running, told
from tests.ledger.world import EPOCH, Uses, denied, opened, raw, real_clock, surroundings, use, used, verified

Job = Callable[[Transaction[Uses]], Any]


def batch(ledger: Ledger[Uses], place: Place, *jobs: Job) -> list[Future[Any]]:
    """Run jobs in one batch, in their order: all queue up while the ledger lock is held elsewhere."""
    futures: list[Future[Any]] = []
    with ThreadPoolExecutor(len(jobs) + 1) as pool, held(place.lock, "the test"):
        # The first caller takes its one job along and waits for the lock; all others form the next batch.
        pool.submit(ledger.transact, lambda tx: tx.head.size)
        wait_for(lambda: ledger._turn.locked() and not ledger._waiting)
        for job in jobs:
            futures.append(pool.submit(ledger.transact, job))
            wait_for(lambda: len(ledger._waiting) == len(futures))
    return futures


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never happened"
        os.sched_yield()


def commits(place: Place) -> int:
    """The number of commits in the WAL: its frames that carry the size of the database."""
    wal = place.database.with_name("ledger.db-wal").read_bytes()
    page = int.from_bytes(wal[8:12], "big")
    salts = wal[16:24]
    frames = range(32, len(wal), 24 + page)
    return sum(wal[at + 8 : at + 16] == salts and wal[at + 4 : at + 8] != bytes(4) for at in frames)


def test_a_result_comes_back_once_its_entries_are_durable(ledger: Ledger[Uses], place: Place) -> None:
    entry = ledger.transact(use)
    assert verified(place)[-1] == entry
    assert used(ledger) == 1
    assert place.head.read_text(encoding="ascii").split()[:2] == [f"{entry.seq + 1:016d}", entry.leaf]


def test_a_job_that_appends_nothing_costs_no_commit(ledger: Ledger[Uses], place: Place) -> None:
    ledger.transact(use)
    before = commits(place)
    assert ledger.transact(lambda tx: tx.state.uses["claude"]) == 1
    assert commits(place) == before


def test_a_job_that_raises_leaves_nothing_and_its_exception_reaches_its_caller(
    ledger: Ledger[Uses], place: Place
) -> None:
    def fails(tx: Transaction[Uses]) -> None:
        use(tx, plan=b"kept apart")
        raise LookupError("no such ticket")

    with pytest.raises(LookupError, match="no such ticket"):
        ledger.transact(fails)
    assert len(verified(place)) == 3
    assert used(ledger) == 0
    with raw(place) as db:
        assert db.execute("SELECT count(*) FROM payload").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM lookup").fetchone()[0] == 3


def test_a_job_that_raises_rolls_back_alone_and_the_others_of_its_batch_commit_together(
    ledger: Ledger[Uses], place: Place
) -> None:
    def fails(tx: Transaction[Uses]) -> None:
        use(tx)
        raise LookupError("mine alone")

    ledger.transact(use)
    before = commits(place)
    first, second, third = batch(ledger, place, use, fails, use)
    assert isinstance(second.exception(), LookupError)
    assert [first.result().seq, third.result().seq] == [4, 5]
    assert commits(place) == before + 1
    assert [entry.seq for entry in verified(place)[4:]] == [4, 5]


def test_jobs_of_one_batch_see_the_jobs_before_them(ledger: Ledger[Uses], place: Place) -> None:
    def attempt(tx: Transaction[Uses]) -> bool:
        if tx.state.uses.get("claude", 0) >= 3:
            return False
        use(tx)
        return True

    answers = [future.result() for future in batch(ledger, place, *[attempt] * 8)]
    assert answers == [True] * 3 + [False] * 5
    assert used(ledger) == 3


@pytest.mark.parametrize("code", ["impossible", "bug"])
def test_a_job_whose_entries_the_fold_refuses_fails_alone_and_the_fold_is_rebuilt(
    code: str, ledger: Ledger[Uses], place: Place
) -> None:
    def contradicts(tx: Transaction[Uses]) -> None:
        use(tx)
        use(tx, code=code)

    first, second, third = batch(ledger, place, use, contradicts, lambda tx: (use(tx), dict(tx.state.uses))[1])
    assert first.result().seq == 3
    error = second.exception()
    assert isinstance(error, LedgerError if code == "impossible" else ZeroDivisionError)
    assert third.result() == {"claude": 1}
    assert used(ledger) == 2
    assert len(verified(place)) == 5


def test_entries_that_are_not_as_their_kind_defines_are_refused_and_the_job_may_go_on(
    ledger: Ledger[Uses], place: Place
) -> None:
    def stumbles(tx: Transaction[Uses]) -> Entry:
        with pytest.raises(EntryError, match="count"):
            tx.append("requests.throttled", {"principal": "claude", "count": 0})
        with pytest.raises(ValueError, match="salt"):
            tx.append("requests.throttled", {}, data={"plan": b"x"}, salts={"plan": b"short"})
        return use(tx)

    assert ledger.transact(stumbles).seq == 3
    assert len(verified(place)) == 4


def test_an_append_that_failed_half_way_is_never_committed_even_if_the_job_goes_on(
    ledger: Ledger[Uses], place: Place
) -> None:
    ledger._connection.execute(
        "CREATE TEMP TRIGGER no_payload BEFORE INSERT ON main.payload BEGIN SELECT raise(FAIL, 'no room'); END"
    )

    def goes_on(tx: Transaction[Uses]) -> str:
        with pytest.raises(LedgerUnavailable, match="no room"):
            use(tx, plan=b"x")
        with pytest.raises(LedgerUnavailable, match="no room"):
            use(tx)
        return "all is well"

    with pytest.raises(LedgerUnavailable, match="no room"):
        ledger.transact(goes_on)
    assert len(verified(place)) == 3
    assert ledger.transact(use).seq == 3


def test_nothing_is_appended_after_the_job_is_over(ledger: Ledger[Uses], place: Place) -> None:
    kept = ledger.transact(lambda tx: tx)
    with pytest.raises(LedgerError, match="the job is over"):
        use(kept)
    assert len(verified(place)) == 3


def test_a_job_that_calls_its_own_ledger_is_told_so_instead_of_waiting_for_itself(ledger: Ledger[Uses]) -> None:
    calls: list[Job] = [
        lambda _: ledger.transact(use),
        lambda _: used(ledger),
        lambda _: ledger.scrub(0, 1),
        lambda _: ledger.close(),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="wait for itself"):
            ledger.transact(call)
    assert ledger.transact(use).seq == 3


def test_a_surrounding_that_fails_fails_the_call_and_not_the_ledger(place: Place) -> None:
    moments: list[Moment] = []
    with opened(place, moments.pop) as ledger:
        with pytest.raises(LedgerUnavailable, match=r"IndexError\(.*\); nothing was recorded") as caught:
            ledger.transact(use)
        assert isinstance(caught.value.__cause__, IndexError)
        moments.append(real_clock())
        assert ledger.transact(use).seq == 3


def test_a_keyboard_interrupt_in_a_job_rolls_its_batch_back_and_tells_the_others(
    ledger: Ledger[Uses], place: Place
) -> None:
    def interrupted(tx: Transaction[Uses]) -> None:
        use(tx)
        raise KeyboardInterrupt

    first, second, third = batch(ledger, place, use, interrupted, use)
    errors = [future.exception() for future in (first, second, third)]
    assert sorted(type(error).__name__ for error in errors) == ["KeyboardInterrupt"] + ["LedgerUnavailable"] * 2
    assert "interrupted; nothing was recorded" in str(errors)
    assert len(verified(place)) == 3
    assert ledger.transact(use).seq == 3


def test_an_interrupt_that_arrives_during_commit_takes_nothing_back_from_the_others(
    ledger: Ledger[Uses], place: Place
) -> None:
    """A signal during fdatasync surfaces after COMMIT has returned: the batch is durable and its callers hear so."""
    connection = ledger._connection

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def execute(self, sql: str, *values: Any) -> Any:
            answer = connection.execute(sql, *values)
            if sql == "COMMIT":
                raise KeyboardInterrupt
            return answer

    use_first = ledger.transact(use)
    ledger._connection = Interrupted()  # type: ignore[assignment]  # stands in for a signal at one exact instruction
    futures = batch(ledger, place, use, use, use)
    ledger._connection = connection
    outcomes = [future.exception() or future.result() for future in futures]
    interrupted = [outcome for outcome in outcomes if isinstance(outcome, KeyboardInterrupt)]
    durable = {entry.leaf for entry in verified(place)}
    assert len(interrupted) == 1
    assert all(entry.leaf in durable for entry in outcomes if isinstance(entry, Entry))
    assert len([entry for entry in outcomes if isinstance(entry, Entry)]) == 2
    assert used(ledger) == 4
    assert ledger.transact(use).seq == use_first.seq + 4
    assert place.head.read_text(encoding="ascii").startswith(f"{use_first.seq + 5:016d}")


@pytest.mark.usefixtures("interruptible")
def test_a_caller_interrupted_while_it_waits_for_its_turn_has_its_job_withdrawn(
    ledger: Ledger[Uses], place: Place
) -> None:
    ran: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def slow(tx: Transaction[Uses]) -> None:
        entered.set()
        leave.wait(60)

    def interrupt_the_waiting_main_thread() -> None:
        wait_for(lambda: len(ledger._waiting) == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with ThreadPoolExecutor(2) as pool:
        running_job = pool.submit(ledger.transact, slow)
        entered.wait(60)
        pool.submit(interrupt_the_waiting_main_thread)
        with pytest.raises(KeyboardInterrupt):
            ledger.transact(lambda tx: ran.append("withdrawn"))
        leave.set()
        running_job.result(60)
    ledger.transact(use)
    assert ran == []
    assert len(verified(place)) == 4


def test_a_lock_held_for_too_long_fails_the_call_naming_the_holder(
    ledger: Ledger[Uses], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.ledger.lock.held.__wrapped__.__defaults__", (0.2,), raising=True)
    with running(hold, place.lock, "keyturn worker (pid 4242)") as (_, said):
        assert told(said) == "held"
        with pytest.raises(LedgerUnavailable, match=r"held by keyturn worker \(pid 4242\) for more than 0.2 s"):
            ledger.transact(use)
        said.send("let go")
        assert told(said) == "released"
        assert ledger.transact(use).seq == 3


def test_eight_processes_racing_a_limit_of_fifty_get_exactly_fifty(place: Place) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(running(race, place, 25, 50))[1] for _ in range(8)]
        assert [told(said) for said in racers] == ["ready"] * 8
        for said in racers:
            said.send("go")
        granted = [told(said) for said in racers]
    assert sum(granted) == 50
    assert len(verified(place)) == 53


def test_no_process_starves_while_others_write_as_fast_as_they_can(place: Place) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(running(commit_until, place, f"p{n}"))[1] for n in range(4)]
        assert [told(said) for said in writers] == ["ready"] * 4
        for said in writers:
            said.send(1.0)
        shares = [told(said) for said in writers]
    assert sum(shares) == len(verified(place)) - 3
    assert min(shares) > sum(shares) / len(shares) / 4, shares


def test_many_threads_and_readers_at_once_lose_nothing(ledger: Ledger[Uses], place: Place) -> None:
    reader = Reader(place, Uses, surroundings())

    def work(number: int) -> list[Entry]:
        entries = []
        for _ in range(10):
            entries.append(ledger.transact(lambda tx: use(tx, f"t{number}")))
            assert ledger.look(lambda view: view.state.uses[f"t{number}"]) == len(entries)
            assert reader.look(lambda view: view.state.uses[f"t{number}"]) == len(entries)
        return entries

    with ThreadPoolExecutor(16) as pool:
        acknowledged = [entry for entries in pool.map(work, range(16)) for entry in entries]
    reader.close()
    chain = verified(place)
    assert len(chain) == 3 + 160
    assert {entry.leaf for entry in acknowledged} <= {entry.leaf for entry in chain}
    assert ledger.look(lambda view: view.state.entries) == 163


def test_a_ledger_that_is_closed_refuses_every_call(place: Place) -> None:
    with opened(place) as ledger:
        ledger.close()
        for call in (lambda: ledger.transact(use), lambda: used(ledger), lambda: ledger.scrub(0, 1)):
            with pytest.raises(LedgerUnavailable, match="closed database"):
                call()


def test_a_failing_head_record_fails_no_committed_job_but_stops_the_next_until_it_is_mended(
    ledger: Ledger[Uses], place: Place
) -> None:
    assert ledger.transact(use).seq == 3
    kept = place.head.read_bytes()
    place.head.unlink()
    place.head.mkdir()
    assert ledger.transact(use).seq == 4
    with pytest.raises(LedgerUnavailable, match=r"head: Is a directory"):
        ledger.transact(use)
    with pytest.raises(LedgerUnavailable, match=r"head: Is a directory"):
        ledger.transact(use)
    place.head.rmdir()
    place.head.write_bytes(kept)
    assert ledger.transact(lambda tx: tx.head.size) == 5
    assert place.head.read_text(encoding="ascii").startswith(f"{5:016d}")
    assert ledger.transact(use).seq == 5
    assert len(verified(place)) == 6


def test_a_view_shows_entries_payloads_and_where_to_find_them(ledger: Ledger[Uses]) -> None:
    first = ledger.transact(lambda tx: use(tx, "alice", plan=b"a plan"))
    refusal = ledger.transact(lambda tx: denied(tx, "bob"))
    assert refusal.action is not None
    action = refusal.action
    with_payload = ledger.look(lambda view: (view.payload(first, "argument.plan"), view.payload(first, "diff")))
    assert with_payload == (b"a plan", None)
    assert ledger.look(lambda view: view.entries(0, 2))[1].kind == "key.added"
    assert ledger.look(lambda view: view.history(action)) == [refusal]
    assert ledger.look(lambda view: view.matching(action[-6:])) == [action]
    assert ledger.look(lambda view: view.matching("nothing")) == []
    assert ledger.look(lambda view: view.requests()) == [refusal]
    assert ledger.look(lambda view: view.requests(principal="alice")) == []
    assert ledger.look(lambda view: view.newest_of("alice")) == first
    assert ledger.look(lambda view: view.newest_of("nobody")) is None
    assert ledger.look(lambda view: view.now) >= refusal.at


def test_given_salts_are_kept_and_all_others_are_fresh(ledger: Ledger[Uses], place: Place) -> None:
    salt = bytes(range(32))

    def signs(tx: Transaction[Uses]) -> Entry:
        facts: dict[str, Json] = {"principal": "alice", "count": 1, "code": "limit", "since": EPOCH, "until": EPOCH}
        data = {"review.reason": b"ok", "plan": b"ok"}
        return tx.append("requests.throttled", facts, data=data, salts={"review.reason": salt})

    entry, other = ledger.transact(signs), ledger.transact(signs)
    assert entry.data["review.reason"] == other.data["review.reason"]
    assert entry.data["plan"] != other.data["plan"]
    with raw(place) as db:
        stored = db.execute("SELECT salt FROM payload WHERE seq = ? AND field = 'review.reason'", (entry.seq,))
        assert stored.fetchone()[0] == salt
