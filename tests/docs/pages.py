"""The pages of the documentation as the tests read them: text, code blocks, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and its text, without the indentation of the fence."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for indent, language, text in _FENCE.findall(self.text):
            lines = (line.removeprefix(indent) for line in text.splitlines())
            found.append(Block(language, "\n".join(lines)))
        return found

    @cached_property
    def links(self) -> list[str]:
        """The targets of relative links in the prose, fragments included."""
        bare = re.sub(r"`[^`]*`", "", self.prose)
        return [to for to in re.findall(r"\]\(([^)\s]+)\)", bare) if not re.match(r"[a-z]+:", to)]

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments that the page's headings get."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    @cached_property
    def quoted(self) -> list[str]:
        """Everything in single backticks in the prose."""
        return re.findall(r"`([^`\n]+)`", self.prose)


def all_pages() -> list[Page]:
    """Return the README and every page under `docs/`."""
    return [Page(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
