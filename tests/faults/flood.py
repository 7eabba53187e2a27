"""A flood over HTTP: one assistant that sends whatever is refused as fast as it is answered, on many connections."""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.server.web import ACCEPT, call

CONNECTIONS = 16
TIMEOUT = 60.0

Request = tuple[dict[str, str], bytes]


def request(message: dict[str, Any], token: str) -> Request:
    """Return headers and body of one call in the newest era."""
    headers = {
        "Accept": ACCEPT,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": str(message["method"]),
        "Mcp-Name": str(message["params"]["name"]),
    }
    return headers, json.dumps(message).encode()


def refusable(token: str, chance: random.Random) -> Iterator[Request]:
    """Yield calls without end that are malformed, unknown, refused, or held up to the cap on what waits."""
    while True:
        word = f"{chance.getrandbits(64):016x}"
        match chance.randrange(7):
            case 0:
                yield request(call(f"tool_{word}"), token)
            case 1:
                yield request(call("update_ticket", ticket=f"../{word}", comment=word), token)
            case 2:
                yield request(call("update_ticket", ticket="OPS-1", comment=word, status="closed"), token)
            case 3:
                yield request(call("update_ticket", ticket=f"OPS-{word}", comment=word), token)
            case 4:
                yield request(call("get_ticket", ticket=chance.randrange(10), **{word: word}), token)
            case 5:
                headers, body = request(call("get_ticket", ticket="OPS-1"), token)
                yield headers, body[: chance.randrange(len(body))]
            case _:
                yield request(call("update_ticket", ticket="OPS-1", comment=word * 5000), token)


def post(connection: http.client.HTTPConnection, request_: Request) -> int:
    """Send one request and read its answer whole; return the status."""
    headers, body = request_
    connection.request("POST", "/mcp", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def flood(address: tuple[str, int], token: str, count: int, seed: int) -> Counter[int]:
    """Send `count` such calls on sixteen connections at once; return how often each status was answered."""

    def one(number: int) -> Counter[int]:
        requests = refusable(token, random.Random(seed * 1000 + number))
        connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
        try:
            return Counter(post(connection, next(requests)) for _ in range(count // CONNECTIONS))
        finally:
            connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(one, range(CONNECTIONS)), Counter())
