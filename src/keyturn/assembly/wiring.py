"""Reading `keyturn.toml`: which back ends there are, and what they are called."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyturn.connectors.deployments import releases
from keyturn.connectors.forge import git
from keyturn.connectors.tickets import folder
from keyturn.model.errors import ConfigurationError

MAX_BYTES = 256 * 1024
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Wiring(BaseModel):
    """`keyturn.toml`: named back ends by port. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    version: int = Field(ge=1, le=1)
    name: str = Field(default="keyturn", pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    forge: Mapping[Name, git.Settings] = Field(default_factory=dict)
    deployments: Mapping[Name, releases.Settings] = Field(default_factory=dict)
    tickets: Mapping[Name, folder.Settings] = Field(default_factory=dict)


def read_wiring(path: Path) -> Wiring:
    """Read the wiring of a home. Raises `ConfigurationError` with every problem and its dotted path."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{path}: {len(data)} bytes; at most {MAX_BYTES} are read")
        value = tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    try:
        return Wiring.model_validate(_as_read(value))
    except ValidationError as error:
        raise ConfigurationError(*(_problem(path, item) for item in error.errors())) from error


def _as_read(value: Any) -> Any:
    """TOML has lists where the settings are tuples; nothing else is converted."""
    if isinstance(value, dict):
        return {name: _as_read(item) for name, item in value.items()}
    return tuple(_as_read(item) for item in value) if isinstance(value, list) else value


def _problem(path: Path, item: Any) -> str:
    place = ".".join(str(step) for step in item["loc"] if step != "[key]")
    return f"{path.name}: {place}: {item['msg']}"
