"""Another policy in force: running servers go by it at once, and tell their clients that their tools have changed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import MessageHandlerFnT
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost

from keyturn.gateway.acts import draft_activation, read_candidate, submit_act
from keyturn.sshsig.signing import sign
from tests.server.clients import MODES, Mode
from tests.server.home import SECONDS, Place, found
from tests.server.web import site
from tests.sshsig.keys import environment

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", MODES)]

GONE = "get_ticket"
GRANT = 'id = "assistants look at tickets"'
NAME = types.Implementation(name="tests", version="1")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home of its own: what is changed here is changed for nobody else."""
    return found(tmp_path)


def activate(place: Place, *, grants: bool) -> None:
    """Put a policy in force in which the grant to read tickets counts for assistants, or for codex alone."""
    path = place.folder / "policy.toml"
    before, grant = path.read_text().split(GRANT)
    everybody, one = 'principals = ["group:assistants"]', 'principals = ["codex"]'
    grant = grant.replace(one, everybody, 1) if grants else grant.replace(everybody, one, 1)
    if "[principals.codex]" not in before:
        before = before.replace("[principals.claude]", "[principals.codex]\n\n[principals.claude]", 1)
    path.write_text(before + GRANT + grant)
    with place.gateway() as gate:
        draft = draft_activation(gate.ledger, read_candidate(place.home.policy_files(), gate.catalog), "alice")
        signature = sign(
            draft.to_sign, key=place.key, namespace="keyturn.act.v1", environment=environment(place.key.parent)
        )
        submit_act(gate.ledger, draft, signature)


@asynccontextmanager
async def over_stdio(place: Place, mode: Mode, handler: MessageHandlerFnT | None) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(command=sys.executable, args=place.serve(), env={"KEYTURN_TOKEN": place.token})
    transport = stdio_client(parameters)
    async with Client(
        transport, mode=mode, client_info=NAME, read_timeout_seconds=SECONDS, message_handler=handler
    ) as client:
        yield client


@asynccontextmanager
async def over_http(place: Place, mode: Mode, handler: MessageHandlerFnT | None) -> AsyncIterator[Client]:
    with site(place, "--http", "127.0.0.1:0") as running:
        headers = {"Authorization": f"Bearer {place.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(SECONDS, read=None)) as http:
            transport = streamable_http_client(running.url, http_client=http)
            async with Client(
                transport, mode=mode, client_info=NAME, read_timeout_seconds=SECONDS, message_handler=handler
            ) as client:
                yield client


async def tools_of(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("over", [over_stdio, over_http], ids=["stdio", "http"])
async def test_a_running_server_takes_a_new_policy_and_tells_its_clients(
    place: Place, mode: Mode, over: object
) -> None:
    told = anyio.Semaphore(0)

    async def heard(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            told.release()

    assert callable(over)
    async with over(place, mode, heard) as client:
        assert client.server_capabilities.tools.list_changed is True
        assert GONE in await tools_of(client)
        if mode == "legacy":
            await anyio.to_thread.run_sync(lambda: activate(place, grants=False))
            with anyio.fail_after(SECONDS):
                await told.acquire()
            assert GONE not in await tools_of(client)
            await anyio.to_thread.run_sync(lambda: activate(place, grants=True))
            with anyio.fail_after(SECONDS):
                await told.acquire()
            assert GONE in await tools_of(client)
            return
        async with client.listen(tools_list_changed=True) as changes:
            await anyio.to_thread.run_sync(lambda: activate(place, grants=False))
            with anyio.fail_after(SECONDS):
                await anext(aiter(changes))
            assert GONE not in await tools_of(client)
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool(GONE, {"ticket": "OPS-1"})


async def test_a_client_that_listens_keeps_no_server_from_leaving(place: Place, mode: Mode) -> None:
    """Neither by the stream of the newest era nor by the one that older sessions keep open."""
    with site(place, "--http", "127.0.0.1:0") as running:
        headers = {"Authorization": f"Bearer {place.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(SECONDS, read=None)) as http:
            client = Client(streamable_http_client(running.url, http_client=http), mode=mode, client_info=NAME)
            async with client, AsyncExitStack() as streams:
                if mode == "auto":
                    changes = await streams.enter_async_context(client.listen(tools_list_changed=True))
                assert GONE in await tools_of(client)
                assert await anyio.to_thread.run_sync(running.stop) == 0
                if mode == "auto":
                    with pytest.raises(SubscriptionLost):
                        await anext(aiter(changes))
