"""Verifies a ledger file or a bundle: opens it as evidence, examines it, and answers with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from keyturn.log.timestamp import read_authorities
from keyturn.model.errors import LedgerError
from keyturn.verifier.brought import read_brought
from keyturn.verifier.bundle import is_bundle, open_bundle
from keyturn.verifier.examination import Examination
from keyturn.verifier.file import open_file, stillness
from keyturn.verifier.given import Given, read_pinned, read_witnesses
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.report import Report, first_bad
from keyturn.verifier.signers import read_signers

ATTEMPTS = 3


def verify_ledger(
    database: Path,
    *,
    pinned: str | None = None,
    head: tuple[int, str] | None = None,
    against: Iterable[tuple[str, bytes]] = (),
    witnesses: Iterable[str] = (),
    signers: str | None = None,
    tsa: bytes | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify `database`, a ledger file or a bundle; nothing is written to it.

    pinned     the log's verifier string as an auditor keeps it
    head       a size the ledger had and the leaf hash (hex) its last entry had then, remembered elsewhere
    against    what was kept elsewhere: a name for messages, and the bytes of a checkpoint note, a receipt or a proof
    witnesses  verifier keys of witnesses whose cosignatures count
    signers    the text of an allowed-signers file: whose keys may be reviewers'
    tsa        certificates (PEM) of an authority whose timestamps count
    jobs       processes that verify signatures; with more than one the program must be one that may be imported
    progress   told entries done and entries in all

    Raises `ConfigurationError` for what is given and cannot be read, and `LedgerError` when the file cannot be
    reached, does not hold still or takes more memory than there is: then there is no verdict. All that is wrong with
    the file itself is a FAIL.
    """
    given = Given(
        pinned=None if pinned is None else read_pinned(pinned),
        remembered=head,
        witnesses=read_witnesses(witnesses),
        brought=tuple(read_brought(name, data) for name, data in against),
        signers=None if signers is None else read_signers(signers),
        stamping=None if tsa is None else read_authorities(tsa),
    )
    for _ in range(ATTEMPTS):
        before = stillness(database)
        report = _examined(database, given, progress, jobs)
        # Read as immutable, a file that a server starts writing to may show two states at once.
        if before == stillness(database):
            return report
    raise LedgerError(f"{database} is being written while it is read; no verdict: verify a copy")


def last_note(database: Path) -> bytes | None:
    """Return the note of the newest checkpoint in a ledger file or bundle, None without one. Nothing is proved.

    Raises `LedgerError`, `NotProved`.
    """
    with open_bundle(database) if is_bundle(database) else open_file(database) as file:
        return max(file.checkpoints(), key=lambda kept: kept[0], default=(0, None))[1]


def _examined(database: Path, given: Given, progress: Callable[[int, int], None] | None, jobs: int) -> Report:
    try:
        with open_bundle(database) if is_bundle(database) else open_file(database) as file:
            return Examination(file, given, progress=progress, jobs=jobs).run()
    except MemoryError as error:
        raise LedgerError(
            f"{database}: there is too little memory to read it; no verdict: verify it where there is more"
        ) from error
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
