"""Runs inside CTRLRun's own environment: one guarded call that is allowed, with a function that does nothing.

Usage: python ctrlrun_call.py CALLS CALLERS. Prints calls per second and the median of one call in milliseconds. The
state is a SQLite file in the current folder, as `@protect` keeps it unless told otherwise (`policy.yaml` beside it).
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ctrlrun

POLICY = """\
schema: ctrlrun.policy/v2
actions:
  ticket.update:
    effect: "ticket:{ticket}"
    rules:
      - when: { lines_lte: 100 }
        decision: allow
      - decision: deny
"""


@ctrlrun.protect("ticket.update", effect="ticket:{ticket}")
def update(ticket: str, comment: str, lines: int) -> dict[str, str]:
    return {"status": "done"}


def one(number: int) -> float:
    begin = time.perf_counter()
    with ctrlrun.context(agent="claude"):
        update(ticket=f"T-{number}", comment="done", lines=1)
    return time.perf_counter() - begin


if __name__ == "__main__":
    calls, callers = int(sys.argv[1]), int(sys.argv[2])
    Path("ctrlrun.yaml").write_text(POLICY)
    for warm in range(20):
        one(-warm - 1)
    with ThreadPoolExecutor(callers) as pool:
        start = time.perf_counter()
        took = list(pool.map(one, range(calls)))
        print(calls / (time.perf_counter() - start), statistics.median(took) * 1000)
