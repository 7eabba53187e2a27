"""Verifies a ledger file: opens it as evidence, examines it, and answers with a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.log.keys import BadKey, LogVerifier, parse_verifier
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.verifier.examination import Examination
from keyturn.verifier.file import open_file, stillness
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.report import Report, first_bad

ATTEMPTS = 3


def verify_ledger(
    database: Path,
    *,
    pinned: str | None = None,
    head: tuple[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify the ledger file `database`; nothing is written to it.

    `pinned` is the log's verifier string as an auditor keeps it; `head` is a size the ledger had and the leaf hash
    (hex) its last entry had then, remembered elsewhere; `progress` is told entries done and entries in all.
    Raises `ConfigurationError` for a `pinned` that is no verifier string, and `LedgerError` when the file cannot be
    reached or does not hold still: then there is no verdict. All that is wrong with the file itself is a FAIL.
    """
    known = None if pinned is None else _known(pinned)
    for _ in range(ATTEMPTS):
        before = stillness(database)
        report = _examined(database, known, head, progress)
        # Read as immutable, a file that a server starts writing to may show two states at once.
        if before == stillness(database):
            return report
    raise LedgerError(f"{database} is being written while it is read; no verdict: verify a copy")


def _examined(
    database: Path,
    pinned: LogVerifier | None,
    head: tuple[int, str] | None,
    progress: Callable[[int, int], None] | None,
) -> Report:
    try:
        with open_file(database) as file:
            return Examination(file, pinned, head, progress).run()
    except NotProved as failure:
        return Report(
            verdict="FAIL",
            size=0,
            last_seq=None,
            last_at=None,
            first_bad=first_bad(failure),
            log=None,
            pinned=False,
            opened="",
            unwitnessed=0,
            counts={},
        )


def _known(pinned: str) -> LogVerifier:
    try:
        return parse_verifier(pinned.strip())
    except BadKey as error:
        raise ConfigurationError(f"the verifier string given is none: {error}") from error
