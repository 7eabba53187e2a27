"""What the entries add up to: open actions, usage, tokens, the policy in force; pure."""
