r"""Which characters hide or rearrange what a reader sees, and what is made of them.

One definition for what is refused in names and posted texts, for what assistants are told, and for screens. It is
written out, because `str.isprintable` and `unicodedata` change with the Unicode version of the Python that asks:

- controls, format characters (bidirectional, zero-width, tags), surrogates, private use, noncharacters, line and
  paragraph separators (Cc Cf Cs Co Zl Zp), as of Unicode 17;
- everything else of Default_Ignorable_Code_Point, reserved code points included (UAX #44);
- letters and signs that are blank: Hangul fillers, the empty Braille pattern, the null notehead;
- the planes from 4 on, which hold nothing but tags, variation selectors and private use.

Code points that no version of Unicode has assigned yet show as a box, so they hide nothing. The spaces are not here
either: they are blank, but everybody expects something blank there.

Where others need another range: `log.kinds` froze its own in the ledger format (it also refuses the joiners, and
takes blanks), and the patterns in `tool_schemas/` name the part that a caller can be told in a readable pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from keyturn.canon import Json

HIDDEN: Final = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0d"
    r"\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d159"
    r"\U0001d173-\U0001d17a\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe-\U0010ffff"
)
"""The inside of a character class for `re`: what no reader would see as it is."""

SHAPING: Final = "\u200c\u200d\ufe0e\ufe0f"
"""The two joiners and the two selectors of emoji and text: invisible too, but scripts and emoji need them.

They are let through where they can have that effect, after one character outside ASCII. Rows of them, or one after
every other letter, would be a text that only programs read.
"""

LONGEST: Final = 20_000
"""Characters of one text in what an assistant is told."""

_LOOSE = r"(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]|(?<![^\x00-\x7f\u200c\u200d\ufe00-\ufe0f])[\ufe0e\ufe0f]"
_INVISIBLE = re.compile(f"[{HIDDEN}]|{_LOOSE}")
_NEVER_SEEN = re.compile(f"[{HIDDEN}{SHAPING}]")


def invisible(text: str, *, keep: str = "") -> tuple[int, ...]:
    """Return the places of characters that hide or rearrange the text; those in `keep` are fine."""
    return tuple(found.start() for found in _INVISIBLE.finditer(text) if found[0] not in keep)


def never_seen(text: str) -> bool:
    """Say whether the text holds any character that is not itself seen, `SHAPING` included: for names and ids."""
    return _NEVER_SEEN.search(text) is not None


def visible(text: str, *, keep: str = "") -> str:
    r"""Return `text` with what hides or rearranges it written out as `\u{…}`; characters in `keep` stay."""
    return _INVISIBLE.sub(lambda found: found[0] if found[0] in keep else written_out(found[0]), text)


def replaced(text: str, by: str = "\ufffd") -> str:
    """Return `text` with every character that is not itself seen, `SHAPING` included, replaced."""
    return _NEVER_SEEN.sub(lambda _: by, text)


def written_out(character: str) -> str:
    r"""Return one character as `\u{…}`, its code point in hex."""
    return f"\\u{{{ord(character):x}}}"


def plain(text: str) -> str:
    r"""Return an identifier with everything outside printable ASCII written out as `\u{…}`.

    For names, targets, paths: where a look-alike letter would mislead.
    """
    return "".join(c if " " <= c <= "~" else written_out(c) for c in text)


def clean(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, without what hides or rearranges it; lines and tabs stay."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text  # as nearly always
    kept = _INVISIBLE.sub(lambda found: found[0] if found[0] in "\n\t" else "", text[: limit * 2])
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def told(value: Json) -> Json:
    """Return what another system said so that an assistant may read it.

    Every text in it has at most `LONGEST` characters, and what would hide in it is written out, where a reader of the
    ledger sees it too. Names of members are the tool's own words and stay.
    """
    match value:
        case str():
            shown = visible(value[: LONGEST + 1], keep="\n\t")
            return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
        case Mapping():
            return {name: told(item) for name, item in value.items()}
        case list() | tuple():
            return [told(item) for item in value]
        case _:
            return value
