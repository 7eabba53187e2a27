"""No credential is in any message, chain, frame, log or `repr`, whatever goes wrong."""

from __future__ import annotations

import gc
import logging
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.credentials import Secret, source_of
from keyturn.connectors.http import Door, FromSource
from tests.connectors.http.certificates import Signer
from tests.connectors.http.conftest import Open, Serve
from tests.connectors.http.server import Heard, Saying, in_turn, said
from tests.connectors.http.sources import CANARY
from tests.connectors.surroundings import world_at

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    """What tests before this one left in the process is not looked at: it is much, and not of this test."""
    gc.freeze()
    yield
    gc.unfreeze()


def shown(error: BaseException) -> str:
    """Return all that an error and whatever hangs on it show, with the locals of every frame of ours."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and not any(found is one for one in seen):
            seen.append(found)
            waiting += [found.__cause__, found.__context__]
    texts = [f"{found!r} {found} {found.args!r} {vars(found)!r}" for found in seen]
    for found in seen:
        summary = traceback.TracebackException.from_exception(found, capture_locals=True)
        texts += [str(frame.locals) for frame in summary.stack if "/keyturn/" in frame.filename]
    return "\n".join(texts)


def live() -> str:
    """Return the `repr` of every object of ours that the test made or that a module keeps."""
    kept = [
        value for name, module in sys.modules.items() if name.startswith("keyturn") for value in vars(module).values()
    ]
    ours = [found for found in (*gc.get_objects(), *kept) if str(type(found).__module__).startswith("keyturn")]
    return "\n".join(map(repr, ours))


def echo(heard: Heard) -> Saying:
    """Say back everything that was heard, as a careless or a hostile system would."""
    fields = heard.headers["authorization"]
    return said(
        int(heard.target[1:4]),
        {"message": f"you sent {fields}"},
        X_Echo=fields,
        Location=f"https://{CANARY}.example/{fields}",
    )


CUT = Saying((b"HTTP/1.1 200 OK\r\nX-Echo: " + CANARY.encode() + b"\r\nContent-Length: 100\r\n\r\n{}",), "close")
FAULTS = {
    "cut": CUT,
    "silent": Saying((), "close"),
    "reset": Saying((), "reset"),
    "garbage": Saying((CANARY.encode() + b"\r\n\r\n",), "close"),
    "stalled": Saying((), "hold"),
    "large": said(200, raw=CANARY.encode() * 1_000_000),
    "packed": said(200, raw=CANARY.encode(), Content_Encoding="gzip"),
}


async def failing(door: Door, path: str = "/x") -> list[BaseException]:
    """Make a read and a change that fail, and return their errors."""
    found: list[BaseException] = []
    for call in (door.read(path, params={"q": "hush"}), door.change("POST", path, body={"b": "hush"})):
        try:
            (await call).json()
        except Exception as error:  # noqa: BLE001 - looked at below
            found.append(error)
    assert len(found) == 2
    assert not any("hush" in str(error) for error in found)
    return found


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_of_the_network_shows_a_credential(
    serve: Serve, door_to: Open, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "keyturn"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    door = door_to(serve(in_turn(FAULTS[fault])), deadline=0.5, timeout=0.1)
    for error in await failing(door):
        assert CANARY not in shown(error)
    assert CANARY not in caplog.text
    assert "httpcore2" in caplog.text
    assert CANARY not in live()


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 429, 500, 503, 302])
async def test_no_answer_brings_a_credential_into_an_error(
    serve: Serve, door_to: Open, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    door = door_to(serve(echo), deadline=0.3)
    for error in await failing(door, f"/{status}"):
        assert CANARY not in shown(error)
        told = " and points to <secret>.example" if status == 302 else ": you sent <secret>"
        assert f"answered {status}{told}" in str(error)
    assert CANARY not in caplog.text
    assert CANARY not in live()


async def test_no_answer_that_is_fine_shows_what_it_holds(serve: Serve, door_to: Open) -> None:
    answer = await door_to(serve(echo)).read("/200")
    assert CANARY in answer.json()["message"]
    assert CANARY not in repr(answer)
    assert repr(answer) in live()  # it is looked at
    assert CANARY not in live()


async def test_no_refused_connection_shows_a_credential(door_to: Open, serve: Serve, tmp_path: Path) -> None:
    server = serve(in_turn(said(200)))
    signer = Signer("unknown", tmp_path)
    for settings in (
        {"url": "http://127.0.0.1:1"},
        {"url": f"https://127.0.0.1:{server.port}"},
        {"url": f"https://127.0.0.1:{server.port}", "ca": str(signer.path)},
        {"url": "https://nobody.invalid"},
        {"url": "https://h.example", "proxy": "http://127.0.0.1:1"},
    ):
        for error in await failing(door_to(server, deadline=0.3, **settings)):
            assert CANARY not in shown(error)


async def test_a_cancelled_call_shows_no_credential(serve: Serve, door_to: Open) -> None:
    door = door_to(serve(in_turn(Saying((), "hold"))))
    with pytest.raises(TimeoutError) as late:
        with anyio.fail_after(0.2):
            await door.change("POST", "/x", body={})
    assert CANARY not in shown(late.value)


@pytest.mark.parametrize("kind", ["env", "file", "command"])
@pytest.mark.parametrize("text", [f"{CANARY}\n{CANARY}", f"{CANARY}\x00", f"ü{CANARY}", CANARY * 9000])
async def test_no_credential_that_is_unfit_is_shown(
    serve: Serve, door_to: Open, tmp_path: Path, *, kind: str, text: str
) -> None:
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    world = world_at(tmp_path, {"TOKEN": text, "PATH": "/usr/bin:/bin"})
    spec = {"env": "env:TOKEN", "file": "file:token", "command": "command:cat token"}[kind]
    source = source_of("forge.shop.token", spec, world)
    server = serve(in_turn(said(200)))
    for error in await failing(door_to(server, FromSource(source))):
        assert CANARY not in shown(error)
    assert server.heard == []
    assert CANARY not in live()
    assert CANARY not in repr(source)


async def test_a_program_that_fails_shows_nothing_of_what_it_printed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY)
    world = world_at(tmp_path, {"PATH": "/usr/bin:/bin"})
    source = source_of("forge.shop.token", "command:sh -c 'cat token; cat token >&2; exit 3'", world)
    with pytest.raises(Exception, match=r"the program sh failed \(3\)") as failed:
        await source.read()
    assert CANARY not in shown(failed.value)
    assert CANARY not in repr(source)


def test_a_secret_shows_itself_in_no_way() -> None:
    secret = Secret(CANARY)
    ways = (repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret, repr([secret]))  # noqa: UP031
    assert all("<secret>" in way and CANARY not in way for way in ways)
    assert CANARY.encode() not in pickle.dumps(secret)
    assert secret.reveal() == CANARY
    assert CANARY not in repr(secret.after("Bearer "))
