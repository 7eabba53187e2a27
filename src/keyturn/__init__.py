"""Keyturn: AI assistants act on production under two keys."""
