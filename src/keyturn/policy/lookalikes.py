"""Says whether two ids of rules would be taken for each other: people read them in refusals and reviews.

Names of principals and people are ASCII, so none of them look alike. Ids of rules are prose in any language, so they
are compared by what a reader sees: without case, with letters of other scripts as the Latin ones they look like, and
with any blanks, dashes and quotes as the plain ones. The table is written out, because what Python knows of letters
changes with its version, and a policy must be read alike by all (letters: https://www.unicode.org/reports/tr39/).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

_CYRILLIC = dict(zip("авеёіїјкмнорстухһԁԛԝѕѵԍ", "abeëiïjkmhopctyxhdqwsvg", strict=True))
_GREEK = dict(zip("αβεζηικμνορτυχ", "abezhikmvoptux", strict=True))
_WIDE = {chr(0xFEE0 + code): chr(code).lower() for code in range(0x21, 0x7F)}
_BLANKS = dict.fromkeys(("\u00a0", "\u1680", *map(chr, range(0x2000, 0x200B)), "\u202f", "\u205f", "\u3000"), " ")
_DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
_QUOTES = dict.fromkeys("\u2018\u2019\u02bc\u2032`", "'") | dict.fromkeys("\u201c\u201d\u2033", '"')
_UNSEEN = dict.fromkeys("\u200c\u200d\ufe0e\ufe0f", "")
_SEEN: Mapping[int, str] = MappingProxyType(
    str.maketrans({**_CYRILLIC, **_GREEK, **_WIDE, **_BLANKS, **_DASHES, **_QUOTES, **_UNSEEN})
)


def look(text: str) -> str:
    """Return the same text for all texts that a reader would take for each other."""
    return " ".join(unicodedata.normalize("NFC", text).lower().translate(_SEEN).split())
