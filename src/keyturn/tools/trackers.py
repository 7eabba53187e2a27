"""Says in the words of all tools on trackers how many people would be told."""

from __future__ import annotations


def watchers(recipients: int) -> str:
    """Return in words how many people would be told."""
    return "1 watcher" if recipients == 1 else f"{recipients} watchers"
