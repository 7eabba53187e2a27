"""Shows a change of one file as a unified diff that git can apply, worked out from bytes alone.

Lines are matched by unique common lines first (patience) and by a bounded Myers search between them. The search has
a fixed budget of steps, so hostile input costs a bounded time; what the budget does not reach is shown as removed
and added again, which is longer to read but never wrong.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

CONTEXT = 3
"""Unchanged lines shown around a change, as git does."""

BYTES_PER_LINE = 200
"""Bytes that count as one line at least, where lines are counted for limits."""

_BUDGET = 4_000_000
_MYERS_DEPTH = 200
_SNIFF = 8000

_Block: TypeAlias = tuple[int, int, int]  # start in old, start in new, length
_Range: TypeAlias = tuple[int, int, int, int]  # old from, old to, new from, new to
_IN_HUNKS = ("", " ", "+", "-", "@", "\\")
_ESCAPES = {0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """The change of one file.

    text             the diff from `diff --git` on; lines are separated by a line feed and by nothing else
    added            lines added; for binary content the lines of the new bytes
    removed          lines removed; for binary content the lines of the old bytes
    counted_added    what limits count for what is added, see `counted`; for binary content for all new bytes
    counted_removed  what limits count for what is removed; for binary content for all old bytes
    binary           whether only digests and sizes are shown (NUL byte among the first 8000, or not UTF-8)
    """

    path: str
    text: str
    added: int
    removed: int
    counted_added: int
    counted_removed: int
    binary: bool


def file_diff(
    path: str,
    old: bytes | None,
    new: bytes | None,
    old_mode: str | None = "100644",
    new_mode: str | None = "100644",
) -> FileDiff:
    """Return the diff of one file; `None` stands for a file that does not exist. Modes are git's, in octal."""
    header = _header(path, old, new, old_mode, new_mode)
    if _is_binary(old) or _is_binary(new):
        text = header + f"Binary content: {_digest(old)} -> {_digest(new)}\n"
        return _made(path, text, (new or b"").splitlines(keepends=True), (old or b"").splitlines(keepends=True), True)
    before, after = _lines(old), _lines(new)
    hunks, added, removed = _hunks(before, after, _match(before, after))
    if not hunks:
        return _made(path, header, [], [], False)
    source = "/dev/null" if old is None else _label("a/" + path)
    target = "/dev/null" if new is None else _label("b/" + path)
    text = f"{header}--- {source}\n+++ {target}\n{hunks}"
    return _made(path, text, [line.encode() for line in added], [line.encode() for line in removed], False)


def _made(path: str, text: str, added: Sequence[bytes], removed: Sequence[bytes], binary: bool) -> FileDiff:
    return FileDiff(
        path=path,
        text=text,
        added=len(added),
        removed=len(removed),
        counted_added=counted(added),
        counted_removed=counted(removed),
        binary=binary,
    )


def counted(lines: Sequence[bytes]) -> int:
    """Return what limits count for these lines.

    A line is also ended by a carriage return, as many programs read it, and long ones count by their bytes: a script
    of a megabyte on one line is not one line's worth of change.
    """
    ended = sum(max(1, len(line.splitlines())) for line in lines)
    return weight(ended, sum(map(len, lines)))


