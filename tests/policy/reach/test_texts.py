"""The texts that are found are all the ways in which globs can match, held against matching every short text."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.policy.patterns import glob
from keyturn.policy.reach import texts as module
from keyturn.policy.reach.texts import Spelling, texts

GLOBS = ["*", "**", "a*", "?", "a?b", "**/b", "a/**", "**/a/**", "\\*", "ab", "*/b", "A*", "b**"]


def found(groups: list[list[Spelling]]) -> tuple[list[str], bool]:
    told: list[str] = []
    search = texts(groups)
    while True:
        try:
            told.append(next(search))
        except StopIteration as end:
            return told, bool(end.value)


def ways(text: str, groups: list[list[Spelling]]) -> tuple[bool, ...]:
    def matches(one: Spelling) -> bool:
        if one.literal:
            return text == one.source
        return glob(one.source, ignore_case=one.ignore_case).matches(text)

    return tuple(any(matches(one) for one in group) for group in groups)


SPELLING = st.builds(Spelling, st.sampled_from(GLOBS), st.booleans(), st.booleans()).filter(
    lambda one: not (one.literal and one.ignore_case)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SPELLING, min_size=1, max_size=2), max_size=4))
def test_every_way_in_which_a_short_text_matches_is_found(groups: list[list[Spelling]]) -> None:
    told, complete = found(groups)
    assert complete
    known = {ways(text, groups) for text in told}
    short = ("".join(letters) for size in range(4) for letters in product("abA/*", repeat=size))
    assert {ways(text, groups) for text in short} <= known


def test_letters_outside_ascii_that_fold_into_it_are_known() -> None:
    groups = [[Spelling("k", ignore_case=True)], [Spelling("k")], [Spelling("K")]]
    told, complete = found(groups)
    assert complete
    assert "\u212a" in told


def test_other_letters_whose_case_is_ignored_are_not_vouched_for() -> None:
    assert found([[Spelling("ß", ignore_case=True)]])[1] is False


def test_a_letter_that_stands_nowhere_is_found_however_many_do() -> None:
    groups = [
        [Spelling(letter, literal=True)]
        for letter in (*"abcdefghijklmnopqrstuvwxyz0123456789", *map(chr, range(65, 91)))
    ]
    told, _ = found([[one for group in groups for one in group]])
    assert any(ord(letter) >= 0x4E00 for text in told for letter in text)


def test_a_search_that_takes_too_long_is_given_up_without_a_claim() -> None:
    groups = [[Spelling(f"*{letter}" + "?" * 7)] for letter in "abcdefgh"]
    assert found(groups)[1] is False
    assert module.MOST_STATES == 5_000
