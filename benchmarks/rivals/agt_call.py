"""Runs inside the agent-governance-toolkit's own environment: one governed call that is allowed.

Usage: python agt_call.py CALLS CALLERS. Prints calls per second and the median of one call in milliseconds. Policy
and audit trail are in memory, as `govern` keeps them unless told otherwise.
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from agentmesh.governance import govern

POLICY = """\
apiVersion: governance.toolkit/v1
name: bench
default_action: deny
rules:
  - name: comments
    condition: "action.type == 'update'"
    action: allow
"""


def update(**arguments: object) -> dict[str, str]:
    return {"status": "done"}


governed = govern(update, policy=POLICY, agent_id="claude")


def one(number: int) -> float:
    begin = time.perf_counter()
    governed(action="update", ticket=f"T-{number}", comment="done", lines=1)
    return time.perf_counter() - begin


if __name__ == "__main__":
    calls, callers = int(sys.argv[1]), int(sys.argv[2])
    for warm in range(20):
        one(-warm - 1)
    with ThreadPoolExecutor(callers) as pool:
        start = time.perf_counter()
        took = list(pool.map(one, range(calls)))
        print(calls / (time.perf_counter() - start), statistics.median(took) * 1000)
