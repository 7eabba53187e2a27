"""How long a system wants to be left alone, in each way of saying it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.http.connection import Origin
from keyturn.connectors.http.links import following, host_in, target_on
from keyturn.connectors.http.sorting import judge, told_wait

NOW = 1_795_281_600.0  # 2026-11-21 17:20:00 UTC


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "999999999"}, 86_400),
        ({"retry-after": "Sat, 21 Nov 2026 17:20:30 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 17:20:30 -0000"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 17:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "Sat, 99 Nov 2026 17:20:30 GMT"}, None),
        ({"retry-after": f"Sat, 21 Nov {'9' * 20} 17:20:30 GMT"}, None),
        ({"retry-after": f"Sat, 21 Nov 2026 17:20:30 +{'9' * 20}"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 12)}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 12)}, 1),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "never"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "12"}, None),
        ({"retry-after": "3", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, 3),
    ],
)
def test_the_wait_is_read(headers: dict[str, str], wait: float | None) -> None:
    assert told_wait(headers, NOW) == wait


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_field_breaks_the_reading_of_waits(after: str, remaining: str, reset: str) -> None:
    headers = {"retry-after": after, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    wait = told_wait(headers, NOW)
    assert wait is None or 0 <= wait <= 86_400


@given(st.integers(300, 599), st.booleans())
def test_a_change_is_sent_again_only_when_the_host_says_when(status: int, change: bool) -> None:
    verdict = judge(status, {}, b"", change=change, now=NOW)
    assert not (change and verdict.again)
    assert not (not change and verdict.kind == "unknown")
    assert judge(status, {"retry-after": "1"}, b"", change=True, now=NOW).again == (status in (403, 429, 503))


@pytest.mark.parametrize(
    ("link", "next_"),
    [
        ('<https://h/a?page=2>; rel="next"', "https://h/a?page=2"),
        ("</a>; rel=next", "/a"),
        ('<p1>; rel="prev", <p3>; rel="next last"', "p3"),
        ('<p1>; title="rel=\\"next\\""; rel="prev"', None),
        ('<p1>; rel="nextish"', None),
        ('<p1>; rel="prev"', None),
        ("", None),
        ("<", None),
    ],
)
def test_the_next_page_is_found(link: str, next_: str | None) -> None:
    assert following(link) == next_


@given(st.text(max_size=200))
def test_no_link_leads_to_another_origin_or_breaks_the_reading(link: str) -> None:
    following(link)
    host_in(link)
    target = target_on(Origin("https", "h.example", 443), "/a/b?c", link)
    assert target is None or (target.startswith("/") and target.isascii() and " " not in target)


@pytest.mark.parametrize(
    "link", ["//evil.example/", "http://h.example/", "https://h.example:444/", "https://h.example@evil.example/"]
)
def test_links_that_only_look_alike_are_not_followed(link: str) -> None:
    assert target_on(Origin("https", "h.example", 443), "/a", link) is None
    assert target_on(Origin("https", "h.example", 443), "/a", "https://H.example:443/b?c=d#e") == "/b?c=d"
