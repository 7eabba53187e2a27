"""`keyturn token issue`: make a token for an assistant, signed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import home_of, leave_stdout
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.cli.signer import signer_of, signer_options
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.model.principal import TRANSPORTS
from keyturn.model.time import format_timestamp, parse_duration

if TYPE_CHECKING:
    from keyturn.assembly.administration import IssuedToken

LONGEST = timedelta(days=366)


@click.command(short_help="Make a token and print it, this once.")
@click.argument("principal", metavar="NAME")
@click.option("--expires", metavar="DURATION", default="90d", show_default=True, help="For how long it is good.")
@click.option(
    "--transport",
    "transports",
    type=click.Choice(TRANSPORTS),
    multiple=True,
    help="How it may come in (repeatable; default: every way).",
)
@click.option(
    "--scope",
    "scopes",
    metavar="S",
    multiple=True,
    help="Restrict it to this scope (repeatable; default: all that the principal has).",
)
@signer_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    principal: str,
    expires: str,
    transports: tuple[str, ...],
    scopes: tuple[str, ...],
    key: Path | None,
    as_name: str | None,
    as_json: AsJson,
) -> None:
    """Make a token for the assistant NAME and print it, this once; only its hash is kept.

    A reviewer of the policy in force signs. Exits 5 when the policy has no such assistant.
    """
    from keyturn.assembly.administration import TokenOrder, issue_token
    from keyturn.assembly.proposal import in_force

    home = home_of(ctx)
    order = TokenOrder(principal=principal, lives=_lives(expires), transports=transports, scopes=scopes or None)
    force = in_force(home)
    if principal not in force.principals:
        names = ", ".join(force.principals) or "none"
        raise Refused("not_found", f"the policy in force has no principal {principal!r}; it has: {names}")
    signer = signer_of(force.reviewers, key, as_name)
    issued = issue_token(home, order, signer.name, signer.sign)
    try:
        _tell(issued, signer.name, as_json)
    except OSError as error:
        leave_stdout()
        raise ConfigurationError(
            f"the token was made, but cannot be written: {error.strerror}; it is of use to nobody, so revoke it: "
            f"keyturn token revoke {issued.id}"
        ) from error


def _tell(issued: IssuedToken, by: str, as_json: AsJson) -> None:
    principal, expires_at = issued.grant.principal, format_timestamp(issued.grant.expires_at)
    if as_json:
        value = {
            "token": issued.secret,
            "id": issued.id,
            "principal": principal,
            "transports": list(issued.grant.transports),
            "scopes": None if issued.grant.scopes is None else list(issued.grant.scopes),
            "expires_at": expires_at,
            "by": by,
        }
        emit_json(value, as_json)
        return
    say(issued.secret)
    note(f"the token of {principal}, shown this once; good until {expires_at}; signed by {by}")
    note(f"where it goes: keyturn client-config claude-code --principal {principal}")
    note(f"to revoke it: keyturn token revoke {issued.id}")


def _lives(text: str) -> timedelta:
    try:
        lives = parse_duration(text)
    except ValueError as error:
        raise Refused("usage", f"--expires: {error}") from error
    if lives > LONGEST:
        raise Refused("usage", f"--expires: at most {LONGEST.days}d")
    return lives
