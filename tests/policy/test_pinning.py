"""Pinning writes the pins and leaves every other byte of the text alone."""

from __future__ import annotations

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.policy import pin, read_policy
from tests.policy.world import CATALOG, PEOPLE, grant, label

OLD = "v1 sha256:" + "0" * 64


def test_a_stale_pin_is_replaced_and_nothing_else() -> None:
    text = PEOPLE + grant().replace(label("set_flag"), OLD)
    assert pin(text, CATALOG) == PEOPLE + grant()
    assert pin(PEOPLE + grant(), CATALOG) == PEOPLE + grant()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_comments_spaces_and_line_ends_stay(newline: str) -> None:
    before = newline.join(
        [
            "# tool = 'no'",
            "[[ grants ]]   # first",
            "  tool   = 'set_flag'  # why",
            "where = { a = [ ']', '''}''' ] }",
            "",
            "[[grants]]",
            'note = """',
            "[[grants]]",
            'contract = "not this""""',
            "other = '''",
            "tool = 'x' ''''",
            'tool = "update_ticket"',
            "contract   =   'x' # mine",
            "[grants.approval]",
            'contract = "nor this"',
            "[[forbids]]",
            "tool = 'set_flag'",
        ]
    )
    after = before.replace(
        "'set_flag'  # why", f"'set_flag'  # why{newline}  contract = \"{label('set_flag')}\"", 1
    ).replace("'x' # mine", f'"{label("update_ticket")}" # mine')
    assert pin(before, CATALOG) == after


def test_a_missing_pin_is_put_after_a_tool_on_the_last_line() -> None:
    assert pin("[[grants]]\ntool = 'set_flag'", CATALOG) == (
        f"[[grants]]\ntool = 'set_flag'\ncontract = \"{label('set_flag')}\""
    )


def test_grants_without_a_known_tool_are_left_to_the_reader() -> None:
    for text in (
        "",
        "[[grants]]\nid = 'x'\n",
        "[[grants]]\ntool = 'nothing'\n[[grants]]\n",
        "grants = 3\n",
        "grants = [3]",
    ):
        assert pin(text, CATALOG) == text


@pytest.mark.parametrize(
    "text",
    [
        "grants = [{ tool = 'set_flag' }]",
        "[[grants]]\n'tool' = 'set_flag'",
        "[[grants]]\ntool = 'set_flag'\n'contract' = 'x'",
        '[[grants]]\ntool = "set_flag"\ncontract = """\nx"""',
        "[['grants']]\ntool = 'set_flag'",
    ],
)
def test_a_text_that_cannot_be_pinned_safely_is_refused_whole(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"give each grant as \[\[grants\]\]"):
        pin(text, CATALOG)


def test_a_text_that_is_not_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigurationError, match="at line 2"):
        pin("a = 1\nb =\n", CATALOG)


def test_a_pinned_text_loads() -> None:
    bare = PEOPLE + "".join(
        line + "\n" for line in (grant() + grant("t", "update_ticket")).splitlines() if "contract" not in line
    )
    assert read_policy({"policy.toml": pin(bare, CATALOG)}, CATALOG).pins()["grants[1]"][1] == label("update_ticket")
