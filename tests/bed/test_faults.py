"""Each fault does upstream and downstream exactly what it is named for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import httpx2
import pytest

from tests.bed.asking import ask, closed
from tests.bed.faults import (
    Deed,
    DoneBut,
    DropAfter,
    DropBefore,
    Fault,
    FaultProxy,
    Garble,
    Gate,
    Hold,
    Instead,
    Meanwhile,
    Truncate,
    Twice,
    echo,
    kubernetes_refusal,
    refusal,
)
from tests.bed.recorder import Answer, Next, Proxy, Request, answer


class Counter:
    """An upstream whose state is what it did: it counts its POSTs."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, request: Request, onward: Next) -> Answer:
        if request.method == "POST":
            self.count += 1
        return answer(201 if request.method == "POST" else 200, {"count": self.count, "sent": request.json()})


@pytest.fixture
def counter() -> Iterator[tuple[Counter, FaultProxy]]:
    counting = Counter()
    with Proxy(("127.0.0.1", 9), layers=[counting]) as upstream, FaultProxy(upstream.url) as proxy:
        yield counting, proxy


def post(proxy: Proxy) -> httpx2.Response:
    return ask("POST", f"{proxy.url}/things", body={"a": 1})


def test_without_faults_everything_passes(counter: tuple[Counter, FaultProxy]) -> None:
    counting, proxy = counter
    assert (post(proxy).status_code, counting.count) == (201, 1)
    assert proxy.seen.effects("POST", "/things") == proxy.reached.effects() == 1


@pytest.mark.parametrize(
    ("deed", "counted"),
    [
        (DropBefore(), 0),
        (DropBefore(reset=True), 0),
        (DropAfter(), 1),
        (DropAfter(reset=True), 1),
        (Truncate(), 1),
        (Truncate(0), 1),
    ],
)
def test_a_line_that_breaks_before_or_after(counter: tuple[Counter, FaultProxy], deed: Deed, counted: int) -> None:
    counting, proxy = counter
    proxy.faults.set(Fault("POST", "/things", deed))
    with pytest.raises(httpx2.TransportError):
        post(proxy)
    assert (counting.count, len(proxy.reached.changes()), len(proxy.faults.struck)) == (counted, counted, 1)
    assert proxy.seen.changes()[0].status is None
    assert post(proxy).json()["count"] == counted + 1


def test_a_request_that_came_twice_was_done_twice(counter: tuple[Counter, FaultProxy]) -> None:
    counting, proxy = counter
    proxy.faults.set(Fault("POST", "/things", Twice(2)))
    assert post(proxy).json()["count"] == 2
    assert (counting.count, proxy.reached.effects("POST")) == (2, 2)
    assert proxy.seen.effects("POST") == 1


@pytest.mark.parametrize("status", [409, 412, 422, 500, 502, 503])
def test_an_error_instead_of_the_deed(counter: tuple[Counter, FaultProxy], status: int) -> None:
    counting, proxy = counter
    proxy.faults.set(Fault("POST", "/things", Instead(refusal(status, "no"))))
    told = post(proxy)
    assert (told.status_code, told.json()["message"], counting.count) == (status, "no", 0)


def test_too_many_requests_with_the_time_to_wait(counter: tuple[Counter, FaultProxy]) -> None:
    proxy = counter[1]
    proxy.faults.set(Fault("*", ".*", Instead(refusal(429, "slow down", retry_after="7")), nth=0))
    assert [post(proxy).headers["retry-after"] for _ in (1, 2)] == ["7", "7"]


def test_an_error_after_the_deed_and_a_success_without_it(counter: tuple[Counter, FaultProxy]) -> None:
    counting, proxy = counter
    proxy.faults.set(
        Fault("POST", "/things", DoneBut(refusal(500))),
        Fault("POST", "/things", Instead(echo(201, number=12)), nth=2),
        Fault("GET", "/things", Garble()),
    )
    assert (post(proxy).status_code, counting.count) == (500, 1)
    lied = post(proxy)
    assert (lied.status_code, lied.json()["a"], lied.json()["number"], counting.count) == (201, 1, 12, 1)
    garbled = ask("GET", f"{proxy.url}/things")
    assert garbled.headers["content-type"].startswith("application/json")
    with pytest.raises(ValueError, match=r"Expecting value|decode"):
        json.loads(garbled.content)
    assert len(proxy.faults.struck) == 3