def weight(lines: int, size: int) -> int:
    """Return what limits count for so many lines of so many bytes together."""
    return max(lines, -(-size // BYTES_PER_LINE))


@dataclass(frozen=True, slots=True)
class NetChange:
    """What the diff of one file changes, wherever in the file it stands.

    head     the lines that belong to no hunk: the names and modes of the file
    added    lines that are added and not removed elsewhere, in order, without line ends
    removed  lines that are removed and not added elsewhere
    """

    head: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def net_change(diff: str) -> NetChange:
    """Return what a diff of one file changes.

    The same edit of two versions of a file gives diffs with other places and surroundings, and the same net change.
    """
    lines = diff.split("\n")
    start = next((index for index, line in enumerate(lines) if line.startswith("@@ ")), len(lines))
    added, removed = ([line[1:] for line in lines[start:] if line[:1] == sign] for sign in "+-")
    head = lines[:start] + [line for line in lines[start:] if line[:1] not in _IN_HUNKS]
    return NetChange(tuple(head), _without(added, removed), _without(removed, added))


def _without(lines: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    left = Counter(others)
    kept = []
    for line in lines:
        left[line] -= 1
        if left[line] < 0:
            kept.append(line)
    return tuple(kept)


def quote_path(path: str) -> str:
    """Write a path as git does with `core.quotePath=false`: C-quoted when it holds `"`, `\\` or control characters.

    Bytes that were no UTF-8 (carried as lone surrogates) become octal escapes.
    """
    quoted = "".join(_quote(character) for character in path)
    return path if quoted == path else f'"{quoted}"'


def _quote(character: str) -> str:
    point = ord(character)
    if character in '"\\':
        return "\\" + character
    if point in _ESCAPES:
        return _ESCAPES[point]
    if point < 0x20 or point == 0x7F:
        return f"\\{point:03o}"
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\{point - 0xDC00:03o}"
    return character


def _label(name: str) -> str:
    # git ends a name that holds a space with a tab, so that readers find where the name stops
    quoted = quote_path(name)
    return quoted + "\t" if " " in name and quoted == name else quoted


def _header(path: str, old: bytes | None, new: bytes | None, old_mode: str | None, new_mode: str | None) -> str:
    header = f"diff --git {quote_path('a/' + path)} {quote_path('b/' + path)}\n"
    if old is None:
        return header + f"new file mode {new_mode}\n"
    if new is None:
        return header + f"deleted file mode {old_mode}\n"
    if old_mode != new_mode:
        return header + f"old mode {old_mode}\nnew mode {new_mode}\n"
    return header


def _is_binary(content: bytes | None) -> bool:
    if content is None:
        return False
    if b"\0" in content[:_SNIFF]:
        return True
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _digest(content: bytes | None) -> str:
    if content is None:
        return "nothing"
    return f"sha256:{hashlib.sha256(content).hexdigest()} ({len(content)} bytes)"


def _lines(content: bytes | None) -> list[str]:
    """Split after each line feed; a last line without one keeps its lack of it, which makes it another line."""
    if not content:
        return []
    parts = content.decode("utf-8").split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


@dataclass(slots=True)
class _Search:
    """One matching of two lists of lines: what was found and the steps that are left."""

    old: Sequence[str]
    new: Sequence[str]
    left: int = _BUDGET
    found: list[_Block] = field(default_factory=list)


def _match(old: Sequence[str], new: Sequence[str]) -> list[_Block]:
    """Return the runs of equal lines, in order."""
    search = _Search(old, new)
    waiting: list[_Range] = [(0, len(old), 0, len(new))]
    while waiting:
        inner = _trim(search, waiting.pop())
        if inner is None:
            continue
        search.left -= inner[1] - inner[0] + inner[3] - inner[2]
        if search.left < 0:
            continue
        anchors = _anchors(search, inner)
        if anchors:
            waiting.extend(_between(inner, anchors))
        else:
            _myers(search, inner)
    return sorted(search.found)


def _trim(search: _Search, part: _Range) -> _Range | None:
    """Record equal lines at both ends; return what lies between, or None when one side is empty."""
    low, high, left, right = part
    start = low
    while low < high and left < right and search.old[low] == search.new[left]:
        low, left = low + 1, left + 1
    if low > start:
        search.found.append((start, left - (low - start), low - start))
    end = high
    while low < high and left < right and search.old[high - 1] == search.new[right - 1]:
        high, right = high - 1, right - 1
    if end > high:
        search.found.append((high, right, end - high))
    return (low, high, left, right) if low < high and left < right else None


def _anchors(search: _Search, part: _Range) -> list[tuple[int, int]]:
    """Return pairs of lines that are unique on both sides, as the longest sequence rising on both."""
    low, high, left, right = part
    once_old = Counter(search.old[low:high])
    once_new = Counter(search.new[left:right])
    at = {line: i for i, line in enumerate(search.new[left:right], left) if once_new[line] == 1}
    pairs = [(i, at[line]) for i, line in enumerate(search.old[low:high], low) if once_old[line] == 1 and line in at]
    return _rising(pairs)


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    ends: list[int] = []  # smallest last value of a rising sequence, by its length
    holders: list[int] = []
    previous: list[int] = []
    for index, (_, value) in enumerate(pairs):
        place = bisect_left(ends, value)
        previous.append(holders[place - 1] if place else -1)
        ends[place : place + 1] = [value]
        holders[place : place + 1] = [index]
    chain: list[tuple[int, int]] = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chain.append(pairs[index])
        index = previous[index]
    return chain[::-1]


def _between(part: _Range, anchors: list[tuple[int, int]]) -> Iterator[_Range]:
    """Cut a range at its anchors; each piece begins with its anchor, which trimming then records."""
    low, high, left, right = part
    starts = [(low, left), *anchors]
    ends = [*anchors, (high, right)]
    for (i, j), (k, m) in zip(starts, ends, strict=True):
        yield i, k, j, m


def _myers(search: _Search, part: _Range) -> None:
    """Record a shortest edit of a small range (Myers 1986, greedy), if the depth and the budget allow it."""
    low, high, left, right = part
    rows, columns = high - low, right - left
    reach = {1: 0}
    trail: list[dict[int, int]] = []
    for depth in range(min(rows + columns, _MYERS_DEPTH) + 1):
        trail.append(dict(reach))
        search.left -= depth + 1
        for k in range(-depth, depth + 1, 2):
            down = k == -depth or (k != depth and reach[k - 1] < reach[k + 1])
            x = reach[k + 1] if down else reach[k - 1] + 1
            start = x
            while x < rows and x - k < columns and search.old[low + x] == search.new[left + x - k]:
                x += 1
            search.left -= x - start
            reach[k] = x
            if x >= rows and x - k >= columns:
                _walk_back(search, part, trail)
                return
        if search.left < 0:
            return


def _walk_back(search: _Search, part: _Range, trail: list[dict[int, int]]) -> None:
    low, high, left, right = part
    x, y = high - low, right - left
    for depth in range(len(trail) - 1, -1, -1):
        reach, k = trail[depth], x - y
        down = k == -depth or (k != depth and reach[k - 1] < reach[k + 1])
        before = k + 1 if down else k - 1
        start = reach[before] if down else reach[before] + 1
        if x > start:
            search.found.append((low + start, left + start - k, x - start))
        x, y = reach[before], reach[before] - before


def _hunks(old: Sequence[str], new: Sequence[str], blocks: list[_Block]) -> tuple[str, list[str], list[str]]:
    """Return the hunks' text and the lines added and removed."""
    changes = list(_changes(len(old), len(new), blocks))
    added = [line for _, _, left, right in changes for line in new[left:right]]
    removed = [line for low, high, _, _ in changes for line in old[low:high]]
    text = "".join(_hunk(old, new, group) for group in _groups(changes))
    return text, added, removed


def _changes(rows: int, columns: int, blocks: list[_Block]) -> Iterator[_Range]:
    low = left = 0
    for i, j, size in [*blocks, (rows, columns, 0)]:
        if i > low or j > left:
            yield low, i, left, j
        low, left = i + size, j + size


def _groups(changes: list[_Range]) -> Iterator[list[_Range]]:
    """Put changes with at most twice the context between them into one hunk."""
    group: list[_Range] = []
    for change in changes:
        if group and change[0] - group[-1][1] > 2 * CONTEXT:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _hunk(old: Sequence[str], new: Sequence[str], group: list[_Range]) -> str:
    lead = min(CONTEXT, group[0][0])
    tail = min(CONTEXT, len(old) - group[-1][1])
    low, high = group[0][0] - lead, group[-1][1] + tail
    left, right = group[0][2] - lead, group[-1][3] + tail
    lines = [f"@@ -{_span(low, high)} +{_span(left, right)} @@\n"]
    at = low
    for start, end, first, last in group:
        lines += [_line(" ", line) for line in old[at:start]]
        lines += [_line("-", line) for line in old[start:end]]
        lines += [_line("+", line) for line in new[first:last]]
        at = end
    lines += [_line(" ", line) for line in old[at:high]]
    return "".join(lines)


def _span(start: int, end: int) -> str:
    # an empty side is written as the line before it, counted from one
    return f"{start + 1 if end > start else start},{end - start}"


def _line(sign: str, line: str) -> str:
    return sign + line if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"
