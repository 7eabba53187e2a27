"""A home: the folder that is one deployment, found and read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from keyturn.assembly.outside import environment
from keyturn.ledger.place import Place
from keyturn.model.errors import ConfigurationError

POLICY = "policy.toml"
WIRING = "keyturn.toml"
SCHEMAS = "tool_schemas"
VARIABLE = "KEYTURN_HOME"
MAX_POLICY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one deployment: `policy.toml`, `keyturn.toml`, `tool_schemas/`, `state/`."""

    folder: Path

    @property
    def place(self) -> Place:
        """Where the ledger lives."""
        return Place(self.folder / "state")

    @property
    def wiring(self) -> Path:
        """The file that declares back ends."""
        return self.folder / WIRING

    @property
    def schemas(self) -> Path:
        """The folder of contracts."""
        return self.folder / SCHEMAS

    def policy_files(self) -> dict[str, str]:
        """Return the proposed policy's files by name. Raises `ConfigurationError` when one cannot be read."""
        # Imported here: every verb finds its home, and few read the proposal in it.
        from keyturn.assembly.case_files import case_files  # noqa: PLC0415
        from keyturn.assembly.included_files import included_files  # noqa: PLC0415

        path = self.folder / POLICY
        try:
            data = path.read_bytes()
            if len(data) > MAX_POLICY:
                raise ConfigurationError(f"{path}: {len(data)} bytes; a policy has at most {MAX_POLICY}")
            text = data.decode("utf-8")
            return {POLICY: text, **included_files(self.folder, text), **case_files(self.folder, text)}
        except OSError as error:
            raise ConfigurationError(
                f"{path}: {error.strerror}; to bring back the policy in force: keyturn policy show > {POLICY}"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from error

    @property
    def founded(self) -> bool:
        """Whether the home has a ledger. Raises `ConfigurationError` when this account may not look."""
        try:
            return self.place.database.exists()
        except OSError as error:
            raise ConfigurationError(f"{self.place.database}: {error.strerror}") from error


def find_home(named: str | None) -> Home:
    """Return the home: `--home`, else $KEYTURN_HOME, else the current folder where nobody else can write to it.

    Raises `ConfigurationError` saying how to name one.
    """
    chosen = named or environment().get(VARIABLE)
    if chosen:
        return Home(_named(chosen))
    here = Path.cwd()
    if not (here / WIRING).is_file():
        if Home(here).founded:
            raise ConfigurationError(
                f"{here / WIRING} is missing, though {here} has a ledger: put it back from a copy"
            )
        raise ConfigurationError(no_home(here))
    _check_own(here)
    return Home(here.resolve())


def no_home(folder: Path) -> str:
    """Say that a folder is no home, and how to name or make one."""
    return f"{folder} is no Keyturn home; name one with --home DIR or {VARIABLE}, or make one with: keyturn init DIR"


def _named(chosen: str) -> Path:
    try:
        folder = Path(chosen).expanduser()
        if folder.is_dir():
            return folder.resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"{chosen[:200]}: {error}") from error
    raise ConfigurationError(f"{folder} is no folder; make a home there with: keyturn init {folder}")


def _check_own(folder: Path) -> None:
    """A home that is only stood in, not named, must be nobody else's to change."""
    status = folder.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigurationError(
            f"{folder} belongs to another account or others can write to it; name it with --home if you mean it"
        )