def test_the_nth_match_is_struck_and_no_other(counter: tuple[Counter, FaultProxy]) -> None:
    proxy = counter[1]
    proxy.faults.set(Fault("change", "/thin.*", Instead(refusal(409)), nth=2))
    ask("GET", f"{proxy.url}/things")
    assert [post(proxy).status_code for _ in range(3)] == [201, 409, 201]


@pytest.mark.parametrize(("after", "counted"), [(False, 0), (True, 1)])
def test_a_request_is_held_until_it_is_let_go(counter: tuple[Counter, FaultProxy], after: bool, counted: int) -> None:
    counting, proxy = counter
    gate, statuses = Gate(), list[int]()
    proxy.faults.set(Fault("POST", "/things", Hold(gate, after)))
    sending = threading.Thread(target=lambda: statuses.append(post(proxy).status_code))
    sending.start()
    gate.wait()
    assert (counting.count, statuses) == (counted, [])
    gate.open()
    sending.join(20)
    assert (counting.count, statuses) == (1, [201])


@pytest.mark.parametrize(("after", "counted"), [(False, [0]), (True, [1])])
def test_something_else_is_done_meanwhile(
    counter: tuple[Counter, FaultProxy], after: bool, counted: list[int]
) -> None:
    counting, proxy = counter
    seen: list[int] = []
    proxy.faults.set(Fault("POST", "/things", Meanwhile(lambda: seen.append(counting.count), after)))
    assert (post(proxy).status_code, seen) == (201, counted)


def test_a_conflict_in_the_words_of_kubernetes(counter: tuple[Counter, FaultProxy]) -> None:
    proxy = counter[1]
    proxy.faults.set(Fault("POST", ".*", Instead(kubernetes_refusal(409, "Conflict"))))
    told = post(proxy).json()
    assert (told["kind"], told["reason"], told["code"]) == ("Status", "Conflict", 409)


def test_requests_are_written_down_without_credentials(counter: tuple[Counter, FaultProxy]) -> None:
    proxy = counter[1]
    ask("POST", f"{proxy.url}/a%2Fb?q=1&r=%20", "canary-token", {"a": 1}, x_more="yes")
    one = proxy.reached.exchanges[0]
    assert (one.method, one.path, one.query, one.json(), one.scheme) == (
        "POST",
        "/a%2Fb",
        "q=1&r=%20",
        {"a": 1},
        "Bearer",
    )
    assert (one.header("x-more"), one.header("authorization")) == ("yes", None)
    assert one.fits("POST", "/a/b")
    assert "canary-token" not in repr(proxy.seen) + repr(proxy.reached)
    assert one.credential == proxy.seen.exchanges[0].credential != ""


def test_a_line_is_kept_and_large_and_piecewise_bodies_pass(counter: tuple[Counter, FaultProxy]) -> None:
    proxy = counter[1]
    with httpx2.Client(base_url=proxy.url, trust_env=False) as client:
        large = "x" * (3 << 20)
        assert client.post("/things", json=large).json()["sent"] == large
        pieces = iter([b'{"a": ', b"1}"])
        assert client.post("/things", content=pieces).json()["sent"] == {"a": 1}
        assert client.head("/things").content == b""


def test_an_upstream_that_is_gone_answers_bad_gateway_and_the_proxy_ends() -> None:
    with FaultProxy(("127.0.0.1", 9)) as proxy:
        assert post(proxy).status_code == 502
        port = proxy.port
    assert closed(port)


def test_a_layer_that_fails_of_itself_fails_the_test() -> None:
    async def failing(request: Request, onward: Next) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(AssertionError, match="ZeroDivisionError"), Proxy(("127.0.0.1", 9), layers=[failing]) as proxy:
        assert post(proxy).status_code == 599
