"""Credentials among added lines: every kind is found, nothing else is taken for one, in time linear in the diff.

1. What looks like a credential is found in added lines, whatever surrounds it, and in no others.
2. What is told names kind, file and line, and never the text.
3. A longer diff costs in proportion: every line is looked at a fixed number of times, and RE2 does not backtrack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.diff import file_diff
from keyturn.policy.patterns import Pattern
from keyturn.policy.risk import credentials as module
from keyturn.policy.risk.added import added_lines
from keyturn.policy.risk.credentials import MOST_TOLD, SHAPES, look_through
from tests.policy.risk.samples import credentials, diff_of, harmless

SAMPLES = [(kind, line) for kind, lines in credentials().items() for line in lines]
ROOT = Path(__file__).parents[3]


def test_there_is_a_sample_of_every_kind() -> None:
    assert set(credentials()) == set(SHAPES)


@pytest.mark.parametrize(("kind", "line"), SAMPLES, ids=[f"{kind} {i}" for i, (kind, _) in enumerate(SAMPLES)])
def test_a_credential_of_every_kind_is_found(kind: str, line: str) -> None:
    [finding] = look_through(diff_of("app/x.py", "first", f'    secret = "{line}"  # mine')).findings
    assert (finding.kind, finding.path, finding.line) == (kind, "app/x.py", 2)


@pytest.mark.parametrize("line", harmless())
def test_what_only_speaks_of_credentials_is_none(line: str) -> None:
    assert look_through(diff_of("README.md", line)).findings == ()


def test_what_is_removed_or_stands_around_is_not_added() -> None:
    line = credentials()["a GitHub token"][0]
    diff = (
        diff_of("x", "nothing", removed=(line,)).replace("@@\n", f"@@\n {line}\n").replace("-1,1 +1,1", "-1,2 +1,2")
    )
    assert look_through(diff).findings == ()


def test_the_finding_never_tells_the_text() -> None:
    for _, line in SAMPLES:
        [finding] = look_through(diff_of("x", line)).findings
        assert line not in finding.text


def test_only_the_first_are_told() -> None:
    line = credentials()["an npm token"][0]
    found = look_through(diff_of("x", *[line] * 100)).findings
    assert [finding.line for finding in found] == list(range(1, MOST_TOLD + 1))


def test_a_line_that_looks_like_the_head_of_a_diff_is_looked_at() -> None:
    line = credentials()["a Stripe key"][0]
    found = look_through(diff_of("x", "++ b/other", f"++ {line}", removed=("-- a/other",))).findings
    assert [(finding.path, finding.line) for finding in found] == [("x", 2)]


def test_a_plus_outside_of_every_hunk_counts_as_added() -> None:
    line = credentials()["a Vault token"][0]
    assert look_through(f"+{line}\n").findings


def test_no_diff_has_nothing() -> None:
    assert (look_through("").findings, look_through("").unseen) == ((), 0)


@pytest.mark.parametrize("path", ["x y/z.py", 'odd "name".py', "ä/ö", "a b/a", "tab\tname"])
def test_the_path_is_that_of_the_file(path: str) -> None:
    line = credentials()["a GitLab token"][0]
    made = file_diff(path, b"old\n", f"old\n{line}\n".encode())
    [finding] = look_through(made.text).findings
    assert finding.path.replace('\\"', '"').replace("\\t", "\t") == path


def test_what_is_shown_by_digest_alone_is_counted() -> None:
    line = credentials()["an AWS access key"][0]
    hidden = file_diff("logo.png", None, b"\0" + line.encode())
    summarised = "diff --git a/big b/big\nNot shown (too large): nothing -> sha256:00 (9 bytes)\n"
    looked = look_through(hidden.text + summarised)
    assert (looked.findings, looked.unseen) == ((), 2)


def test_the_words_of_a_summary_within_a_file_are_no_summary() -> None:
    assert look_through(diff_of("x", "Binary content: no")).unseen == 0


def test_a_lone_surrogate_does_not_stop_the_search() -> None:
    line = credentials()["a GitHub token"][0]
    assert look_through(diff_of("x", "\udc80", line)).findings


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXT, max_size=8), st.lists(TEXT, max_size=8))
def test_the_added_lines_are_those_that_the_file_gains(before: list[str], after: list[str]) -> None:
    old, new = "\n".join(before), "\n".join(after)
    made = file_diff("a/file", old.encode(), new.encode())
    added = added_lines(made.text)
    assert len(added.lines) == made.added
    assert all(line in new.split("\n") for _, _, line in added.lines)
    assert {path for path, _, _ in added.lines} <= {"a/file"}


@given(st.text(max_size=300))
def test_any_text_at_all_is_taken_apart(text: str) -> None:
    look_through(text)


HOSTILE: Mapping[str, Callable[[int], str]] = {
    "one long line": lambda n: diff_of("x", "a" * n),
    "almost a key, over and over": lambda n: diff_of("x", ("gh" + "p_" + "A" * 35 + "-") * (n // 40)),
    "almost a web token": lambda n: diff_of("x", ("ey" + "JAAAAAAAAAA.") * (n // 13)),
    "dashes": lambda n: diff_of("x", "-----BEGIN " * (n // 11)),
    "many lines": lambda n: diff_of("x", *["sk-" + "A" * 30] * (n // 33)),
    "many hunks": lambda n: "@@ -1,1 +1,1 @@\n+a\n-b\n" * (n // 22),
    "many files": lambda n: "diff --git a/x b/x\n" * (n // 19),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_line_is_searched_a_fixed_number_of_times(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the characters that are handed to RE2, which takes time linear in them, whatever the pattern."""
    steps = []
    honest = Pattern.found_in

    def counted(self: Pattern, text: str) -> bool:
        steps.append(len(text) + 1)
        return honest(self, text)

    monkeypatch.setattr(Pattern, "found_in", counted)
    costs = []
    for size in (2_000, 20_000, 200_000):
        steps.clear()
        diff = HOSTILE[name](size)
        look_through(diff)
        costs.append(sum(steps) / len(diff))
    assert max(costs) <= 2 * len(SHAPES)
    assert costs[2] <= 1.5 * costs[0]


def test_a_megabyte_on_one_line_is_looked_through_and_found_at_its_end() -> None:
    line = credentials()["a GitHub token"][0]
    assert len(look_through(diff_of("x", "b " * 524_288 + line)).findings) == 1


def own_files() -> Iterator[Path]:
    yield from Path(module.__file__).parent.glob("*.py")
    yield from Path(__file__).parent.glob("*.py")
    yield ROOT / "docs/how-to/score-risk.md"


def test_nothing_here_looks_like_a_credential_itself() -> None:
    for path in own_files():
        lines = path.read_text(encoding="utf-8").split("\n")
        assert look_through(diff_of(path.name, *lines)).findings == (), path
