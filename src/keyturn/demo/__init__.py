"""The whole way of an action told as a story: a real client, a real server, a throw-away home."""
