"""Named cases that a policy must decide as they say before it is activated."""
