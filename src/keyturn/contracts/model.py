"""What every model of a tool's arguments is: frozen, closed, converting nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from keyturn.canon import Json


class ArgumentModel(BaseModel):
    """Arguments of one tool, or one object inside them: frozen, closed, nothing converted.

    pydantic's regular expressions are Rust's: `$` is the very end of the text, never before a last newline.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, regex_engine="rust-regex")

    def plain(self) -> dict[str, Json]:
        """Return the arguments as JSON in their one normal form: defaults written out, left-out ones absent."""
        values: dict[str, Json] = self.model_dump(mode="json", exclude_none=True)
        return values
