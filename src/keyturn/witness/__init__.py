"""A C2SP witness: it cosigns that another's log only ever grew, and never two heads that contradict each other."""
