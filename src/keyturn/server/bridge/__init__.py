"""A stdio server that holds a token and nothing else, and hands every message on to a Keyturn that runs elsewhere."""
