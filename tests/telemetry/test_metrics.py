"""The metrics of a home: scraped over HTTP, read with Prometheus' own parser, and held against the ledger."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from keyturn.assembly import metrics
from keyturn.assembly.metrics import Served, metrics_served, serve_metrics
from keyturn.assembly.room import room_of
from keyturn.gateway.execute import finish
from keyturn.ledger import head as head_record
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.place import Place
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.model.outcome import Unknown
from keyturn.telemetry.exposition import Process
from tests.gateway.hands import claim_next
from tests.gateway.world import Founded, World, found

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return found(tmp_path_factory.mktemp("populated"))


@pytest.fixture
def world(tmp_path: Path, populated: Founded) -> Iterator[World]:
    world = World(tmp_path / "home", populated)
    yield world
    world.close()


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    with closing(serve_metrics(world.home, "0", Process(open_calls=lambda: 3, refused_credentials=lambda: 2))) as it:
        yield it


def page(served: Served) -> str:
    with urllib.request.urlopen(f"http://{served.address}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def families(served: Served) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page(served))}


def samples(served: Served) -> Samples:
    """Every number of one scrape by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(served).values()
        for sample in family.samples
    }


def labelled(found: Samples, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The numbers of one metric by the values of these labels."""
    return {
        tuple(dict(given)[label] for label in labels): value
        for (known, given), value in found.items()
        if known == name
    }


def totals(found: Samples, name: str, label: str) -> Counter[str]:
    """The numbers of one metric added up by one label."""
    added = Counter[str]()
    for (known, given), value in found.items():
        if known == name:
            added[dict(given)[label]] += int(value)
    return added


def one(found: Samples, name: str) -> float:
    return found[name, ()]


def lose(world: World) -> None:
    """Begin what is approved, and let nobody know how it ended."""
    claimed = claim_next(world.gate, world.executor.instance)
    assert claimed is not None
    action, instance = claimed.action.id, world.executor.instance
    world.gate.ledger.transact(lambda tx: finish(tx, action, Unknown("lost"), instance, recovered=False))


def test_a_scrape_says_what_the_ledger_holds(world: World, served: Served) -> None:
    first = len(world.entries())
    action = world.held()
    world.call("get_ticket", ticket="OPS-1")
    world.call("get_ticket", ticket=7)
    world.call("get_ticket", "codex", ticket="OPS-1")
    world.comment("seen")
    world.approve(action)
    world.drain()
    world.held("codex", title="another")
    entries: list[Any] = world.entries()[first:]
    found = samples(served)

    outcomes = Counter(e.facts["outcome"] for e in entries if e.kind == "execution.finished")
    assert totals(found, "keyturn_outcomes_total", "outcome") == outcomes
    refusals = Counter(e.facts["codes"][0]["code"] for e in entries if e.kind == "action.denied")
    assert labelled(found, "keyturn_refusals_total", "code") == {(code,): n for code, n in refusals.items()}
    decided = Counter(
        e.facts.get("decision", "permit") for e in entries if e.kind in {"action.requested", "read.served"}
    )
    counted = totals(found, "keyturn_decisions_total", "decision")
    assert {name: counted[name] for name in ("hold", "permit")} == dict(decided)
    assert labelled(found, "keyturn_reviews_total", "verdict") == {("approve",): 1}
    assert one(found, "keyturn_ledger_entries") == first + len(entries)
    assert one(found, "keyturn_ledger_counted_entries") == first + len(entries)
    assert labelled(found, "keyturn_requests_waiting", "state")[("pending",)] == 1
    assert one(found, "keyturn_ledger_bytes") == world.home.place.database.stat().st_size
    assert one(found, "keyturn_open_calls") == 3
    assert one(found, "keyturn_refused_credentials_total") == 2
    assert labelled(found, "keyturn_time_to_decision_seconds_count", "decision") == {("approved",): 1}
    assert one(found, "keyturn_clock_fault") == 0
    assert one(found, "keyturn_ledger_readable") == 1
    assert 0 < one(found, "keyturn_disk_free_bytes") == pytest.approx(room_of(world.home.place).free, rel=0.1)


def test_counters_begin_with_the_process_and_gauges_with_the_home(world: World) -> None:
    world.held()
    with closing(serve_metrics(world.home, "127.0.0.1:0")) as served:
        found = samples(served)
        assert labelled(found, "keyturn_decisions_total", "tool") == {}
        assert labelled(found, "keyturn_requests_waiting", "state")[("pending",)] == 1
        assert "keyturn_open_calls" not in families(served)


def test_every_process_that_follows_a_home_says_the_same(world: World, served: Served) -> None:
    with closing(serve_metrics(world.home, "0")) as other:
        world.held()
        world.comment("seen")
        own = {"keyturn_open_calls", "keyturn_refused_credentials_total", "keyturn_request_age_seconds"}
        one_says, other_says = samples(served), samples(other)
        moving = {key for key in one_says if key[0] in {*own, "keyturn_disk_free_bytes", "keyturn_wal_bytes"}}
        assert {k: v for k, v in one_says.items() if k not in moving} == {
            k: v for k, v in other_says.items() if k not in moving
        }


def test_an_unknown_outcome_is_a_gauge_until_it_is_settled(world: World, served: Served) -> None:
    world.executing = False
    world.comment("seen")
    lose(world)
    assert one(samples(served), "keyturn_unknown_outcomes") == 1


def test_names_and_types_follow_the_conventions(world: World, served: Served) -> None:
    world.held()
    world.drain()
    types = {family.name: family.type for family in families(served).values()}
    assert all(name.startswith("keyturn_") for name in types)
    assert types["keyturn_decisions"] == "counter"
    assert types["keyturn_time_to_decision_seconds"] == "histogram"
    assert types["keyturn_ledger_bytes"] == "gauge"
    assert all(family.documentation for family in families(served).values())


def test_nothing_that_was_handed_in_is_on_the_page(world: World, served: Served) -> None:
    canary = "c4n4ry-91a7"
    world.held(title=f"Raise {canary}", reason=canary)
    world.call("get_ticket", ticket=canary)
    world.review(world.held(title="other"), reason=canary)
    text = page(served)
    assert canary not in text
    assert "claude" not in text
    assert not any(token in text for token in world.tokens.values())


def test_the_page_does_not_grow_with_the_number_of_calls(world: World, served: Served) -> None:
    for number in range(3):
        world.call("get_ticket", ticket=f"OPS-{number}")
    before = len(page(served).splitlines())
    for number in range(30):
        world.call("get_ticket", ticket=f"OPS-{number % 3}")
    assert len(page(served).splitlines()) == before


def test_a_scraper_that_stalls_keeps_nobody_from_the_ledger(world: World, served: Served) -> None:
    host, _, port = served.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stalling:
        stalling.sendall(f"GET /metrics HTTP/1.1\r\nHost: {served.address}\r\n\r\n".encode())
        world.held()
        assert world.gate.ledger.look(lambda view: view.head.size) == len(world.entries())


@pytest.mark.parametrize("harm", ["leaf = zeroblob(32)", "sig = zeroblob(64)"])
def test_a_ledger_that_was_rewritten_ends_the_counting_and_is_told(world: World, served: Served, harm: str) -> None:
    action = world.held()
    before = samples(served)
    by = {"type": "principal", "name": "claude"}
    world.gate.ledger.transact(lambda tx: tx.append("action.cancelled", {"by": by}, action=action))
    last = len(world.entries()) - 1
    world.tamper((f"UPDATE entry SET {harm} WHERE seq = ?", (last,)))
    after = samples(served)
    assert one(before, "keyturn_ledger_readable") == 1
    assert one(after, "keyturn_ledger_readable") == 0
    assert one(after, "keyturn_ledger_counted_entries") == last


def test_a_ledger_that_cannot_be_read_for_the_moment_is_waited_for(world: World, served: Served) -> None:
    following = served._metrics
    real = following._tail.read

    def unavailable(count: int) -> Any:
        raise LedgerUnavailable("locked")

    following._tail.read = unavailable  # type: ignore[method-assign]  # a disk that fails for a moment
    world.held()
    waiting = samples(served)
    following._tail.read = real  # type: ignore[method-assign]
    assert one(waiting, "keyturn_ledger_readable") == 1
    assert one(waiting, "keyturn_ledger_counted_entries") < len(world.entries())
    assert one(samples(served), "keyturn_ledger_counted_entries") == len(world.entries())


def test_a_head_record_that_is_gone_leaves_what_was_counted(world: World, served: Served) -> None:
    world.held()
    world.home.place.head.write_text("nonsense")
    with pytest.raises(LedgerError):
        head_record.read_head(world.home.place.head)
    found = samples(served)
    assert one(found, "keyturn_ledger_entries") == one(found, "keyturn_ledger_counted_entries") > 0


def test_entries_are_counted_though_nobody_asks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CATCH_UP_EVERY", 0.02)
    with closing(serve_metrics(world.home, "0")) as served:
        world.held()
        waiting, size = threading.Event(), len(world.entries())
        for _ in range(500):
            if served._metrics._tail.head.size == size:
                break
            waiting.wait(0.02)
        assert served._metrics._tail.head.size == size


def test_more_entries_than_one_step_holds_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "STEP", 2)
    with closing(serve_metrics(world.home, "0")) as served:
        for number in range(4):
            world.comment(f"comment {number}")
        assert one(samples(served), "keyturn_ledger_counted_entries") == len(world.entries())


def test_an_address_that_is_taken_leaves_no_follower_behind(world: World, served: Served) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match="in use"):
        serve_metrics(world.home, served.address)
    assert threading.active_count() == before


def test_notices_that_failed_are_counted_where_people_are_told(world: World, served: Served) -> None:
    assert "keyturn_notify_failures" not in families(served)
    with world.home.wiring.open("a") as wiring:
        wiring.write('\n[notify]\ncommand = ["/bin/false"]\n')
    assert one(samples(served), "keyturn_notify_failures_total") == 0
    world.home.wiring.write_text("not toml [")
    assert "keyturn_notify_failures" not in families(served)


def test_metrics_are_served_for_as_long_as_the_block_lasts(world: World) -> None:
    before = threading.active_count()
    with metrics_served(world.home, None):
        assert threading.active_count() == before
    with metrics_served(world.home, "0"):
        assert threading.active_count() > before
    assert not any(thread.name == "metrics" for thread in threading.enumerate())


def test_a_place_that_is_gone_has_no_room(tmp_path: Path) -> None:
    gone = room_of(Place(tmp_path / "gone"))
    assert (gone.ledger, gone.wal, gone.free) == (0, 0, 0)


def test_the_alerts_we_give_ask_for_metrics_that_there_are(world: World, served: Served) -> None:
    text = (Path(__file__).parents[2] / "docs" / "examples" / "keyturn.rules.yml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    known = {family.name + ("_total" if family.type == "counter" else "") for family in families(served).values()}
    asked = {name for rule in rules for name in re.findall(r"keyturn_\w+", rule["expr"])}
    assert asked - {"keyturn_notify_failures_total"} <= known
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)


def test_the_page_of_metrics_lists_exactly_those_that_there_are(world: World, served: Served) -> None:
    page_text = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    table = page_text.partition("## What there is")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(keyturn_\w+)`", table))
    known = {family.name + ("_total" if family.type == "counter" else "") for family in families(served).values()}
    assert told == known | {"keyturn_notify_failures_total"}
