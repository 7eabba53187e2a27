"""One file per tool: its `Arguments`, `plan()` and `execute()`."""
