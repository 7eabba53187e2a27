"""MCP's words ↔ ours over stdio; a program of its own (`python -m keyturn.server`), which `cli` starts by exec."""
