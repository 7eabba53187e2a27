"""Reads a kubeconfig file: which cluster, which user, which namespace a context means, and nothing loosely.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from keyturn.connectors.credentials import Secret
from keyturn.connectors.kubernetes.access import Certificate
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

LARGEST: Final = 1024 * 1024
"""Bytes of one kubeconfig."""

# The library stumbles over some tags: `!!timestamp x`, `!!int ""`, `!!bool x`.
_UNREADABLE: Final = (yaml.YAMLError, RecursionError, ValueError, AttributeError, LookupError)

_M = TypeVar("_M", bound=BaseModel)
_STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Variable(BaseModel):
    """One variable that a plugin gets."""

    model_config = _STRICT

    name: str = Field(min_length=1)
    value: str = Field(repr=False)


class Plugin(BaseModel):
    """`exec`: a program that hands out credentials."""

    model_config = _STRICT

    version: Literal["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] = Field(
        alias="apiVersion"
    )
    command: str = Field(min_length=1)
    args: tuple[str, ...] | None = Field(default=None, repr=False)
    env: tuple[Variable, ...] | None = None
    advice: str | None = Field(default=None, alias="installHint")
    told: bool = Field(default=False, alias="provideClusterInfo")
    interactive: Literal["Never", "IfAvailable", "Always"] = Field(default="IfAvailable", alias="interactiveMode")


class _Cluster(BaseModel):
    model_config = _STRICT

    server: str = Field(min_length=1)
    name: str | None = Field(default=None, alias="tls-server-name")
    insecure: bool = Field(default=False, alias="insecure-skip-tls-verify")
    ca_file: str | None = Field(default=None, alias="certificate-authority")
    ca_data: str | None = Field(default=None, alias="certificate-authority-data")
    proxy: str | None = Field(default=None, alias="proxy-url")
    uncompressed: bool = Field(default=False, alias="disable-compression")
    extensions: Any = None


class _User(BaseModel):
    model_config = _STRICT

    certificate_file: str | None = Field(default=None, alias="client-certificate")
    certificate_data: str | None = Field(default=None, alias="client-certificate-data")
    key_file: str | None = Field(default=None, alias="client-key")
    key_data: SecretStr | None = Field(default=None, alias="client-key-data")
    token: SecretStr | None = None
    token_file: str | None = Field(default=None, alias="tokenFile")
    acts_as: Any = Field(default=None, alias="as")
    acts_as_uid: Any = Field(default=None, alias="as-uid")
    acts_as_groups: Any = Field(default=None, alias="as-groups")
    acts_as_extra: Any = Field(default=None, alias="as-user-extra")
    username: Any = None
    password: SecretStr | None = None
    provider: Any = Field(default=None, alias="auth-provider")
    plugin: Plugin | None = Field(default=None, alias="exec")
    extensions: Any = None


class _Context(BaseModel):
    model_config = _STRICT

    cluster: str = Field(min_length=1)
    user: str = Field(min_length=1)
    namespace: str | None = None
    extensions: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one context says, with the files it names read; how the user proves itself is one of four.

    `files` are those that were read: where one of them changes, all of this may be different. What somebody may have
    written a password into, the addresses too, is left out of its `repr`.
    """

    server: str = field(repr=False)
    trusted: str | None = field(repr=False)
    name: str | None
    proxy: str | None = field(repr=False)
    namespace: str | None
    extensions: Any = field(repr=False)
    certificate: Certificate | None = None
    token: Secret | None = None
    token_file: Path | None = None
    plugin: Plugin | None = None
    files: tuple[Path, ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML without a key twice in one mapping: which of the two counts would be anybody's guess."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        name = loader.construct_object(key, deep=True)
        if not isinstance(name, str) or name in seen:
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice, or is no text", key.start_mark)
        seen.add(name)
    return dict(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_kubeconfig(place: str, path: Path, context: str | None) -> Chosen:
    """Return what a context means (the file's current one if None is named).

    Raises `ConnectorError` that names the place in the file and the way out, and repeats no value.
    """
    found = _chosen(place, path, context)
    if isinstance(found, Chosen):
        return found
    raise ConnectorError(found)


def _chosen(place: str, path: Path, context: str | None) -> Chosen | str:
    """Return what a context means, or what is wrong: the frames of the error inside hold what the file says."""
    try:
        return _Reading(place, path).chosen(context)
    except ConnectorError as error:
        return str(error)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of one file; `place` is the setting that names it."""

    place: str
    path: Path

    def chosen(self, context: str | None) -> Chosen:
        whole, problem = self._whole()
        wanted = context or whole.get("current-context")
        if not isinstance(wanted, str) or not wanted:
            raise self.wrong("current-context", "names none; set `context` to one of the file's contexts")
        selected = self._entry(whole, "contexts", "context", wanted, _Context)
        cluster = self._entry(whole, "clusters", "cluster", selected.cluster, _Cluster)
        user = self._entry(whole, "users", "user", selected.user, _User)
        self._refuse_loose(selected.cluster, cluster)
        self._refuse_foreign(selected.user, user)
        if problem and (user.token or user.key_data):
            raise self.wrong(f"users.{selected.user}", f"holds a secret, and the file {problem}")
        ca = cluster.ca_data and self._decoded(
            f"clusters.{selected.cluster}.certificate-authority-data", cluster.ca_data
        )
        return Chosen(
            server=cluster.server,
            trusted=ca or self._text(f"clusters.{selected.cluster}.certificate-authority", cluster.ca_file),
            name=cluster.name or None,
            proxy=cluster.proxy or None,
            namespace=selected.namespace or None,
            extensions=cluster.extensions,
            files=(
                self.path,
                *map(self._beside, filter(None, (cluster.ca_file, user.certificate_file, user.key_file))),
            ),
            **self._proof(selected.user, user),
        )

    def wrong(self, where: str, problem: str) -> ConnectorError:
        return ConnectorError(f"{self.place}: {self.path}: {visible(where)} {problem}")

    def _whole(self) -> tuple[Mapping[str, Any], str | None]:
        """Return the file, and why it is no place for a secret, if it is none."""
        data, status = self._bytes(self.path, "the file")
        if changeable := _changeable(self.path, status):  # it names programs that are run, and who is trusted
            raise self.wrong("the file", changeable)
        try:
            value = yaml.load(data, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader: plain values alone
        except _UNREADABLE as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}" if mark is not None else "the file"
            why = getattr(error, "problem", None) or "cannot be read"
            value = self.wrong(where, f"is no YAML as a kubeconfig has it ({why})")
        if isinstance(value, ConnectorError):
            raise value  # without the error that quotes the text
        if not isinstance(value, dict) or value.get("kind", "Config") != "Config" or value.get("apiVersion") != "v1":
            raise self.wrong("the file", "is no kubeconfig (apiVersion: v1, kind: Config)")
        return value, _exposed(self.path, status)

    def _entry(self, whole: Mapping[str, Any], lists: str, member: str, name: str, model: type[_M]) -> _M:
        entries = whole.get(lists)
        found = [
            entry.get(member)
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and entry.get("name") == name
        ]
        if len(found) != 1:
            raise self.wrong(f"{lists}.{name}", "is not there" if not found else "is there more than once")
        try:
            return model.model_validate(found[0] if found[0] is not None else {})
        except ValidationError as error:
            problems = "; ".join(
                f"{_dotted(item['loc'])}: {item['msg']}" for item in error.errors(include_input=False)
            )
        raise self.wrong(f"{lists}.{name}", problems)

    def _refuse_loose(self, name: str, cluster: _Cluster) -> None:
        if cluster.insecure:
            raise self.wrong(
                f"clusters.{name}.insecure-skip-tls-verify",
                "is set: anybody on the way could take the credential; give certificate-authority-data instead",
            )

    def _refuse_foreign(self, name: str, user: _User) -> None:
        """Refuse what proves a user in ways that are gone from Kubernetes, or that act as somebody else."""
        where = f"users.{name}"
        if user.provider is not None:
            raise self.wrong(f"{where}.auth-provider", "is gone since Kubernetes 1.26; use an exec plugin or a token")
        if user.username is not None or user.password is not None:
            raise self.wrong(where, "has a user name and password, gone since Kubernetes 1.19; use a token")
        if any((user.acts_as, user.acts_as_uid, user.acts_as_groups, user.acts_as_extra)):
            raise self.wrong(f"{where}.as", "acts as somebody else; give Keyturn an account with a role of its own")
        if user.plugin is not None and user.plugin.interactive == "Always":
            raise self.wrong(f"{where}.exec.interactiveMode", "is Always, and there is nobody at a terminal to ask")

    def _proof(self, name: str, user: _User) -> dict[str, Any]:
        """Return how the user proves itself. As kubectl has it, a file of a token stands before the token."""
        where = f"users.{name}"
        proof: dict[str, Any] = {"certificate": self._certificate(where, user), "plugin": user.plugin}
        if user.token_file:
            proof["token_file"] = self._beside(user.token_file)
        elif user.token and user.token.get_secret_value():
            proof["token"] = Secret(user.token.get_secret_value())
        if not any(proof.values()):
            raise self.wrong(where, "proves nothing; it needs a token, tokenFile, client certificate or exec plugin")
        return proof

    def _certificate(self, where: str, user: _User) -> Certificate | None:
        given = user.certificate_data and self._decoded(f"{where}.client-certificate-data", user.certificate_data)
        chain = given or self._text(f"{where}.client-certificate", user.certificate_file)
        key: str | None
        if user.key_data and user.key_data.get_secret_value():
            key = self._decoded(f"{where}.client-key-data", user.key_data.get_secret_value())
        else:
            key = self._text(f"{where}.client-key", user.key_file, secret=True)
        if (chain is None) != (key is None):
            raise self.wrong(where, "has a client certificate without its key, or a key without its certificate")
        return None if chain is None or key is None else Certificate(chain, Secret(key))

    def _beside(self, path: str) -> Path:
        """Paths in a kubeconfig are relative to its own folder."""
        return self.path.parent / path

    def _text(self, where: str, path: str | None, *, secret: bool = False) -> str | None:
        if not path:
            return None
        data, status = self._bytes(self._beside(path), where)
        if secret and (problem := _changeable(self._beside(path), status) or _exposed(self._beside(path), status)):
            raise self.wrong(where, problem)
        try:
            return data.decode("ascii")
        except UnicodeDecodeError:
            raise self.wrong(where, "is not PEM") from None

    def _decoded(self, where: str, text: str) -> str:
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            pass  # raised below, without the error that quotes the text
        raise self.wrong(where, "is not base64 of PEM")

    def _bytes(self, path: Path, where: str) -> tuple[bytes, os.stat_result]:
        """Return what is in a regular file, and whose it is."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                status, data = os.fstat(descriptor), file.read(LARGEST + 1)
        except OSError as error:
            raise self.wrong(where, f"cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode) or len(data) > LARGEST:
            raise self.wrong(where, f"is no regular file of at most {LARGEST} bytes")
        return data, status


def _changeable(path: Path, status: os.stat_result) -> str | None:
    """Say who else may write to a file, as for every credential."""
    if status.st_uid not in (0, os.geteuid()):
        return "belongs to another account: give it to the account that runs Keyturn, or to root"
    return f"may be changed by others: chmod go-w {path}" if status.st_mode & 0o022 else None


def _exposed(path: Path, status: os.stat_result) -> str | None:
    """Say who else may read a file. A group may where root says so, as for every credential."""
    by_group = status.st_mode & 0o040 and status.st_uid != 0
    return f"may be read by others: chmod 600 {path}" if by_group or status.st_mode & 0o004 else None


def _dotted(steps: tuple[int | str, ...]) -> str:
    return ".".join(map(str, steps))
