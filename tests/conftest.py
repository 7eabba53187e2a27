"""What holds for the whole test run."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.canaries.afterwards"]

# A run in the background starts with SIGINT ignored, and hands that on to every process it starts: what ends with
# Ctrl-C would not end. Tests begin with it as on a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Chance breaks no run: neither the time of an example nor the time it takes to draw one decides, and the examples are
# the same each time, so that a change is judged by what it changes. `KEYTURN_SOAK=1` draws others.
settings.register_profile(
    "keyturn",
    deadline=None,
    derandomize=os.environ.get("KEYTURN_SOAK") != "1",
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("keyturn")
