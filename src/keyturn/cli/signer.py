"""Who signs: the person and the SSH key behind `--key` and `--as`, held against the people who may sign."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keyturn.cli.frame import may_ask
from keyturn.model.errors import ConfigurationError

if TYPE_CHECKING:
    from keyturn.model.sshkey import PublicKey

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's name in the policy, and the key that speaks for them: its file, or a public key of the agent's."""

    name: str
    key: Path | PublicKey

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Return the SSHSIG blob over `message`; passphrase, PIN or touch is asked for on the terminal.

        Raises `ConfigurationError` saying why nothing was signed.
        """
        from keyturn.sshsig.signing import SigningError, sign

        try:
            with _file_of(self.key) as path:
                return sign(message, key=path, namespace=namespace, environment=ssh_environment())
        except SigningError as error:
            raise ConfigurationError(str(error)) from error


@contextmanager
def _file_of(key: Path | PublicKey) -> Iterator[Path]:
    """Give the key's file; ssh-keygen names a key of the agent by a file with its public half."""
    if isinstance(key, Path):
        yield key
        return
    with tempfile.TemporaryDirectory(prefix="keyturn-") as folder:
        path = Path(folder, "agent.pub")
        path.write_text(f"{key.line}\n", encoding="ascii")
        yield path


def signer_options(command: F) -> F:
    """Give a verb `--key PATH` and `--as NAME`; the function takes `key: Path | None` and `as_name: str | None`."""
    key = click.option(
        "--key",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Your SSH key: a private key file, or a public one whose private half is in the agent or on a token "
        "(default: the one in ~/.ssh or the agent that the policy lists).",
    )
    name = click.option("--as", "as_name", metavar="NAME", help="Your name in the policy (default: whose key it is).")
    return key(name(command))


def signer_of(people: Mapping[str, Sequence[str]], key: Path | None, as_name: str | None) -> Signer:
    """Return who signs with what. `people` maps the names that may sign to their public key lines.

    Without a key, those in ~/.ssh and then those of the ssh-agent are looked through; without a name, the key's
    owner signs. Whether a name and a key that were both given belong together is left to whoever judges the
    signature. Raises `click.UsageError` naming the candidates unless exactly one person fits, `ConfigurationError`
    when a key cannot be read.
    """
    if key is None:
        return _with_own_key(people, as_name)
    path = key.expanduser()
    return Signer(as_name or _only(_owners(people, _public_line(path)), people, f"the key {path}"), path)


def _with_own_key(people: Mapping[str, Sequence[str]], as_name: str | None) -> Signer:
    wanted = people if as_name is None else {as_name: people.get(as_name, ())}
    found: dict[str, Path | PublicKey] = {}
    for place, line in _own_keys():
        for name in _owners(wanted, line):
            found.setdefault(name, place)
    name = _only(list(found), wanted, "a key in ~/.ssh or the ssh-agent")
    return Signer(name, found[name])


def _only(found: Sequence[str], people: Mapping[str, Sequence[str]], key: str) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{', '.join(found)} are all listed with {key}: say which with --as NAME")
    names = ", ".join(people) or "there is none"
    raise click.UsageError(f"nobody who may sign ({names}) is listed with {key}: name yours with --key PATH")


def _owners(people: Mapping[str, Sequence[str]], line: str) -> list[str]:
    return [name for name, lines in people.items() if line in lines]


def _public_line(path: Path) -> str:
    from keyturn.sshsig.signing import SigningError, public_key_of

    try:
        return public_key_of(path, environment=ssh_environment()).line
    except SigningError as error:
        raise ConfigurationError(str(error)) from error


def _own_keys() -> Iterator[tuple[Path | PublicKey, str]]:
    """Yield the caller's keys: files first, for they say where the private half is."""
    from keyturn.assembly.outside import environment
    from keyturn.model.sshkey import PublicKey

    folder = Path(environment().get("HOME", "/")) / ".ssh"
    for path in sorted(folder.glob("*.pub")):
        try:
            line = PublicKey.parse(path.read_text(encoding="utf-8")).line
        except (OSError, ValueError):
            continue  # not a key of an accepted kind: somebody else's file
        # The public half: ssh-keygen asks the agent first, which may spare a passphrase, then looks beside the file.
        yield path, line
    yield from ((key, key.line) for key in _agent_keys())


def _agent_keys() -> Sequence[PublicKey]:
    from keyturn.assembly.outside import environment
    from keyturn.sshsig.signing import SigningError, list_agent_keys

    variables = environment()
    if "SSH_AUTH_SOCK" not in variables:
        return ()
    try:
        return list_agent_keys(variables)
    except SigningError:
        return ()  # without OpenSSH's ssh-add nobody can ask the agent


def ssh_environment() -> Mapping[str, str]:
    """Return what OpenSSH's programs get; after `--no-input` they ask nobody, and fail where they would have to."""
    from keyturn.assembly.outside import environment

    context = click.get_current_context(silent=True)
    if context is None or may_ask(context):
        return environment()
    return {**environment(), "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
