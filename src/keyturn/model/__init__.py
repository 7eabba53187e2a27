"""The nouns, as frozen values: principal, action, plan, decision, review, outcome, receipt, facts."""
