"""`keyturn audit export`: evidence in one file, for whoever checks it elsewhere."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of
from keyturn.cli.ids import full_id
from keyturn.cli.looking import look
from keyturn.cli.moments import moment_option
from keyturn.cli.output import AsJson, Column, emit, json_option, note
from keyturn.cli.progress import bar
from keyturn.cli.withholding import warn_of_unknown

if TYPE_CHECKING:
    from keyturn.assembly.evidence import Exported
    from keyturn.gateway.desk import Look

_COLUMNS = (
    Column("FILE", "file"),
    Column("ENTRIES", "size"),
    Column("CHECKPOINT", "checkpoint"),
    Column("VERIFIER", "verifier"),
)

_LINES = (Column("FILE", "file"), Column("LINES", "lines"))


@click.command(short_help="Write evidence that is checked elsewhere.")
@click.option(
    "--out", metavar="B.zip", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to make."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "jsonl", "ocsf", "cef", "in-toto"]),
    default="bundle",
    show_default=True,
    help="A bundle that proves, or lines for other tools: JSON, OCSF API Activity, CEF, in-toto statements.",
)
@moment_option("--since", "Only payloads (in lines: entries) from then on: 2026-11-21, 2026-11-21T09:30Z, or 7d.")
@moment_option("--until", "Only payloads (in lines: entries) before then.")
@click.option(
    "--action", "actions", metavar="ID", multiple=True, help="Only payloads of this action. May be repeated."
)
@click.option(
    "--withhold",
    metavar="FIELD",
    multiple=True,
    help="Leave this payload out everywhere, as reason or plan. May be repeated.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    out: Path,
    form: str,
    since: datetime | None,
    until: datetime | None,
    actions: tuple[str, ...],
    withhold: tuple[str, ...],
    as_json: AsJson,
) -> None:
    """Write a bundle: every entry with its signature, the tree, the checkpoint and its cosignatures, and payloads.

    Entries hold no free text, so all of them go in. Payloads (arguments, diffs, reasons) go in as you choose; what is
    left out is named in the bundle and passes there as left out. Whoever gets it checks it with verify.py, which lies
    inside and needs nothing but Python, or with `keyturn audit verify B.zip`.
    """
    from keyturn.assembly.evidence import Choice, export_bundle, export_lines

    named = frozenset(look(ctx, lambda view: _ids(view, actions))) if actions else None
    warn_of_unknown(home_of(ctx), withhold)
    choice = Choice(since=since, until=until, actions=named, withheld=frozenset(withhold))
    if form != "bundle":
        with bar("exporting") as progress:
            count = export_lines(home_of(ctx), out, choice, form, progress)
        emit({"file": str(out), "lines": count}, as_json=as_json, columns=_LINES)
        return
    with bar("exporting") as progress:
        done = export_bundle(home_of(ctx), out, choice, progress)
    emit(_row(out, done), as_json=as_json, columns=_COLUMNS)
    note(f"check it with: python3 verify.py {out} --key '{done.manifest.verifier}'")
    if done.checkpoint < done.manifest.size:
        note(
            f"no key signed for entries {done.checkpoint} to {done.manifest.size - 1} as a whole yet: the log key is "
            "not at hand, so the newest checkpoint went in"
        )


def _ids(view: Look, given: tuple[str, ...]) -> list[str]:
    return [full_id(view, end) for end in given]


def _row(out: Path, done: Exported) -> dict[str, object]:
    manifest = done.manifest
    return {
        "file": str(out),
        "size": manifest.size,
        "checkpoint": done.checkpoint,
        "verifier": str(manifest.verifier),
        "first": manifest.first,
        "end": manifest.end,
        "actions": None if manifest.actions is None else sorted(manifest.actions),
        "withheld": sorted(manifest.withheld),
    }
