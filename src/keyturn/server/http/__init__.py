"""MCP over HTTP: who may come in, how much of it, and the program that listens."""
