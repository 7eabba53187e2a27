"""Who signs: the person and the SSH key behind `--key` and `--as`, held against the people who may sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from keyturn.assembly.outside import environment
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.model.sshkey import PublicKey
from keyturn.sshsig.signing import SigningError, public_key_of
from keyturn.sshsig.signing import sign as sign_with

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's name in the policy, and the key file that speaks for them."""

    name: str
    key: Path

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Return the SSHSIG blob over `message`; passphrase, PIN or touch is asked for on the terminal.

        Raises `ConfigurationError` saying why nothing was signed.
        """
        try:
            return sign_with(message, key=self.key, namespace=namespace, environment=environment())
        except SigningError as error:
            raise ConfigurationError(str(error)) from error


def signer_options(command: F) -> F:
    """Give a verb `--key PATH` and `--as NAME`; the function takes `key: Path | None` and `as_name: str | None`."""
    key = click.option(
        "--key",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Your SSH key: a private key file, or a public one whose private half is in the agent or on a token "
        "(default: the key in ~/.ssh that the policy lists).",
    )
    name = click.option("--as", "as_name", metavar="NAME", help="Your name in the policy (default: whose key it is).")
    return key(name(command))


def signer_of(people: Mapping[str, Sequence[str]], key: Path | None, as_name: str | None) -> Signer:
    """Return who signs with what. `people` maps the names that may sign to their public key lines.

    Without a key, the ones in ~/.ssh are looked through; without a name, the key's owner signs. Whether a name and
    a key that were both given belong together is left to whoever judges the signature. Raises `Refused`
    ("not_a_reviewer") when nobody fits, `ConfigurationError` when a key cannot be read.
    """
    if key is None:
        return _from_usual_place(people, as_name)
    path = key.expanduser()
    return Signer(as_name or _owner_of(people, path), path)


def _owner_of(people: Mapping[str, Sequence[str]], path: Path) -> str:
    try:
        line = public_key_of(path, environment=environment()).line
    except SigningError as error:
        raise ConfigurationError(str(error)) from error
    for name, lines in people.items():
        if line in lines:
            return name
    raise Refused("not_a_reviewer", f"the policy in force lists nobody with the key {path}")


def _from_usual_place(people: Mapping[str, Sequence[str]], as_name: str | None) -> Signer:
    wanted = people if as_name is None else {as_name: people.get(as_name, ())}
    folder = Path(environment().get("HOME", "/")) / ".ssh"
    for path, line in _public_keys(folder):
        for name, lines in wanted.items():
            if line in lines:
                # The private half beside it, if it is there, so that ssh-keygen need not ask the agent.
                private = path.with_suffix("")
                return Signer(name, private if private.is_file() else path)
    who = f"a key of {as_name}" if as_name else "a key that the policy in force lists"
    raise Refused("not_a_reviewer", f"{folder} holds no public half of {who}; name the key with --key PATH")


def _public_keys(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob("*.pub")):
        try:
            yield path, PublicKey.parse(path.read_text(encoding="utf-8")).line
        except (OSError, ValueError):
            continue  # not a key of an accepted kind: somebody else's file
