"""MCP's words ↔ ours, told as a story: a real client, a real server, a throw-away home."""
