"""What one tool promises: its name, scope, words, shapes and digest, as read from `tool_schemas/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from keyturn.canon import Json

Kind: TypeAlias = Literal["governed", "read", "self"]
"""`governed` changes something and passes the gate, `read` only reads, `self` is about the caller's own actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One file of `tool_schemas/`. The mappings are shared with whoever serves them: never change them.

    scope             what a principal (and its token) must have; `self` needs no grant
    annotations       MCP hints, true or false
    input, output     JSON Schema 2020-12, in the file's order of keys
    duplicate_window  seconds for which an identical request returns an action that succeeded; 0 unless governed
    digest            `sha256:<hex>` over the canonical JSON of the whole file, words and examples included
    """

    tool: str
    version: int
    kind: Kind
    scope: str
    title: str
    description: str
    annotations: Mapping[str, bool]
    input: Mapping[str, Json]
    output: Mapping[str, Json]
    duplicate_window: int
    digest: str

    @property
    def label(self) -> str:
        """What policies pin: `v1 sha256:<hex>`."""
        return f"v{self.version} {self.digest}"
