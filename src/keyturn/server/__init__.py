"""MCP's words ↔ ours over stdio and HTTP; a program of its own (`python -m keyturn.server`), which `cli` starts by exec."""
