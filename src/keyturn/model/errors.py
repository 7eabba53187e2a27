"""Exceptions, split by who must act: the operator, the process itself, or the world acted on."""

from __future__ import annotations


class ConfigurationError(Exception):
    """The operator must mend a file: every problem at once, each naming its dotted path and the fix."""

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = problems
        super().__init__("\n".join(problems))


class LedgerError(Exception):
    """The ledger cannot be trusted or cannot be written: stop serving; nothing is done without it."""


class ConnectorError(Exception):
    """The system acted on did not do what was asked; `kind` sorts it.

    Kinds: `refused` (it said no: this action fails), `conflict` (the world moved: stale), `retry` (later may help),
    `unknown` (it may or may not have happened: probe before anything else).
    """

    def __init__(self, message: str, *, kind: str = "refused", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


class Refused(Exception):
    """An operator's or a caller's word cannot count; `code` is stable, the text says why and what would help."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
