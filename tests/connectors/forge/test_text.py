"""Text that bots or issue trackers would act on, or that hides something, is not posted."""

from __future__ import annotations

import pytest

from keyturn.connectors.forge.text import clean_body, clean_title
from keyturn.model.errors import ConnectorError


@pytest.mark.parametrize(
    "line",
    ["/deploy prod", "@dependabot merge", "  /approve", "> @bot do it", "- /retest", "Fixes #1", "this closes #12",
     "Resolved: acme/shop#3", "FIX GH-7", "closing !4", "implements https://example.org/issues/1", "close issue #5",
     "Keyturn-Action: 1", " keyturn-principal : eve"],
)  # fmt: skip
def test_commands_and_closing_words_are_refused_by_line(line: str) -> None:
    with pytest.raises(ConnectorError, match=r"^body line 3: "):
        clean_body(f"Hello.\r\n\r\n{line}\nmore")
    with pytest.raises(ConnectorError, match=r"^title: "):
        clean_title(line)


@pytest.mark.parametrize(
    "line", ["see #1", "a / b", "mail me @ home", "prefix #1", "fixes the bug", "/ alone", "It closes."]
)
def test_ordinary_lines_are_posted(line: str) -> None:
    assert clean_title(line) == line
    assert clean_body(f"\n{line}\r\n\tindented\r\n\n") == f"{line}\n\tindented"


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\u202eb", "a\u200bb", "a\rb", "a\u2028b"])
def test_hidden_characters_are_refused(text: str) -> None:
    with pytest.raises(ConnectorError, match="invisible"):
        clean_body(text)
    with pytest.raises(ConnectorError, match="invisible"):
        clean_title(text)


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_titles_have_a_length(title: str) -> None:
    with pytest.raises(ConnectorError, match="1 to 200"):
        clean_title(title)


def test_bodies_have_a_length() -> None:
    assert clean_body("") == ""
    with pytest.raises(ConnectorError, match="at most"):
        clean_body("x" * 20_001)
