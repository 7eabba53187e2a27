from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.tickets.comments import MAX_COMMENT, check_comment, check_new
from keyturn.connectors.tickets.document import MAX_FRONT, parse_document, with_section, with_status
from keyturn.model.errors import ConnectorError

HEAD = "id: A-1\ntitle: T\n"


def document(front: str, body: str = "body\n") -> bytes:
    return f"---\n{front}---\n{body}".encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "must open with front matter"),
        (b"id: A-1\n", "must open with front matter"),
        (b"---\nid: A-1\n", "must open with front matter"),
        (b"\xff\xfe", "codec can't decode"),
        (document("- a\n"), "not a mapping"),
        (document("just text\n"), "not a mapping"),
        (document(""), "not a mapping"),
        (document("x: " + "a" * MAX_FRONT + "\n"), "longer than"),
        (document("a: &x b\n"), "anchors and aliases"),
        (document("a: [x]\nb: *x\n"), "anchors and aliases"),
        (document("a: !!python/object/apply:os.system [id]\n"), "tags are not allowed"),
        (document("a: !x b\n"), "tags are not allowed"),
        (document("a: " + "[" * 20 + "]" * 20 + "\n"), "nested deeper"),
        (document("<<: {status: x}\n"), "plain names"),
        (document("[a, b]: c\n"), "plain names"),
        (document("id: A-1\nid: A-2\n"), "id stands twice"),
        (document("a: [\n"), "expected"),
        (document("id: A-1\n"), "status is missing"),
        (document("title: T\nstatus: open\n"), "id is missing"),
        (document(HEAD + "status: yes\n"), "status must be text"),
        (document(HEAD + "status: 1\n"), "status must be text"),
        (document(HEAD + "status:\n"), "status must be text"),
        (document(HEAD + "status: ''\n"), "status must be text"),
        (document(HEAD + "status: [open]\n"), "status must be text"),
        (document(HEAD + "status: |\n  open\n"), "status must stand on one line"),
        (document(HEAD + 'status: "a\n  b"\n'), "status must stand on one line"),
        (document("id: 2026-11-01\ntitle: T\nstatus: open\n"), "id must be text"),
        (document(HEAD + "status: open\nwatchers: ann\n"), "watchers must be a list"),
        (document(HEAD + "status: open\nlabels: [1]\n"), "every item of labels must be text"),
        (document(HEAD + "status: open\nlabels: [[a]]\n"), "every item of labels must be text"),
        (document("a: \x07\n"), "special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_plain_ticket_is_refused_naming_the_place(data: bytes, problem: str) -> None:
    with pytest.raises(ConnectorError, match=problem) as refusal:
        parse_document(data, "ops/A-1.md")
    assert str(refusal.value).startswith("ops/A-1.md: is not a ticket: ")


@pytest.mark.parametrize(
    ("front", "changed"),
    [
        (HEAD + "status: open\n", HEAD + "status: closed\n"),
        (HEAD + "status:   open   # why\n", HEAD + "status:   closed   # why\n"),
        (HEAD + "status: 'open'\n", HEAD + "status: closed\n"),
        (HEAD + '"status" : "open"\n', HEAD + '"status" : closed\n'),
        (HEAD + "status:\n  open\n", HEAD + "status:\n  closed\n"),
        ("{id: A-1, status: open, title: T}\n", "{id: A-1, status: closed, title: T}\n"),
        ("title: 'status: open'\nid: A-1\nstatus: open\n", "title: 'status: open'\nid: A-1\nstatus: closed\n"),
        ("x: {status: open}\n" + HEAD + "status: open\n", "x: {status: open}\n" + HEAD + "status: closed\n"),
        ("x: \N{PILE OF POO}é\n" + HEAD + "status: open\n", "x: \N{PILE OF POO}é\n" + HEAD + "status: closed\n"),
        ("\n\n" + HEAD + "status: open\n", "\n\n" + HEAD + "status: closed\n"),
    ],
)
def test_only_the_value_of_the_status_changes(front: str, changed: str) -> None:
    assert with_status(parse_document(document(front), "x"), "closed").encode() == document(changed)


@pytest.mark.parametrize("status", ["yes", "1.5", "2026-11-01", "null", "No", "0x10", "on hold", "a.b-c_d", "1e3"])
def test_a_status_that_yaml_takes_for_something_else_is_quoted(status: str) -> None:
    old = parse_document(document(HEAD + "status: open\n"), "x")
    assert parse_document(with_status(old, status).encode(), "x").status == status


STATUSES = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,20}[A-Za-z0-9])?", fullmatch=True).filter(str.isascii)


