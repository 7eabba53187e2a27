"""`keyturn review`: signs a carried request on a machine without the home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyturn.cli.diffs import shown_diff
from keyturn.cli.files import read_bytes, write_new
from keyturn.cli.output import AsJson, Column, emit, emit_json, json_option, note, page
from keyturn.cli.sheet import carried_sheet, speak, speak_heading
from keyturn.cli.signer import signer_of, signer_options

if TYPE_CHECKING:
    from keyturn.gateway.show import Asked

_COLUMNS = (Column("REVIEW", "review"), Column("DIGEST", "digest"))
SUFFIXES = (".request.json", ".json")


@click.command(name="review")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--approve", "verdict", flag_value="approve", help="Sign a yes.")
@click.option("--deny", "verdict", flag_value="reject", help="Sign a no; needs a reason.")
@click.option("-m", "--reason", default="", help="Why; it travels with the review.")
@click.option("--digest", default="", metavar="PREFIX", help="Sign only a digest that begins so (12 hex digits).")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to write the review.")
@click.option("--diff", is_flag=True, help="Show the complete diff too.")
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, file: Path, output: Path | None, diff: bool, as_json: AsJson, **given: Any
) -> None:
    """Review a request away from its home.

    FILE was written by `keyturn action export`. Its digest and every part of the request are worked out again before
    they are shown. Without --approve or --deny that is all. Hand the signed review in with: keyturn approve|deny
    --signed FILE.
    """
    from keyturn.gateway.detached import MAX_FILE, read_request

    asked = read_request(read_bytes(file, MAX_FILE))
    signs = given["verdict"] is not None
    if as_json and not signs:
        from keyturn.gateway.show import request_details

        emit_json(request_details(asked), as_json)
        return
    # When it signs, the answer is the review's file; what is signed goes to the person beside it.
    speak_heading(asked.plan.summary, "request", err=signs)
    speak(list(carried_sheet(asked)), err=signs)
    if diff and asked.plan.diff and not signs:
        page(shown_diff(asked.plan.diff))
    if signs:
        path = _sign(asked, file, output, given)
        emit({"review": str(path), "digest": asked.action.digest}, as_json=as_json, columns=_COLUMNS)


def _sign(asked: Asked, file: Path, output: Path | None, given: dict[str, Any]) -> Path:
    from keyturn.assembly.away import sign_away
    from keyturn.gateway.detached import Said

    signer = signer_of(asked.action.reviewers, given["key"], given["as_name"])
    said = Said(reviewer=signer.name, verdict=given["verdict"], reason=given["reason"], digest_prefix=given["digest"])
    path = output or _beside(file)
    write_new(path, sign_away(asked, said, signer.sign))
    verb = "approve" if given["verdict"] == "approve" else "deny"
    note(f"wrote {path}; hand it in where the home is: keyturn {verb} {asked.action.id} --signed {path}")
    return path


def _beside(file: Path) -> Path:
    stem = next((file.name.removesuffix(end) for end in SUFFIXES if file.name.endswith(end)), file.name)
    return file.with_name(f"{stem}.review.json")
