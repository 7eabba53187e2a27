"""The only writer: one transaction to catch up, decide, append, sign, commit; private keys never leave it."""
