"""What the arguments of all tools share: a strict base, optional values, and the bounded kinds of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from keyturn.contracts.model import ArgumentModel

UNSEEN = r"\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
"""The inside of a character class: what a published pattern says that no single line may hold.

C0 and C1 controls, line and paragraph separators, and characters that are invisible or turn the reading direction on
a reviewer's screen: the part of `model.text.HIDDEN` that a caller can be told in one readable pattern, unchanged
while the contracts are version 1. Planning refuses the rest.
"""


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("null", "null says nothing here; leave the argument out")
    return value


@dataclass(frozen=True)
class _Optional:
    """Marks `X | None` whose None means that the argument was left out: null itself is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_refuse_null, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        (stated,) = [option for option in described["anyOf"] if option != {"type": "null"}]
        return JsonSchemaValue(stated)


OPTIONAL = _Optional()
"""`Annotated[X | None, OPTIONAL] = None`: may be left out, must not be null; its schema is that of X alone."""

ARRAY = Strict(False)
"""For `tuple[...]` fields: JSON arrays arrive as lists. The items stay strict."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", max_length=64)]
"""A configured name or an id in a configured system: ASCII, 1 to 64 characters."""

OptionalName = Annotated[Name | None, OPTIONAL]
"""A name that may be left out."""

ActionId = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", max_length=36),
]
"""A UUID in lower case with dashes."""

Why = Annotated[str, Field(max_length=2000)]
"""A reason in plain words; empty when none was given."""


class GovernedArguments(ArgumentModel):
    """What every governed tool takes beside its own arguments.

    `repeat` asks for a second action although an identical one is open or has just succeeded.
    """

    reason: Why = ""
    repeat: bool = False
