"""All contracts of a home: reads the folder whole or not at all, and holds policies' pins against it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from keyturn import canon
from keyturn.contracts.document import is_contract_name, read_contract
from keyturn.contracts.strict_json import at, read_json
from keyturn.model.contract import Contract
from keyturn.model.errors import ConfigurationError

MAX_FILE = 256 * 1024
"""Bytes of one file."""

ENVELOPE = "envelope.v1.json"
META = "contract.meta.json"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The contracts by tool, the exact texts they come from by file name, and the digest over those texts."""

    contracts: Mapping[str, Contract]
    files: Mapping[str, str]
    digest: str


def read_catalog(folder: Path) -> Catalog:
    """Read `folder` (`tool_schemas/`).

    Raises `ConfigurationError` with every problem as `<file>: <dotted path>: <what>`. Files that are not `*.json`
    are left alone, and so is the meta-schema, which serves authors and tests.
    """
    problems: list[str] = []
    files: dict[str, str] = {}
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.name != META)
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be read: {error.strerror}") from error
    for path in paths:
        try:
            files[path.name] = _text(path)
        except ValueError as error:
            problems.append(f"{path.name}: {error}")
    if problems:
        raise ConfigurationError(*problems)
    return catalog_of(files)


@lru_cache(maxsize=32)  # whoever verifies a log, or many, meets the same few texts again and again
def _read(name: str, text: str, envelope: str) -> tuple[Contract | None, tuple[str, ...]]:
    return read_contract(name, text, read_json(envelope)[0])


def catalog_of(files: Mapping[str, str]) -> Catalog:
    """Build the catalog from texts by file name, wherever they come from. Raises as `read_catalog` does."""
    problems: list[str] = []
    _, wrong = read_json(files.get(ENVELOPE, ""))
    problems += [f"{ENVELOPE}: {problem}" for problem in wrong]
    contracts: dict[str, Contract] = {}
    for name in sorted(files.keys() - {ENVELOPE}):
        if not is_contract_name(name):
            problems.append(f"{name}: contracts are named <tool>.v<N>.json; rename the file or take it away")
            continue
        contract, wrong = _read(name, files[name], files.get(ENVELOPE, ""))
        problems += [f"{name}: {problem}" for problem in wrong]
        if contract is not None and contract.tool in contracts:
            problems.append(f"{name}: another version of this tool is here; keep the one that is to be served")
        elif contract is not None:
            contracts[contract.tool] = contract
    if problems:
        raise ConfigurationError(*problems)
    if not contracts:
        raise ConfigurationError("tool_schemas: holds no contract")
    return Catalog(MappingProxyType(contracts), MappingProxyType(dict(files)), canon.manifest_digest(files))


def check_pins(catalog: Catalog, pins: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return what is wrong with the pins of a policy; empty when every pin names the contract that is served.

    `pins` maps the dotted path of each pin in the policy to its tool and its label, such as `v1 sha256:…`.
    """
    return [at(path, problem) for path, pin in pins.items() for problem in _pin_problems(catalog, *pin)]


def _pin_problems(catalog: Catalog, tool: str, label: str) -> Iterator[str]:
    contract = catalog.contracts.get(tool)
    if contract is None:
        near = difflib.get_close_matches(tool, catalog.contracts, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        yield f'tool_schemas has no contract for "{tool}"{hint}'
    elif contract.label != label:
        yield (
            f'{tool} is pinned as "{label}", but tool_schemas holds "{contract.label}"; '
            "read what changed, then run: keyturn policy pin"
        )


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ValueError("is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}") from error
