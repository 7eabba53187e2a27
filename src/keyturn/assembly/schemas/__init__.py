"""The JSON Schemas of a home's files, by the names they are published under."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from keyturn.assembly.schemas.wiring import wiring_schema
from keyturn.assembly.starter import starter_folder
from keyturn.canon import Json
from keyturn.contracts import read_catalog
from keyturn.policy.schema.documents import cases_schema, part_schema, policy_schema

FILES: Mapping[str, str] = {
    "policy": "policy.schema.json",
    "part": "policy-part.schema.json",
    "cases": "policy-cases.schema.json",
    "wiring": "keyturn.schema.json",
}
"""What each schema is about, and its file."""


def schemas() -> dict[str, dict[str, Json]]:
    """Return each schema by what it is about, for the tools that this installation carries."""
    contracts = read_catalog(starter_folder() / "tool_schemas").contracts.values()
    return {
        "policy": policy_schema(contracts),
        "part": part_schema(contracts),
        "cases": cases_schema(contracts),
        "wiring": wiring_schema(contract.tool for contract in contracts if contract.kind == "governed"),
    }


def written(schema: Mapping[str, Json]) -> str:
    """Return a schema as its file holds it."""
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"


def write_schemas(folder: Path) -> tuple[Path, ...]:
    """Write every schema into a folder, which is made if need be; return the files. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for about, schema in schemas().items():
        made.append(folder / FILES[about])
        made[-1].write_text(written(schema), encoding="utf-8")
    return tuple(made)
