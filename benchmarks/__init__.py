"""Measurements, each against a named baseline in the same run: `uv run python -m benchmarks`."""
