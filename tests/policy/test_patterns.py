"""Short ways to match agree with RE2, and texts made to take long do not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.policy.patterns import Pattern, glob

GLOBS = st.lists(st.sampled_from(["a", "b/", "/", "*", "**", "?", "é", ".", "\\*", "\n"]), max_size=6).map("".join)
TEXTS = st.lists(st.sampled_from(["a", "b/", "/", "*", "é", ".", "\n", "\\", "b"]), max_size=8).map("".join)

EXPLODING = [
    "(a|aa)+b",
    "(a*)*b",
    "(a+)+$b",
    "(a|a)*b",
    "(.*a){12}b",
    "((a?){20}){20}b",
    "(x+x+)+y|(a+a+)+y",
    "([a-z]+)*[0-9]",
    "(?i)(A|a)*B",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
]
EXPLODING_GLOBS = ["*a" * 60 + "b", "**a" * 60 + "b", "**/" * 60 + "b", "?*" * 60 + "b", "**/*a*/**/*b" * 10]
SHORT, LONG = 20_000, 80_000
ROOM = 12  # four times as long a text, and three times as slow a moment of the machine


@settings(max_examples=400)
@given(GLOBS, TEXTS)
def test_a_glob_that_needs_no_re2_matches_what_re2_says(source: str, text: str) -> None:
    made = glob(source)
    assert made.matches(text) is Pattern(made.source).matches(text)


def test_a_lone_surrogate_is_no_text_however_short_the_way() -> None:
    for made in (glob("a"), glob("a/*"), glob("a/**"), glob("a*b"), Pattern("a.")):
        with pytest.raises(UnicodeEncodeError):
            made.matches("a\ud800")


@pytest.mark.timeout(50)
@pytest.mark.parametrize(
    "pattern", [*map(Pattern, EXPLODING), *map(glob, EXPLODING_GLOBS)], ids=[*EXPLODING, *EXPLODING_GLOBS]
)
@pytest.mark.parametrize("text", ["a", "a/", "ab"])
def test_time_grows_with_the_length_of_the_text_alone(pattern: Pattern, text: str) -> None:
    short, long = text * (SHORT // len(text)), text * (LONG // len(text))
    assert taken(pattern, long) < ROOM * max(taken(pattern, short), 0.001)


def taken(pattern: Pattern, text: str) -> float:
    """Return the least of three times, in seconds of this process."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        pattern.matches(text)
        found.append(time.process_time() - begin)
    return min(found)
