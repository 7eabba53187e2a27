"""`keyturn init`: make a home."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.frame import leave_stdout
from keyturn.cli.output import AsJson, emit_json, json_option, note, say
from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from keyturn.assembly.founding import NewHome
    from keyturn.assembly.starter import NewPrincipal, NewReviewer


@click.command(short_help="Make a home: policy, wiring, log, keys, a token.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--principal",
    "principals",
    metavar="NAME[=OWNER]",
    multiple=True,
    help="An assistant, and the person who answers for it and may not review what it asks (default: claude).",
)
@click.option(
    "--reviewer",
    "reviewers",
    metavar="NAME=KEY.pub",
    multiple=True,
    help="A person who reviews, and their SSH public key (default: you, with the key in ~/.ssh or your agent).",
)
@click.option(
    "--bare", is_flag=True, help="No sample systems and no rules: everything is refused until you grant it."
)
@json_option
def command(
    folder: Path, principals: tuple[str, ...], reviewers: tuple[str, ...], bare: bool, as_json: AsJson
) -> None:
    """Make a home in DIR: policy, wiring, contracts, sample systems, both keys of its log, and a token.

    Files that are there already are kept as they are, so that a copy of the repository becomes a home too.
    """
    from keyturn.assembly.founding import Order, found_home

    folder = folder.expanduser()
    asked = tuple(_principal(text) for text in principals)
    people = tuple(_reviewer(text) for text in reviewers) or _usual(folder)
    new = found_home(Order(folder=folder, principals=asked, reviewers=people, bare=bare))
    try:
        if as_json:
            emit_json(_json(new), as_json)
            return
        _say_home(new)
    except OSError as error:
        raise _unseen(new, error) from error
    for warning in new.warnings:
        note(f"warning: {warning}")


def _unseen(new: NewHome, error: OSError) -> ConfigurationError:
    """The home is there and its tokens are kept nowhere: others have to be made."""
    leave_stdout()
    home = shlex.quote(str(new.home.folder))
    return ConfigurationError(
        f"the home {home} is there, but what to say of it cannot be written: {error.strerror}",
        *(f"make a token with: keyturn --home {home} token issue {name}" for name in new.tokens),
    )


def _principal(text: str) -> NewPrincipal:
    from keyturn.assembly.starter import NewPrincipal

    name, given, owner = text.partition("=")
    if not name or (given and not owner):
        raise click.BadParameter(f"{text!r} is not NAME or NAME=OWNER", param_hint="--principal")
    return NewPrincipal(name, owner or None)


def _reviewer(text: str) -> NewReviewer:
    from keyturn.assembly.founding import read_public_key
    from keyturn.assembly.starter import NewReviewer

    name, _, path = text.partition("=")
    if not name or not path:
        raise click.BadParameter(
            f"{text!r} is not NAME=KEY.pub, a name and a public key file", param_hint="--reviewer"
        )
    return NewReviewer(name, read_public_key(Path(path)))


def _usual(folder: Path) -> tuple[NewReviewer, ...]:
    """Return the caller as reviewer, unless the folder brings a policy with people in it."""
    from keyturn.assembly.founding import needs_reviewer, usual_reviewer
    from keyturn.assembly.outside import environment

    return (usual_reviewer(Path(environment().get("HOME", "/")) / ".ssh"),) if needs_reviewer(folder) else ()


def _json(new: NewHome) -> dict[str, object]:
    return {
        "home": str(new.home.folder),
        "log": new.verifier,
        "tokens": new.tokens,
        "samples": None if new.samples is None else new.samples.to_json(),
        "warnings": list(new.warnings),
    }


def _say_home(new: NewHome) -> None:
    home = shlex.quote(str(new.home.folder))
    say(f"A home in {home}", style="bold")
    if new.kept:
        say(f"  kept as they were: {', '.join(new.kept)}")
    say(f"  its log: {new.verifier}")
    say("  keep that line elsewhere: with it anyone can check the log")
    for name, token in new.tokens.items():
        say()
        say(f"The token of {name}, shown this once:", style="bold")
        say(f"  {token}")
        say(f"  it goes where this says: keyturn --home {home} client-config claude-code --principal {name}")
    say()
    say("Next", style="bold")
    say(f"  keyturn --home {home} policy check      what the rules are, and what is odd about them")
    say(f"  keyturn --home {home} inbox -w          what waits for you, as it comes")
