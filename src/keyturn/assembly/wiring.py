"""Reading `keyturn.toml`: which back ends there are, and what they are called."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from keyturn.assembly.back_ends import ANCHORS, BACK_ENDS, anchor_end, back_end
from keyturn.assembly.outside import TOKEN
from keyturn.model.errors import ConfigurationError
from keyturn.model.time import parse_duration

MAX_BYTES = 256 * 1024
LOG_KEY_FILE = "file:state/keys/log.key"
_LOG_KEY = r"^(file:[^\x00-\x1f]+|agent:SHA256:[A-Za-z0-9+/]{43}|command:[^\x00-\x1f]+)$"
_ANCHORS = "anchors"
FOREVER = "forever"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


Seconds = Annotated[int, Field(ge=1, le=86_400)]


class Timeouts(BaseModel):
    """`[timeouts]`: seconds for effects (`default`, or by the tool's name), and for planning and reading (`plan`)."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Seconds]

    default: Seconds = 600
    plan: Seconds = 60

    def of(self, tool: str) -> float:
        """Return the seconds that an effect of a tool may take."""
        return float((self.__pydantic_extra__ or {}).get(tool, self.default))

    def unknown(self, tools: Iterable[str]) -> list[str]:
        """Return the names in it that are no tool's."""
        return sorted((self.__pydantic_extra__ or {}).keys() - set(tools))


class Notify(BaseModel):
    """`[notify]`: the command that tells people, and which variables of the environment it gets beside the usual."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="rust-regex")

    command: tuple[Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")], ...] = Field(
        min_length=1, max_length=100
    )
    environment: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], ...] = Field(
        default=(), max_length=100
    )

    @field_validator("environment")
    @classmethod
    def _without_token(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if TOKEN in value:
            raise ValueError(f"{TOKEN} is passed on to nothing: whoever holds it can act as the assistant")
        return value


HostName = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?$")]
Origin = Annotated[str, Field(pattern=r"^https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?$")]


class Http(BaseModel):
    """`[http]`: the names a server that others can reach is known by, and the web pages that may speak to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    hosts: tuple[HostName, ...] = Field(default=(), max_length=100)
    origins: tuple[Origin, ...] = Field(default=(), max_length=100)


class Log(BaseModel):
    """`[log]`: where the log key is, `file:PATH` below the home, `agent:SHA256:…` or `command:WORDS`."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    key: str = Field(default=LOG_KEY_FILE, max_length=4096, pattern=_LOG_KEY)


def _period(text: str) -> str:
    if text != FOREVER:
        try:
            parse_duration(text)
        except ValueError as error:
            raise ValueError(f'{error}, nor "{FOREVER}"') from error
    return text


Period = Annotated[str, Field(max_length=20), AfterValidator(_period)]


class Retention(BaseModel):
    """`[retention]`: how long payloads are kept, in days and the like: `default`, and by the environment's name."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Period]

    default: Period = FOREVER

    def of(self, environment: str | None) -> timedelta | None:
        """Return how long payloads of an environment are kept; None for ever."""
        named = (self.__pydantic_extra__ or {}).get(environment, self.default) if environment else self.default
        return None if named == FOREVER else parse_duration(named)

    @property
    def says_anything(self) -> bool:
        """Whether any payload ever has had its time."""
        return any(period != FOREVER for period in (self.default, *(self.__pydantic_extra__ or {}).values()))


class Wiring(BaseModel):
    """`keyturn.toml`: named back ends by port, each with the settings of its kind. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    version: int = Field(ge=1, le=1)
    name: str = Field(default="keyturn", pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    forge: Mapping[Name, Any] = Field(default_factory=dict)
    deployments: Mapping[Name, Any] = Field(default_factory=dict)
    tickets: Mapping[Name, Any] = Field(default_factory=dict)
    anchors: Mapping[Name, Any] = Field(default_factory=dict)
    log: Log = Field(default_factory=Log)
    http: Http = Field(default_factory=Http)
    notify: Notify | None = None
    timeouts: Timeouts = Field(default_factory=Timeouts)
    retention: Retention = Field(default_factory=Retention)


def read_wiring(path: Path) -> Wiring:
    """Read the wiring of a home. Raises `ConfigurationError` with every problem and its dotted path."""
    value = _read(path)
    problems: list[str] = []
    wiring = _checked(Wiring, _with_settings(_as_read(value), path, problems), path.name, problems)
    if problems:
        raise ConfigurationError(*problems)
    return cast(Wiring, wiring)


def read_anchors(path: Path) -> Mapping[str, Any]:
    """Read the settings of the anchors alone, for what writes and has no use for back ends: name → settings.

    Raises `ConfigurationError` as `read_wiring`.
    """
    value = _read(path)
    problems: list[str] = []
    found = _all_settings(_as_read(value.get(_ANCHORS)), _ANCHORS, path, problems)
    if problems:
        raise ConfigurationError(*problems)
    return found


def read_log(path: Path) -> Log:
    """Read where the log key is, alone; where there is no file, nothing was said. Raises `ConfigurationError`."""
    problems: list[str] = []
    value = _read(path) if path.exists() else {}
    found = _checked(Log, value.get("log", {}), f"{path.name}: log", problems)
    if problems:
        raise ConfigurationError(*problems)
    return cast(Log, found)


def read_retention(path: Path) -> Retention:
    """Read how long payloads are kept, alone; where there is no file, for ever. Raises `ConfigurationError`."""
    problems: list[str] = []
    value = _read(path) if path.exists() else {}
    found = _checked(Retention, value.get("retention", {}), f"{path.name}: retention", problems)
    if problems:
        raise ConfigurationError(*problems)
    return cast(Retention, found)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{path}: {len(data)} bytes; at most {MAX_BYTES} are read")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 at byte {error.start}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _with_settings(value: dict[str, Any], path: Path, problems: list[str]) -> dict[str, Any]:
    """Replace each back end's and anchor's table by the settings of its kind, noting every problem."""
    read = dict(value)
    for port in (*BACK_ENDS, _ANCHORS):
        if isinstance(value.get(port), dict):
            read[port] = _all_settings(value[port], port, path, problems)
    return read


def _all_settings(declared: Any, port: str, path: Path, problems: list[str]) -> dict[str, Any]:
    tables = declared if isinstance(declared, dict) else {}
    return {name: _settings(table, port, f"{path.name}: {port}.{name}", problems) for name, table in tables.items()}


def _settings(table: Any, port: str, place: str, problems: list[str]) -> BaseModel | None:
    kinds = ANCHORS if port == _ANCHORS else BACK_ENDS[port]
    kind = table.get("kind") if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        problems.append(f"{place}.kind: must be one of: {', '.join(kinds)}")
        return None
    module = anchor_end(kind) if port == _ANCHORS else back_end(port, kind)
    return _checked(module.Settings, table, place, problems)


def _checked(model: type[BaseModel], value: Any, place: str, problems: list[str]) -> BaseModel | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems += [_problem(model, place, item) for item in error.errors()]
        return None


def _as_read(value: Any) -> Any:
    """TOML has lists where the settings are tuples; nothing else is converted."""
    if isinstance(value, dict):
        return {name: _as_read(item) for name, item in value.items()}
    return tuple(_as_read(item) for item in value) if isinstance(value, list) else value


def _problem(model: type[BaseModel], place: str, item: Any) -> str:
    steps = ".".join(str(step) for step in item["loc"] if step != "[key]")
    separator = "" if not steps else ": " if ":" not in place else "."
    return f"{place}{separator}{steps}: {_said(model, item)}"


def _said(model: type[BaseModel], item: Any) -> str:
    name = str(item["loc"][-1]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return f"is not known (did you mean {near[0]}?)" if near else "is not known"
    if item["type"] == "missing":
        return "is missing"
    if model is Wiring and item["loc"] == ("version",):
        return "this Keyturn knows version 1"
    # What a validator of ours says stands for itself, without the library's "Value error, " before it.
    return str(item["ctx"]["error"]) if item["type"] == "value_error" else str(item["msg"])
