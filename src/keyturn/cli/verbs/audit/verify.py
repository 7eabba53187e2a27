"""`keyturn audit verify`: prove that the log is whole and as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import Exit, home_of
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.cli.progress import bar
from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from keyturn.verifier import Report

_GIVEN = "the one given with --key"
_KEPT = "this home's own state/keys/log.vkey; compare it with the line you kept elsewhere"
MOST = 1 << 20  # bytes of a file that the ledger is held against
_STYLES = {"PASS": "green", "PASS-UNANCHORED": "green", "FAIL": "red"}


@click.command(short_help="Check every entry, signature and rule.")
@click.argument(
    "bundle", metavar="[B.zip]", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--ledger",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A ledger file elsewhere, such as a copy or a backup (default: this home's).",
)
@click.option(
    "--key", "verifier", metavar="VERIFIER", help="The log's verifier string you kept (default: this home's)."
)
@click.option(
    "--against",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A checkpoint, receipt or proof kept elsewhere; the ledger must hold exactly that. May be repeated.",
)
@click.option(
    "--witness",
    "witnesses",
    metavar="VKEY",
    multiple=True,
    help="The verifier key of a witness you trust: its cosignatures count. May be repeated.",
)
@click.option(
    "--signers",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An allowed-signers file: every reviewer's key must be in it, under that name.",
)
@click.option(
    "--tsa-cert",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates (PEM) of a timestamp authority you trust: its timestamps bound the time.",
)
@click.option("--require-anchor", is_flag=True, help="Exit 11 when nothing outside this machine vouches for the end.")
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    help="Verify signatures in so many processes (default: 1). The answer is the same.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    bundle: Path | None,
    ledger: Path | None,
    verifier: str | None,
    against: tuple[Path, ...],
    witnesses: tuple[str, ...],
    signers: Path | None,
    tsa_cert: Path | None,
    require_anchor: bool,
    jobs: int,
    as_json: AsJson,
) -> None:
    """Check every entry, signature, payload and rule of the log from its bytes, and name the first that is wrong.

    Of B.zip, which `audit export` wrote: payloads left out there are passed over, and decisions over them are listed.

    Exits 7 when something is wrong. Says PASS when a witness you name (--witness) or something you kept (--against)
    vouches for the end, and PASS-UNANCHORED when nothing does: then nobody can tell whether entries were cut off
    there.
    """
    from keyturn.assembly.standing import remembered_end
    from keyturn.verifier import verify_ledger

    if bundle is not None and ledger is not None:
        raise click.UsageError("name a bundle or a ledger, not both")
    ledger = ledger or bundle
    file, pinned, given = _what(ctx, ledger, verifier)
    # Read before the ledger: entries may come in meanwhile, and none that it names may be missing.
    end = remembered_end(home_of(ctx)) if ledger is None else None
    brought = [(str(path), _read(path)) for path in against]
    people = None if signers is None else _text(signers)
    with bar("verifying") as progress:
        report = verify_ledger(
            file,
            pinned=pinned,
            head=end,
            against=brought,
            witnesses=witnesses,
            signers=people,
            tsa=None if tsa_cert is None else _read(tsa_cert),
            jobs=jobs,
            progress=progress,
        )
    if as_json:
        emit_json(report.to_json(), as_json)
    else:
        _say(report, given, at_home=ledger is None)
    if ledger is None and end is None and report.verdict != "PASS":
        note("note: state/head is missing or damaged, so nothing here tells whether entries were cut off at the end")
    ctx.exit(_exit(report, require_anchor))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _text(path: Path) -> str:
    data = _read(path)
    if len(data) > MOST:
        raise ConfigurationError(f"{path} has more than {MOST} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 at byte {error.start}") from error


def _what(ctx: click.Context, ledger: Path | None, verifier: str | None) -> tuple[Path, str | None, str | None]:
    """Return the file to verify, the verifier string to hold it against, and where that came from, if anywhere."""
    from keyturn.assembly.standing import kept_verifier, require_founded

    if ledger is not None and verifier is not None:
        return ledger, verifier.strip(), _GIVEN
    try:
        home = home_of(ctx)
        require_founded(home)
    except ConfigurationError:
        if ledger is None:
            raise
        return ledger, None, None
    file = ledger or home.place.database
    return (file, verifier.strip(), _GIVEN) if verifier else (file, kept_verifier(home), _KEPT)


def _say(report: Report, given: str | None, *, at_home: bool) -> None:
    from keyturn.verifier import in_words

    first, *rest = in_words(report, given)
    say(first, style=_STYLES.get(report.verdict))
    for line in rest:
        say(line)
    if at_home:
        from keyturn.assembly.boundary import SAME_ACCOUNT

        note(f"note: {SAME_ACCOUNT}")


def _exit(report: Report, require_anchor: bool) -> Exit:
    if report.verdict == "FAIL":
        return Exit.VERIFICATION_FAILED
    return Exit.UNANCHORED if require_anchor and report.verdict == "PASS-UNANCHORED" else Exit.OK
