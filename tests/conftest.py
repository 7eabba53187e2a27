"""What holds for the whole test run."""

from __future__ import annotations

import signal

pytest_plugins = ["tests.canaries.afterwards"]

# A run in the background starts with SIGINT ignored, and hands that on to every process it starts: what ends with
# Ctrl-C would not end. Tests begin with it as on a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
