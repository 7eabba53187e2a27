"""Runs the measurements: all, or those of `--only calls,wire`.

`--write` puts the tables into `docs/explanation/figures.md`.
`--quick` takes few rounds of small counts: for seeing that everything runs, not for figures.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.measure import Effort, Topic, machine, write

TOPICS = ("ledger", "calls", "wire", "policy", "startup", "others")
PAGE = Path(__file__).parents[1] / "docs/explanation/figures.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Keyturn against baselines.")
    parser.add_argument("--only", default=",".join(TOPICS), help=f"topics: {', '.join(TOPICS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds of small counts")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/figures.md")
    options = parser.parse_args()
    effort = Effort(rounds=1, divided=10) if options.quick else Effort()
    parts = [machine()]
    for name in options.only.split(","):
        topic: Topic = importlib.import_module(f"benchmarks.{name}").measure(effort)
        print(topic.markdown(), end="\n\n", flush=True)
        parts.append(topic.markdown())
    if options.write:
        write(PAGE, "\n\n".join(parts))


if __name__ == "__main__":
    main()
