"""Reads the files of a policy text as one document: `policy.toml` and the folders of files that it includes.

An included file holds tables like those of `policy.toml`. What stands in it is named by its path and a colon before
the dotted path, so that every problem says where it is. What concerns the whole (`version`, `includes`, `tests`,
`[policy]`) stands in `policy.toml` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from keyturn.policy.problems import Problems
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table
from keyturn.policy.toml_text import read_toml

FILE = "policy.toml"
LARGEST_POLICY = 1024 * 1024
"""Bytes that all files of one policy may have together."""
MOST_FILES = 256
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/", re.ASCII)
CALENDAR = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}\.ics", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}\.toml", re.ASCII)
_RESERVED = ("state/", "tool_schemas/")
_MOST_FOLDERS = 16
_ALONE = ("version", "includes", "tests", "policy")


class Document(Table):
    """All files of a policy as one table: sections of included files are read after those of `policy.toml`.

    used  paths of the files that were of use so far; whoever reads another one adds it
    """

    def __init__(self, main: Table, included: Mapping[str, Table]) -> None:
        super().__init__(main.raw, "", main.problems)
        self.used = {FILE}
        self._doubled: set[str] = set()
        self._parts = (main, *(included[path] for path in sorted(included)))

    def only(self, *known: str) -> None:
        """Record every section that is not known, and what may stand in `policy.toml` alone elsewhere."""
        main, *others = self._parts
        main.only(*known)
        for part in others:
            for key in _ALONE:
                if key in part.raw:
                    part.wrong(key, f"stands in {FILE} only")
            part.only(*known)

    def table(self, key: str) -> Table | None:
        """Return the one table under `key` that any of the files has."""
        found = [part for part in self._parts if key in part.raw and (part.place == "" or key not in _ALONE)]
        for part in found[1:]:
            part.wrong(key, f"stands in {_file(found[0])} already, and only one file may have it")
        return Table(found[0].raw[key], found[0].at(key), self.problems) if found else None

    def tables(self, key: str) -> tuple[Table, ...]:
        """Return the tables of the arrays `[[key]]` of all files."""
        return tuple(table for part in self._parts for table in Table.tables(part, key))

    def named(self, key: str) -> tuple[tuple[str, Table], ...]:
        """Return the tables `[key.<name>]` of all files; a name that stands in two of them is a problem."""
        found: dict[str, tuple[str, Table]] = {}
        holders: dict[str, Table] = {}
        for part in self._parts:
            for name, table in Table.named(part, key):
                holder = holders.setdefault(name.lower(), part)
                if holder is not part and table.place not in self._doubled:
                    self._doubled.add(table.place)  # sections are read more than once, and told once
                    other = found[name.lower()][0]
                    self.problems.add(table.place, f"{shown(other)} stands in {_file(holder)} already")
                found.setdefault(name.lower(), (name, table))
        return tuple(found.values())

    def count(self, *keys: str) -> int:
        """Return how many tables the arrays `[[key]]` of all files hold."""
        arrays = (part.raw.get(key) for part in self._parts for key in keys)
        return sum(len(array) for array in arrays if isinstance(array, list))


def read_document(files: Mapping[str, str], problems: Problems) -> Document:
    """Read `policy.toml` and the files it includes. Raises `ConfigurationError` when there is none to begin with."""
    if FILE not in files:
        problems.add(FILE, "is missing")
    raw = read_toml(files[FILE], FILE, problems) if FILE in files else None
    if raw is None:
        problems.settle()
    main = Table(raw, "", problems)
    included = {}
    paths = included_in(files, _folders(main))
    for path in paths:
        part = read_toml(files[path], path, problems)
        if part is not None:
            included[path] = Table(part, f"{path}:", problems)
    document = Document(main, included)
    document.used.update(paths)
    return document


def folders_of(text: str) -> tuple[str, ...]:
    """Return the folders that a `policy.toml` includes; of a text that cannot be read, none."""
    raw = read_toml(text, FILE, Problems())
    return () if raw is None else _folders(Table(raw, "", Problems()))


def calendars_of(text: str) -> Iterator[str]:
    """Yield the paths of the calendars that one file of a policy names, as far as it can be read."""
    return (path for _, path in freezes_of(text))


def freezes_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the id and the calendar's path of each freeze in one file of a policy, as far as it can be read."""
    freezes = (read_toml(text, FILE, Problems()) or {}).get("freezes")
    for freeze in freezes if isinstance(freezes, list) else ():
        path = freeze.get("calendar") if isinstance(freeze, dict) else None
        if isinstance(path, str) and CALENDAR.fullmatch(path):
            yield str(freeze.get("id", "")), path


def is_part(name: str) -> bool:
    """Say whether a file of this name is read in an included folder."""
    return _PART.fullmatch(name) is not None


def _folders(main: Table) -> tuple[str, ...]:
    folders = main.texts("includes")
    good = tuple(folder for folder in folders if FOLDER.fullmatch(folder) and folder not in _RESERVED)
    for folder in folders:
        if folder not in good:
            text = f"{shown(folder)} is no folder to include: name one beside {FILE}, such as policy.d/"
            main.wrong("includes", text)
    if len(good) > _MOST_FOLDERS:
        main.wrong("includes", f"names more than {_MOST_FOLDERS} folders")
    return good[:_MOST_FOLDERS]


def included_in(files: Mapping[str, str], folders: Sequence[str]) -> list[str]:
    """Return the paths of those of `files` that lie in one of the included folders."""
    return sorted(
        path for path in files for folder in folders if path.startswith(folder) and is_part(path[len(folder) :])
    )


def _file(part: Table) -> str:
    return part.place.removesuffix(":") or FILE
