"""One changed file of a pull request: written whole, edited in place, or deleted."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import ARRAY, OPTIONAL, UNSEEN

FilePath = Annotated[str, Field(pattern=rf"^[^/\\{UNSEEN}]+(?:/[^/\\{UNSEEN}]+)*$", min_length=1, max_length=400)]
"""A relative path with forward slashes. What git must never see (`..`, `.git`) is refused where git is."""


class FileContent(ArgumentModel):
    """The whole new content of a file; text, or bytes in padded standard base64 (RFC 4648 section 4)."""

    path: FilePath
    content: Annotated[str, Field(max_length=1_048_576)]
    encoding: Annotated[Literal["base64"] | None, OPTIONAL] = None
    executable: Annotated[bool | None, OPTIONAL] = None

    @model_validator(mode="after")
    def _decodes(self) -> FileContent:
        try:
            self.data()
        except ValueError as error:
            raise PydanticCustomError("base64", "content is not padded standard base64") from error
        return self

    def data(self) -> bytes:
        """Return the bytes of the file."""
        if self.encoding is None:
            return self.content.encode("utf-8")
        return base64.b64decode(self.content, validate=True)


class Edit(ArgumentModel):
    """Replace `old`, which stands exactly once in the text, by `new`."""

    old: Annotated[str, Field(min_length=1, max_length=100_000)]
    new: Annotated[str, Field(max_length=100_000)]


class FileEdits(ArgumentModel):
    """Edits of an existing text file, applied in order."""

    path: FilePath
    edits: Annotated[tuple[Edit, ...], ARRAY, Field(min_length=1, max_length=100)]


def _only_true(value: Any) -> Any:
    if value is not True:  # 1 == True in Python: Literal[True] alone would let it through
        raise PydanticCustomError("only_true", "Input should be true")
    return value


class FileDelete(ArgumentModel):
    """Remove a file."""

    path: FilePath
    delete: Annotated[Literal[True], BeforeValidator(_only_true)]


def _shape(value: Any) -> str | None:
    """Choose the shape by its telling key, so that errors speak of one shape and not of three."""
    for key in ("edits", "content", "delete"):
        if key in value if isinstance(value, dict) else hasattr(value, key):
            return f"({key})"
    return None


FileChange: TypeAlias = Annotated[
    Annotated[FileContent, Tag("(content)")]
    | Annotated[FileEdits, Tag("(edits)")]
    | Annotated[FileDelete, Tag("(delete)")],
    Discriminator(
        _shape,
        custom_error_type="file_shape",
        custom_error_message="a file has a path and one of content, edits and delete",
    ),
]
"""One of the three shapes; the tags are never part of what callers write."""

FileChanges = Annotated[tuple[FileChange, ...], ARRAY, Field(min_length=1, max_length=200)]
"""1 to 200 changes. The sum of their contents and the uniqueness of paths are judged at planning."""
