"""Every write on another system under every fault at each request of it that changes something.

What a cell proves is in `bench.tried`: through the gateway, with a real ledger, by way of a worker that lives or dies
and of housekeeping, the effect is there at most once, the ledger says of it what is so or that it does not know, and
asking again makes no second effect. Beside that, each comes out as `expected.md` says.
"""

from __future__ import annotations

import pytest

from tests.faults.matrix import github, kubernetes, remote
from tests.faults.matrix.bench import Kept, Write, tried
from tests.faults.matrix.table import Cell, read
from tests.faults.matrix.troubles import Trouble
from tests.faults.world import SOAK

EXPECTED = read().cells

PREPARING = frozenset({"blob", "tree", "commit"})
"""Requests that make an object nothing refers to yet: whatever happens to them, nothing has happened."""
TELLING = frozenset(
    {
        "never arrives, however often it is sent",
        "arrives twice, the second answer is told",
        "is done, its answer is lost",
        "is done, and the process dies",
        "is answered 409",
        "is answered with success, and not done",
    }
)
"""Faults that those, and the writes in `ALIKE`, are tried with in the short form; the long one tries all
(`KEYTURN_SOAK=1`)."""
ALIKE = frozenset({"update a pull request", "close a pull request"})
"""Writes that take the same steps as others do: markers, turns and branches."""


def every(writes: dict[str, Write]) -> list[Cell]:
    return [
        (name, request, words)
        for name, write in writes.items()
        for words in write.troubles
        for request in write.requests
    ]


def cells(writes: dict[str, Write]) -> list[Cell]:
    """Those that this run tries."""
    return [
        (name, request, words)
        for name, request, words in every(writes)
        if SOAK or words in TELLING or (request not in PREPARING and name not in ALIKE)
    ]


def play(kept: Kept, writes: dict[str, Write], cell: Cell) -> None:
    name, request, words = cell
    write = writes[name]
    trouble: Trouble = write.troubles[words]
    with kept.use() as bench:
        assert str(tried(bench, write, request, trouble)) == EXPECTED[cell]


def plain(kept: Kept, write: Write) -> None:
    with kept.use() as bench:
        asked = write.asked(bench.system, bench)
        action = bench.requested(write.tool, asked.arguments)
        bench.system.proxy.seen.forget()
        bench.execute()
        assert bench.status(action) == "succeeded"
        assert asked.look(action).whole
        sent = bench.system.proxy.seen.changes()
        meant = []
        for method, path, nth in write.requests.values():
            fitting = [place for place, exchange in enumerate(sent) if exchange.fits(method, path)]
            meant.append(fitting[nth - 1])
        reads = [place for place, exchange in enumerate(sent) if exchange.path.endswith("/git-upload-pack")]
        assert meant == [place for place in range(len(sent)) if place not in reads][: len(meant)]
        assert len(meant) + len(reads) + write.also == len(sent)


@pytest.mark.parametrize("cell", cells(github.WRITES), ids=": ".join)
def test_a_fault_on_the_way_to_github_leaves_what_the_ledger_says(on_github: Kept, cell: Cell) -> None:
    play(on_github, github.WRITES, cell)


@pytest.mark.parametrize("cell", cells(kubernetes.WRITES), ids=": ".join)
def test_a_fault_on_the_way_to_a_cluster_leaves_what_the_ledger_says(on_kubernetes: Kept, cell: Cell) -> None:
    play(on_kubernetes, kubernetes.WRITES, cell)


@pytest.mark.parametrize("cell", cells(remote.WRITES), ids=": ".join)
def test_a_fault_on_the_way_to_a_git_server_leaves_what_the_ledger_says(on_remote: Kept, cell: Cell) -> None:
    play(on_remote, remote.WRITES, cell)


@pytest.mark.parametrize("name", github.WRITES)
def test_every_request_by_which_a_write_changes_github_is_in_the_matrix(on_github: Kept, name: str) -> None:
    plain(on_github, github.WRITES[name])


@pytest.mark.parametrize("name", kubernetes.WRITES)
def test_every_request_by_which_a_write_changes_a_cluster_is_in_the_matrix(on_kubernetes: Kept, name: str) -> None:
    plain(on_kubernetes, kubernetes.WRITES[name])


@pytest.mark.parametrize("name", remote.WRITES)
def test_every_push_of_a_write_is_in_the_matrix(on_remote: Kept, name: str) -> None:
    plain(on_remote, remote.WRITES[name])


def test_the_table_has_each_cell_once_and_no_other() -> None:
    known = [*every(github.WRITES), *every(kubernetes.WRITES), *every(remote.WRITES)]
    assert sorted(known) == sorted(EXPECTED)
