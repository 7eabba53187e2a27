"""MCP's words ↔ ours, over stdio and HTTP; a program of its own (`python -m keyturn.server`), started by exec."""