@given(STATUSES, STATUSES)
def test_setting_a_status_and_setting_it_back_gives_the_same_ticket(one: str, other: str) -> None:
    first = with_status(parse_document(document(HEAD + "status: open\nlabels: [a]\n"), "x"), one)
    there = with_status(parse_document(first.encode(), "x"), other)
    assert parse_document(there.encode(), "x").status == other
    assert with_status(parse_document(there.encode(), "x"), one) == first


def test_lines_of_dashes_in_the_body_are_body() -> None:
    read = parse_document(document(HEAD + "status: open\n", "one\n---\nstatus: closed\n---\n"), "x")
    assert (read.status, read.body) == ("open", "\none\n---\nstatus: closed\n---\n")
    assert parse_document(with_section(read.text, "\n---\nid: B-2\n---\n").encode(), "x").id == "A-1"


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        ("", "is empty"),
        (" \n\t\n", "is empty"),
        ("x" * (MAX_COMMENT + 1), "longer than"),
        ("ok\n/close", "line 2 of the comment begins with / or @"),
        ("  @everyone look", "line 1 of the comment begins with / or @"),
        ("This fixes #12", "would close an issue"),
        ("Closed: octo/repo#3", "would close an issue"),
        ("RESOLVES GH-7", "would close an issue"),
        ("fix https://github.com/o/r/issues/1", "would close an issue"),
        ("Closing #4", "would close an issue"),
        ("a <!-- keyturn/019a -->", "HTML comment"),
        ("x <!-- hidden", "HTML comment"),
        ("## Comment by alice at noon", "heading of somebody's comment"),
        ("   #### COMMENT  BY bob", "heading of somebody's comment"),
        ("a\x1b[2Jb", "invisible or direction-turning"),
        ("a\r\nb", "invisible or direction-turning"),
        ("abc\u202edef", "invisible or direction-turning"),
        ("a\u2028b", "invisible or direction-turning"),
        ("a\ud800b", "invisible or direction-turning"),
    ],
)
def test_a_comment_that_must_not_be_posted_is_refused_naming_its_line(comment: str, problem: str) -> None:
    with pytest.raises(ConnectorError, match=problem) as refusal:
        check_comment(comment)
    assert not {"\x1b", "\u202e"} & set(str(refusal.value))


@pytest.mark.parametrize(
    "comment",
    [
        "Done.",
        "see a/b and me@example.org",
        "the fix is in #12",
        "prefixes #1 with a colon",
        "tab\there",
        "日本語 👩‍🚒",
        "---\nid: X-1\n---",
    ],
)
def test_ordinary_words_may_be_posted(comment: str) -> None:
    check_comment(comment)


@pytest.mark.parametrize(
    ("title", "body", "labels", "problem"),
    [
        (" ", "b", [], "the title is empty"),
        ("x" * 201, "b", [], "the title is longer than 200"),
        ("two\nlines", "b", [], "the title holds an invisible"),
        ("a\tb", "b", [], "the title holds a tab"),
        (" a", "b", [], "the title has blanks at an end"),
        ("/close", "b", [], "the title begins with / or @"),
        ("This fixes #1", "b", [], "the title would close an issue"),
        ("t", "x" * 20_001, [], "the text is longer than 20000"),
        ("t", "ok\n/assign bob", [], "line 2 of the text begins with / or @"),
        ("t", "a <!-- b -->", [], "line 1 of the text holds an HTML comment"),
        ("t", "b", ["a", "A"], "a label stands twice"),
        ("t", "b", [""], "is not a label"),
        ("t", "b", ["x" * 51], "is not a label"),
        ("t", "b", ["a\u202eb"], "is not a label"),
        ("t", "b", [str(number) for number in range(21)], "more than 20 labels"),
    ],
)
def test_a_new_ticket_that_must_not_be_posted_is_refused_naming_what_is_wrong(
    title: str, body: str, labels: list[str], problem: str
) -> None:
    with pytest.raises(ConnectorError, match=problem):
        check_new(title, body, labels)


def test_a_new_ticket_may_have_no_text_and_labels_as_people_write_them() -> None:
    check_new("Checkout is slow: nine seconds", "", ["good first issue", "area/checkout", "P1"])
