"""A witness's folder: made once, opened to serve. `witness.toml`, `witness.key` (0600) and `witness.db`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyturn.assembly.outside import entropy, seconds
from keyturn.ledger.keys import load_key, make_key, store_key
from keyturn.log.keys import BadKey
from keyturn.log.note import COSIGNATURE, ED25519, NoteKey, parse_note_key
from keyturn.model.errors import ConfigurationError
from keyturn.witness.answering import Cosigner, Witness
from keyturn.witness.store import Store, create_store

SETTINGS = "witness.toml"
KEY = "witness.key"
MEMORY = "witness.db"
MAX_BYTES = 256 * 1024


class Settings(BaseModel):
    """`witness.toml`: the witness's name in its signatures, and the verifier strings of the logs it watches."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")
    logs: tuple[str, ...] = Field(min_length=1, max_length=10_000)


@dataclass(frozen=True, slots=True)
class Made:
    """A new witness: where it is, and the verifier key that others name to believe it."""

    folder: Path
    verifier: str


def make_witness(folder: Path, name: str, logs: Sequence[str]) -> Made:
    """Make the folder of a new witness with key and memory. Raises `ConfigurationError` when it cannot be made."""
    _keys_of(logs)
    try:
        settings = Settings(version=1, name=name, logs=tuple(logs))
    except ValidationError as error:
        raise ConfigurationError(f"{name!r}: {error.errors()[0]['msg']}") from error
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: {error.strerror}; a witness is made once, in a folder of its own"
        ) from error
    key = make_key(entropy(32))
    store_key(folder / KEY, key)
    create_store(folder / MEMORY)
    (folder / SETTINGS).write_text(_written(settings), encoding="ascii")
    (folder / SETTINGS).chmod(0o600)
    return Made(folder, str(NoteKey(name, key.public, COSIGNATURE)))


def open_witness(folder: Path) -> Witness:
    """Open a witness to serve. Raises `ConfigurationError` or `LedgerError` saying what is missing."""
    settings = _settings(folder / SETTINGS)
    key = load_key(folder / KEY)
    cosigner = Cosigner(NoteKey(settings.name, key.public, COSIGNATURE), key.sign)
    return Witness(Store(folder / MEMORY), _keys_of(settings.logs), [cosigner], seconds)


def verifier_of(folder: Path) -> str:
    """Return the verifier key of a witness."""
    return str(NoteKey(_settings(folder / SETTINGS).name, load_key(folder / KEY).public, COSIGNATURE))


def _written(settings: Settings) -> str:
    logs = "".join(f'  "{log}",\n' for log in settings.logs)
    note = "# The logs it watches, by verifier string. After a change, start it again."
    return f'version = 1\nname = "{settings.name}"\n{note}\nlogs = [\n{logs}]\n'


def _settings(path: Path) -> Settings:
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{path}: {len(data)} bytes; at most {MAX_BYTES} are read")
        return Settings.model_validate(_as_read(tomllib.loads(data.decode("utf-8"))))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; keyturn witness init makes a witness") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = (f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigurationError(*problems) from error


def _as_read(value: dict[str, object]) -> dict[str, object]:
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


def _keys_of(logs: Sequence[str]) -> dict[str, list[NoteKey]]:
    """Return origin → keys; a log may have several while it changes its key."""
    trusted: dict[str, list[NoteKey]] = {}
    problems: list[str] = []
    for log in logs:
        try:
            key = parse_note_key(log.strip())
            if key.algorithm != ED25519:
                problems.append(f"{log[:100]}: is a witness's key, not a log's")
            trusted.setdefault(key.name, []).append(key)
        except BadKey as error:
            problems.append(f"{log[:100]}: {error}")
    if problems:
        raise ConfigurationError(*problems)
    return trusted
