"""Who signs: the person and the SSH key behind `--key` and `--as`, held against the people who may sign."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keyturn.cli.by_hand import ByHand
from keyturn.cli.frame import may_ask
from keyturn.cli.output import note
from keyturn.cli.screen import plain
from keyturn.model.errors import ConfigurationError, Refused

if TYPE_CHECKING:
    from keyturn.model.sshkey import PublicKey

F = TypeVar("F", bound=Callable[..., Any])
ELSEWHERE = "-"
"""The `--key` of whoever signs on another machine or under another account."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A person's name in the policy, and the key that speaks for them: its file, one of the agent's, or elsewhere."""

    name: str
    key: Path | PublicKey | ByHand

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Return the SSHSIG blob over `message`; passphrase, PIN or touch is asked for on the terminal.

        Raises `ConfigurationError` saying why nothing was signed.
        """
        from keyturn.sshsig.signing import SigningError, sign

        if isinstance(self.key, ByHand):
            return self.key.sign(message, namespace)
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
        "(default: the one in ~/.ssh or the agent that the policy lists). With - what to sign is printed, and the "
        "signature read from standard input.",
    )
    name = click.option("--as", "as_name", metavar="NAME", help="Your name in the policy (default: whose key it is).")
    return key(name(command))


def signer_of(people: Mapping[str, Sequence[str]], key: Path | None, as_name: str | None) -> Signer:
    """Return who signs with what. `people` maps the names that may sign to their public key lines.

    Without a key, those in ~/.ssh and then those of the ssh-agent are looked through; without a name, the key's
    owner signs. Raises, before anything is signed, `Refused` ("not_a_reviewer") for a name or a key that may not
    sign, `ConfigurationError` when none of the keys is at hand or one cannot be read, and `click.UsageError` when
    several people fit.
    """
    if as_name is not None and as_name not in people:
        names = ", ".join(people) or "there is none"
        raise Refused("not_a_reviewer", f"{as_name} is no reviewer here; those who may sign: {names}")
    wanted = people if as_name is None else {as_name: people[as_name]}
    if key is not None and str(key) == ELSEWHERE:
        name = _only(list(wanted), f"--key {ELSEWHERE}")
        return Signer(name, ByHand(name, wanted[name]))
    return _with_own_key(wanted) if key is None else _with_key(wanted, key.expanduser())


def announced(
    key: Path | None, as_name: str | None, deed: str
) -> Callable[[Mapping[str, Sequence[str]]], tuple[str, Callable[[bytes, str], bytes]]]:
    """Return what finds the signer among those who may sign, and says on stderr in whose name `deed` is done.

    It gives the person's name and what signs, and raises as `signer_of` does.
    """

    def signer(people: Mapping[str, Sequence[str]]) -> tuple[str, Callable[[bytes, str], bytes]]:
        chosen = signer_of(people, key, as_name)
        note(f"{deed}, in the name of {plain(chosen.name)}")
        return chosen.name, chosen.sign

    return signer


def _with_key(wanted: Mapping[str, Sequence[str]], path: Path) -> Signer:
    owners = _owners(wanted, _public_line(path))
    if not owners:
        names = ", ".join(wanted) or "there is none"
        raise Refused("not_a_reviewer", f"the key {path} is not listed for anybody who may sign ({names})")
    return Signer(_only(owners, f"the key {path}"), path)


def _with_own_key(wanted: Mapping[str, Sequence[str]]) -> Signer:
    found: dict[str, Path | PublicKey] = {}
    agent = _agent_keys()
    for place, line in (*_file_keys(), *((key, key.line) for key in agent)):
        for name in _owners(wanted, line):
            found.setdefault(name, place)
    if not found:
        raise ConfigurationError(_nowhere(wanted, asked=bool(agent)))
    name = _only(list(found), "a key in ~/.ssh or the ssh-agent")
    return Signer(name, found[name])


def _nowhere(wanted: Mapping[str, Sequence[str]], *, asked: bool) -> str:
    """Say which keys were looked for in vain."""
    agent = "" if asked else " (which gave no keys; is it running, and SSH_AUTH_SOCK set?)"
    where = f"in ~/.ssh or in the ssh-agent{agent}: name yours with --key PATH"
    if len(wanted) != 1:
        return f"no key of those who may sign ({', '.join(wanted) or 'there is none'}) is {where}"
    [(name, lines)] = wanted.items()
    return f"no key of {name} ({', '.join(_fingerprint(line) for line in lines)}) is {where}"


def _fingerprint(line: str) -> str:
    from keyturn.model.sshkey import PublicKey

    return PublicKey.parse(line).fingerprint


def _only(found: Sequence[str], key: str) -> str:
    if len(found) == 1:
        return found[0]
    raise click.UsageError(f"{', '.join(found)} are all listed with {key}: say which with --as NAME")


def _owners(people: Mapping[str, Sequence[str]], line: str) -> list[str]:
    return [name for name, lines in people.items() if line in lines]


def _public_line(path: Path) -> str:
    from keyturn.sshsig.signing import SigningError, public_key_of

    try:
        return public_key_of(path, environment=ssh_environment()).line
    except SigningError as error:
        raise ConfigurationError(str(error)) from error


def _file_keys() -> Iterator[tuple[Path | PublicKey, str]]:
    """Yield the caller's keys in ~/.ssh; they come before the agent's, for they say where the private half is."""
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
