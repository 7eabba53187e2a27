"""Text for a person's screen: what others wrote is shown, never interpreted."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def safe(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with every control, bidirectional and invisible character written out as `\u{…}`.

    With `lines` newlines and tabs stay; letters of all scripts stay. For titles, reasons, diffs, errors.
    """
    return "".join(_shown(character, lines) for character in text)


def plain(text: str) -> str:
    r"""Return an identifier with everything outside printable ASCII written out as `\u{…}`.

    For names, targets, paths: where a look-alike letter would mislead.
    """
    return "".join(c if " " <= c <= "~" else f"\\u{{{ord(c):x}}}" for c in text)


def _shown(character: str, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    hidden = unicodedata.category(character) in _HIDDEN or (character.isspace() and character != " ")
    return f"\\u{{{ord(character):x}}}" if hidden else character
