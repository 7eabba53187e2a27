"""The one path of an action: submit, review, claim, execute, settle."""
