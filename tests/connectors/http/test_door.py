"""What becomes of a call: answers, errors of each kind, what is tried again and what never is."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from functools import partial
from itertools import pairwise
from threading import Thread
from typing import Any

import anyio
import pytest

from keyturn.connectors.http import Nobody
from keyturn.connectors.http.authority import FromSource
from keyturn.model.errors import ConnectorError
from tests.connectors.http.conftest import Open, Serve
from tests.connectors.http.server import Saying, in_turn, said
from tests.connectors.http.sources import CANARY, Fixed

pytestmark = pytest.mark.anyio

CUT = Saying((b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",), "close")
SILENT = Saying((), "close")
GONE = Saying((), "reset")
GARBAGE = Saying((b"\x00\xffthis is no HTTP\r\n\r\n",), "close")
STALLED = Saying((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",), "hold")


async def test_a_read_sends_who_asks_and_returns_the_answer(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, {"number": 7}, X_Kept="yes", Set_Cookie="a=b")))
    door = door_to(server, url=f"{server.url}/api/v3/")
    answer = await door.read(
        "/pulls/ä b", params={"state": "open", "labels": ["a", "b&c"]}, headers={"accept": "x/y"}
    )
    assert (answer.status, answer.json()) == (200, {"number": 7})
    assert answer.headers["x-kept"] == "yes"
    assert "set-cookie" not in answer.headers
    (heard,) = server.heard
    assert heard.target == "/api/v3/pulls/%C3%A4%20b?state=open&labels=a&labels=b%26c"
    assert heard.headers["authorization"] == f"Bearer {CANARY}"
    assert heard.headers["accept"] == "x/y"
    assert heard.headers["host"] == f"127.0.0.1:{server.port}"
    assert "content-length" not in heard.headers


async def test_a_change_sends_its_body_as_json_unless_it_says_otherwise(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(201, {})))
    door = door_to(server)
    await door.change("POST", "/a", body={"title": "ü"})
    await door.change("PATCH", "/b", body=[{"op": "test"}], headers={"content-type": "application/json-patch+json"})
    await door.change("DELETE", "/c", body=None)
    first, second, third = server.heard
    assert (json.loads(first.body), first.headers["content-type"]) == ({"title": "ü"}, "application/json")
    assert second.headers["content-type"] == "application/json-patch+json"
    assert (third.body, third.headers["content-length"]) == (b"", "0")


async def test_an_expected_status_is_an_answer(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(404, {"message": "Not Found"}))))
    assert (await door.read("/x", expected=frozenset({404}))).json() == {"message": "Not Found"}
    with pytest.raises(ConnectorError, match=r"forge\.shop: GET /x: answered 404: Not Found") as refused:
        await door.read("/x", params={"token": "hush"})
    assert refused.value.kind == "refused"
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "fields", "read", "change"),
    [
        (400, {}, "refused", "refused"),
        (401, {}, "refused", "refused"),
        (403, {}, "refused", "refused"),
        (404, {}, "refused", "refused"),
        (409, {}, "conflict", "conflict"),
        (412, {}, "conflict", "conflict"),
        (422, {}, "refused", "refused"),
        (429, {}, "retry", "retry"),
        (429, {"Retry_After": 99}, "retry", "retry"),
        (403, {"Retry_After": 99}, "retry", "retry"),
        (403, {"X_RateLimit_Remaining": 0, "X_RateLimit_Reset": 999}, "retry", "retry"),
        (503, {"Retry_After": 99}, "retry", "retry"),
        (408, {}, "retry", "unknown"),
        (500, {}, "retry", "unknown"),
        (502, {}, "retry", "unknown"),
        (503, {}, "retry", "unknown"),
        (504, {}, "retry", "unknown"),
        (302, {"Location": "https://elsewhere.example/?token=hush"}, "refused", "refused"),
    ],
)
async def test_a_status_is_sorted(
    serve: Serve, door_to: Open, *, status: int, fields: dict[str, Any], read: str, change: str
) -> None:
    server = serve(in_turn(said(status, {"message": "words"}, **fields)))
    again = {"deadline": 0.2} if read == "retry" else {}  # for as long it is asked again
    with pytest.raises(ConnectorError) as of_read:
        await door_to(server, **again).read("/x")
    with pytest.raises(ConnectorError) as of_change:
        await door_to(server).change("POST", "/x", body={})
    assert (of_read.value.kind, of_change.value.kind) == (read, change)
    assert "hush" not in f"{of_read.value}{of_change.value}"
    assert len([heard for heard in server.heard if heard.method == "POST"]) <= 1


async def test_the_wait_that_a_system_names_is_told(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(429, Retry_After=99))))
    with pytest.raises(ConnectorError) as limited:
        await door.read("/x")
    assert (limited.value.kind, limited.value.retry_after) == ("retry", 99)


async def test_a_secondary_limit_without_a_time_is_told_as_a_minute(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(403, {"message": "You have exceeded a secondary rate limit."}))))
    with pytest.raises(ConnectorError) as limited:
        await door.change("POST", "/x", body={})
    assert (limited.value.kind, limited.value.retry_after) == ("retry", 60)


async def test_a_wait_that_fits_is_waited_for(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(429, Retry_After=1), said(200, {"fine": True})))
    began = time.monotonic()
    assert (await door_to(server).change("POST", "/x", body={})).json() == {"fine": True}
    assert time.monotonic() - began >= 1
    assert len(server.heard) == 2


async def test_a_limit_met_by_one_change_is_kept_by_the_next(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(429, Retry_After=50), said(200, {})))
    with pytest.raises(ConnectorError):
        await door_to(server).change("POST", "/x", body={})
    with pytest.raises(ConnectorError, match=r"wants no change before [45]\d s from now") as waits:
        await door_to(server).change("POST", "/y", body={})
    assert waits.value.retry_after in range(40, 51)
    assert len(server.heard) == 1


@pytest.mark.parametrize("fault", [CUT, SILENT, GONE, GARBAGE, said(502), said(500)], ids=range(6))
async def test_a_read_is_tried_again(serve: Serve, door_to: Open, fault: Saying) -> None:
    server = serve(in_turn(fault, said(200, {"fine": True})))
    assert (await door_to(server).read("/x")).json() == {"fine": True}
    assert len(server.heard) == 2


async def test_a_query_that_is_posted_is_tried_again_as_a_read(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(SILENT, said(200, [1])))
    assert (await door_to(server).post_read("/q", body={"query": "…"})).json() == [1]
    assert [heard.body for heard in server.heard] == [server.heard[0].body] * 2


@pytest.mark.parametrize("fault", [CUT, SILENT, GONE, GARBAGE, STALLED, said(502), said(500)], ids=range(7))
async def test_a_change_whose_answer_is_lost_is_unknown_and_never_sent_again(
    serve: Serve, door_to: Open, fault: Saying
) -> None:
    server = serve(in_turn(fault, said(200, {})))
    with pytest.raises(ConnectorError) as lost:
        await door_to(server, timeout=1 if fault is STALLED else 30).change("POST", "/x", body={"n": 1})
    assert lost.value.kind == "unknown"
    assert len(server.heard) == 1


async def test_a_change_whose_answer_is_unreadable_is_unknown(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(200, raw=b"<html>"))))
    with pytest.raises(ConnectorError, match="is no JSON") as unreadable:
        (await door.change("POST", "/x", body={})).json()
    assert unreadable.value.kind == "unknown"
    with pytest.raises(ConnectorError, match="is no JSON") as unreadable:
        (await door.read("/x")).json()
    assert unreadable.value.kind == "refused"


@pytest.mark.parametrize("body", [b"", b"NaN", b"[" * 100_000, b"\xff", b'{"a":}', b"1" * 5000])
async def test_what_is_no_json_is_said_to_be_none(serve: Serve, door_to: Open, body: bytes) -> None:
    answer = await door_to(serve(in_turn(said(200, raw=body)))).read("/x")
    with pytest.raises(ConnectorError, match="is no JSON") as unreadable:
        answer.json()
    assert unreadable.value.__context__ is None


async def test_a_change_that_met_nobody_is_tried_again_and_is_not_unknown(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200)))
    door = door_to(server, url="http://127.0.0.1:1", deadline=1)
    with pytest.raises(ConnectorError, match="nothing listens there") as alone:
        await door.change("POST", "/x", body={})
    assert alone.value.kind == "retry"


async def test_a_call_ends_with_its_deadline(serve: Serve, door_to: Open) -> None:
    drip = Saying((b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", *(b"x" for _ in range(800))), every=0.05)
    door = door_to(serve(in_turn(drip)), timeout=20, deadline=0.6)
    for call, kind in ((door.read("/x"), "retry"), (door.change("PUT", "/x", body={}), "unknown")):
        began = time.monotonic()
        with pytest.raises(ConnectorError, match=r"within 0\.6 s") as late:
            await call
        assert late.value.kind == kind
        assert 0.5 < time.monotonic() - began < 15


async def test_one_try_ends_with_its_timeout_and_leaves_time_for_the_next(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(STALLED, said(200, {"fine": True})))
    assert (await door_to(server, timeout=0.3).read("/x")).json() == {"fine": True}


async def test_a_cancelled_call_leaves_at_once(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(STALLED)))
    with anyio.move_on_after(0.2) as scope:
        await door.read("/x")
    assert scope.cancelled_caught


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_is_read_no_further_than_its_bound(serve: Serve, door_to: Open, packed: bool) -> None:
    raw = gzip.compress(b"x" * 10_000_000) if packed else b"x" * 20_000
    fields: dict[str, Any] = {"Content_Encoding": "gzip"} if packed else {}
    door = door_to(serve(in_turn(said(200, raw=raw, **fields))))
    with pytest.raises(ConnectorError, match="holds more than 15000 bytes") as large:
        await door.read("/x", limit=15_000)
    assert large.value.kind == "refused"


async def test_a_gzip_bomb_costs_no_more_memory_than_the_bound(serve: Serve, door_to: Open) -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    server = serve(in_turn(said(200, raw=bomb, Content_Encoding="gzip")))
    tracemalloc.start()
    try:
        with pytest.raises(ConnectorError, match="holds more than 8388608 bytes"):
            await door_to(server).read("/x")
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


async def test_a_packed_answer_is_unpacked(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, raw=gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")))
    assert (await door_to(server).read("/x")).json() == {"a": 1}
    assert server.heard[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("raw", "encoding", "words", "kind"),
    [
        (b"x", "br", "packed in a way", "refused"),
        (b"x", "gzip, gzip", "packed in a way", "refused"),
        (b"not gzip", "gzip", "is not", "refused"),
        (gzip.compress(b"{}" * 999, mtime=0)[:-9], "gzip", "cut off", "retry"),
        (gzip.compress(b"[", mtime=0) + gzip.compress(b"]", mtime=0), "gzip", "goes on after the end", "refused"),
        (gzip.compress(b"{}", mtime=0) + b"x" * 20_000_000, "gzip", "goes on after the end", "refused"),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(
    serve: Serve, door_to: Open, *, raw: bytes, encoding: str, words: str, kind: str
) -> None:
    door = door_to(serve(in_turn(said(200, raw=raw, Content_Encoding=encoding))), deadline=0.2)
    with pytest.raises(ConnectorError, match=words) as unreadable:
        await door.read("/x")
    assert unreadable.value.kind == kind


async def test_redirects_of_reads_are_followed_on_the_same_origin(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(301, Location="/b?c=d"), said(307, Location="e"), said(200, {"fine": True})))
    assert (await door_to(server).read("/a")).json() == {"fine": True}
    assert [heard.target for heard in server.heard] == ["/a", "/b?c=d", "/e"]


async def test_redirects_come_to_an_end(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(302, Location="/again")))
    with pytest.raises(ConnectorError, match="more than 3 times"):
        await door_to(server).read("/a")
    assert len(server.heard) == 4


@pytest.mark.parametrize(
    "location",
    [
        "//127.0.0.1:1/x",
        "https://127.0.0.1/x",
        "http://user@HERE/x",
        "http://127.0.0.2/x",
        "http://[oops",
        "",
        "ftp://HERE/",
    ],
)
async def test_a_redirect_elsewhere_is_refused(serve: Serve, door_to: Open, location: str) -> None:
    server = serve(lambda _: said(302, Location=location.replace("HERE", f"127.0.0.1:{server.port}")))
    with pytest.raises(ConnectorError, match="not followed") as refused:
        await door_to(server).read("/a")
    assert (refused.value.kind, len(server.heard)) == ("refused", 1)


async def test_a_redirect_of_a_change_or_query_is_refused(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(307, Location="/b")))
    door = door_to(server)
    for method, call in (("POST", door.change), ("GET", door.change), ("POST", partial(door.post_read, body={}))):
        with pytest.raises(ConnectorError, match="answered 307 and points to another path: not followed"):
            await (call("/a") if isinstance(call, partial) else call(method, "/a", body={}))
    assert len(server.heard) == 3


async def test_a_credential_that_is_refused_is_fetched_anew_once(serve: Serve, door_to: Open) -> None:
    server = serve(lambda heard: said(200, {}) if "second" in heard.headers["authorization"] else said(401))
    authority = FromSource(Fixed("the-first", ["the-second"]))
    await door_to(server, authority).change("POST", "/x", body={})
    assert [heard.headers["authorization"] for heard in server.heard] == ["Bearer the-first", "Bearer the-second"]


async def test_a_credential_that_stays_refused_is_told(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(401, {"message": "Bad credentials"})))
    for source, tries in ((Fixed("the-first", ["the-second", "the-third"]), 2), (Fixed("the-only"), 1)):
        before = len(server.heard)
        with pytest.raises(ConnectorError, match="answered 401: Bad credentials") as refused:
            await door_to(server, FromSource(source)).read("/x")
        assert refused.value.kind == "refused"
        assert len(server.heard) - before == tries


async def test_nobody_sends_no_credential(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(401)))
    with pytest.raises(ConnectorError, match="answered 401"):
        await door_to(server, Nobody()).read("/x")
    assert "authorization" not in server.heard[0].headers


@pytest.mark.parametrize("text", ["two\nlines", "n\x00l", "ümlaut", " before", ""])
async def test_a_credential_that_fits_into_no_field_is_not_sent(serve: Serve, door_to: Open, text: str) -> None:
    server = serve(in_turn(said(200)))
    with pytest.raises(ConnectorError, match="holds characters that cannot be sent") as unsent:
        await door_to(server, FromSource(Fixed(text), prefix="")).read("/x")
    assert server.heard == []
    assert not text.strip() or text not in str(unsent.value)


@pytest.mark.parametrize(
    "path", ["x", "", "/a/../b", "/a/%2e%2e/b", "/a/..%2fb", "/a?b", "/a#b", "/a\\b", "/a\nb", "/a%zz", "/."]
)
async def test_a_path_stays_below_the_url(serve: Serve, door_to: Open, path: str) -> None:
    server = serve(in_turn(said(200)))
    with pytest.raises(ConnectorError, match="is no path below the url"):
        await door_to(server).read(path)
    assert server.heard == []


async def test_a_query_that_is_no_text_is_refused(serve: Serve, door_to: Open) -> None:
    with pytest.raises(ConnectorError, match="is no path below the url"):
        await door_to(serve(in_turn(said(200)))).read("/x", params={"continue": "\ud800"})


async def test_fields_of_ours_cannot_smuggle_lines(serve: Serve, door_to: Open) -> None:
    with pytest.raises(ValueError, match="cannot be sent as a field"):
        await door_to(serve(in_turn(said(200)))).read("/x", headers={"X": "a\r\nY: b"})


async def test_a_body_that_json_cannot_hold_is_refused(serve: Serve, door_to: Open) -> None:
    with pytest.raises(ConnectorError, match="what JSON cannot hold"):
        await door_to(serve(in_turn(said(200)))).change("POST", "/x", body={"n": float("nan")})  # type: ignore[dict-item]


async def test_pages_are_followed_in_order(serve: Serve, door_to: Open) -> None:
    def script(heard: object) -> Saying:
        number = len(server.heard)
        link = f'<{server.url}/list?page={number + 1}>; rel="next", <{server.url}/list?page=3>; rel="last"'
        return said(200, [number], Link=link if number < 3 else '</list>; rel="prev"')

    server = serve(script)
    assert await door_to(server).pages("/list", params={"per_page": 1}, most=3) == [1, 2, 3]
    assert [heard.target for heard in server.heard] == ["/list?per_page=1", "/list?page=2", "/list?page=3"]
    server.heard.clear()
    with pytest.raises(ConnectorError, match="lists more than 2 items"):
        await door_to(server).pages("/list", most=2)


async def test_pages_may_be_objects_with_a_list(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(said(200, {"total_count": 1, "check_runs": [{"id": 1}]}))))
    assert await door.pages("/runs", most=5, member="check_runs") == [{"id": 1}]
    with pytest.raises(ConnectorError, match="is no list"):
        await door.pages("/runs", most=5)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ('<https://elsewhere.example/?token=hush>; rel="next"', "its next page is on another host"),
        ('</list>; rel="next"', "do not come to an end"),
    ],
)
async def test_pages_that_lead_elsewhere_or_in_a_circle_are_refused(
    serve: Serve, door_to: Open, link: str, words: str
) -> None:
    with pytest.raises(ConnectorError, match=words) as refused:
        await door_to(serve(in_turn(said(200, [], Link=link)))).pages("/list", most=9)
    assert "hush" not in str(refused.value)


async def test_connections_are_kept_for_a_moment_and_are_never_too_many(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, {})))
    door = door_to(server)
    for _ in range(5):
        await door.read("/x")
    assert server.connections == 1
    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(door.read, "/x")
    assert len(server.heard) == 45
    assert server.connections <= 10


async def test_calls_that_were_cancelled_leave_their_connections_to_others(serve: Serve, door_to: Open) -> None:
    server = serve(lambda heard: STALLED if heard.target == "/slow" else said(200, {}))
    door = door_to(server)
    with anyio.move_on_after(0.3):
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(door.read, "/slow")
    for _ in range(12):
        assert (await door.read("/x")).status == 200


async def test_a_change_does_not_ride_on_a_connection_that_was_kept(serve: Serve, door_to: Open) -> None:
    server = serve(lambda heard: said(200, {}, then="reset" if heard.method == "GET" else "keep"))
    door = door_to(server)
    for number in range(10):
        await door.read("/x")
        assert (await door.change("POST", "/x", body={})).status == 200
        assert server.connections == 2 * (number + 1)


def test_threads_use_one_door_at_the_same_time(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, {})))
    door = door_to(server)

    async def several() -> None:
        for _ in range(5):
            await door.read("/x")
            await door.change("POST", "/x", body={})

    threads = [Thread(target=anyio.run, args=(several,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.heard) == 40
    changes = sorted(heard.times for heard in server.heard if heard.method == "POST")
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(changes))


def test_each_event_loop_has_connections_of_its_own(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200, {})))
    door = door_to(server)
    for _ in range(3):
        assert anyio.run(door.read, "/x").status == 200
    assert server.connections == 3


async def test_what_an_answer_says_is_cleaned_and_bounded(serve: Serve, door_to: Open) -> None:
    long = "a\x1b[31m" + "b" * 5000
    errors = [{"message": "no ref"}, {"resource": "Pull", "field": "head", "code": "invalid"}, "plain", 7]
    sayings = (said(422, {"message": long, "errors": errors}), said(422, {"message": "Bad", "errors": errors}))
    door = door_to(
        serve(in_turn(*sayings, said(404, raw=b"<html>no</html>"), said(404, raw=b"text"), said(404, [1])))
    )
    found = []
    for _ in range(5):
        with pytest.raises(ConnectorError) as refused:
            await door.read("/x")
        found.append(str(refused.value).removeprefix("forge.shop: GET /x: answered "))
    assert "\x1b" not in found[0]
    assert len(found[0]) < 320
    assert found[1:] == ["422: Bad; no ref; Pull head invalid; plain", "404", "404: text", "404"]


def test_a_door_says_where_it_leads_and_no_more(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(said(200)))
    door = door_to(server)
    assert repr(door) == f"Door(forge.shop, {server.url})"
    assert door.host == f"127.0.0.1:{server.port}"


async def test_bytes_are_posted_as_they_are_and_again_where_a_connection_broke(serve: Serve, door_to: Open) -> None:
    server = serve(in_turn(GONE, said(409, {}), said(200, raw=b"ok")))
    door = door_to(server)
    answer = await door.post_bytes("/add", data=b"old 0\n\n\xff", content="text/plain", expected=frozenset({409}))
    assert answer.status == 409
    answer = await door.post_bytes("/add", data=b"", content="text/plain")
    assert (answer.status, answer.body) == (200, b"ok")
    assert [(heard.method, heard.body) for heard in server.heard[-2:]] == [("POST", b"old 0\n\n\xff"), ("POST", b"")]
    assert server.heard[-1].headers["content-type"] == "text/plain"
