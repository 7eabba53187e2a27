"""Writes what was counted in Prometheus' text format; the one module that knows its library.

Source: Prometheus exposition formats (text, version 0.0.4) and its naming practices: base units, `_total` for
counters, no unit but the name's. `docs/reference/metrics.md` says what each means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from keyturn.telemetry.counts import Counts, Open
from keyturn.telemetry.tallies import Counter, Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """How the home stands at the time of a scrape.

    entries, counted      entries of the ledger, and how many of them this process has counted or found there
    ledger_bytes          size of the ledger's file; `wal_bytes` of the log beside it; `free_bytes` of its disk
    fault                 whether the clock is not trusted, so that governed actions are refused
    notify_failures       notifications that failed, or None where there are none to count
    """

    entries: int
    counted: int
    ledger_bytes: int
    wal_bytes: int
    free_bytes: int
    fault: bool
    notify_failures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process counts of itself, each a function that returns the number of now; None: it has no such thing."""

    open_calls: Callable[[], int] | None = None
    refused_credentials: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything one scrape shows; `readable` is false once the ledger cannot be followed any more."""

    counts: Counts
    open: Open
    home: Home
    process: Process
    version: str
    readable: bool = True


def written(seen: Seen) -> bytes:
    """Return everything as the text that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(_families(seen)))
    return generate_latest(registry)


class _Once(Collector):
    """Families made for one scrape, as the library wants to be given them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()


def _families(seen: Seen) -> Iterator[Metric]:
    yield from _counted(seen.counts)
    yield from _open(seen)
    yield from _ledger(seen.home, readable=seen.readable)
    yield from _process(seen.process)
    yield _labelled("keyturn_build_info", "Which Keyturn this is; always 1.", "version", {seen.version: 1})


def _counted(counts: Counts) -> Iterator[Metric]:
    yield _counter("keyturn_decisions", "Decisions by the first rule that bore on them.", counts.decisions)
    yield _counter("keyturn_refusals", "Calls refused, by the first reason.", counts.refusals)
    yield _counter("keyturn_reviews", "Reviews recorded.", counts.reviews)
    yield _counter("keyturn_outcomes", "Executions finished, by what came of them.", counts.outcomes)
    yield _counter("keyturn_resolutions", "Unknown outcomes settled later.", counts.resolutions)
    yield _histogram("keyturn_time_to_decision_seconds", "From a held request until it was decided.", counts.deciding)
    yield _histogram("keyturn_execution_seconds", "From the start of an execution to its outcome.", counts.executing)


def _open(seen: Seen) -> Iterator[Metric]:
    states = seen.open.states
    yield _labelled("keyturn_requests_waiting", "Actions that are open now, by state.", "state", states)
    yield _gauge("keyturn_request_age_seconds", "How long the oldest pending action has waited.", seen.open.oldest)
    yield _gauge("keyturn_unknown_outcomes", "Actions that may or may not have happened.", states["unknown"])
    yield _gauge("keyturn_suspended_scopes", "Scopes that are suspended or read-only.", seen.counts.suspended)


def _ledger(home: Home, *, readable: bool) -> Iterator[Metric]:
    yield _gauge("keyturn_ledger_entries", "Entries in the ledger.", home.entries)
    yield _gauge("keyturn_ledger_counted_entries", "Entries up to which these metrics have come.", home.counted)
    yield _gauge("keyturn_ledger_readable", "1 while the ledger can be followed, else 0.", int(readable))
    yield _gauge("keyturn_ledger_bytes", "Size of the ledger's file.", home.ledger_bytes)
    yield _gauge("keyturn_wal_bytes", "Size of the write-ahead log beside it.", home.wal_bytes)
    yield _gauge("keyturn_disk_free_bytes", "What is free on the ledger's disk for this account.", home.free_bytes)
    yield _gauge("keyturn_clock_fault", "1 while the clock is not trusted, else 0.", home.fault)
    if home.notify_failures is not None:
        yield CounterMetricFamily(
            "keyturn_notify_failures", "Notices that failed since people are told.", value=home.notify_failures
        )


def _process(process: Process) -> Iterator[Metric]:
    if process.open_calls is not None:
        yield _gauge("keyturn_open_calls", "Calls that this process is working on.", process.open_calls())
    if process.refused_credentials is not None:
        yield CounterMetricFamily(
            "keyturn_refused_credentials",
            "Requests to this process without a token that counts.",
            value=process.refused_credentials(),
        )


def _counter(name: str, text: str, counter: Counter) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=counter.names)
    for labels, value in counter.items():
        family.add_metric(labels, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=histogram.names)
    for labels, buckets, total in histogram.items():
        family.add_metric(labels, buckets, total)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
