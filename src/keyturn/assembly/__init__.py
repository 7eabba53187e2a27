"""The only place that builds things, and the only one that touches clock, entropy, environment and paths."""
