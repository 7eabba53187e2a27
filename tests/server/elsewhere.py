"""A bare server of the SDK on HTTP, as a program of its own: what a bridge must carry without changing it.

`python -m tests.server.elsewhere PORT|PATH FOLDER`: PORT on 127.0.0.1, or a socket's PATH. It asks for the token
`kt_elsewhere`, and writes what happens to its calls into FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN = "kt_elsewhere"


class Door:
    """Lets in whoever brings the token; says no with words of HTTP alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] != "http" or headers.get(b"authorization") == f"Bearer {TOKEN}".encode():
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def build(folder: Path) -> Server:
    """Build a server whose tools tell in `folder` what becomes of their calls."""

    async def list_tools(
        _ctx: ServerRequestContext, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        schema = {"type": "object"}
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema) for name in ("echo", "hold")])

    async def call_tool(ctx: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        if params.name == "hold":
            await _hold(ctx, arguments)
        text = types.TextContent(type="text", text=str(arguments.get("text", "")))
        return types.CallToolResult(content=[text], structured_content=arguments, is_error=params.name == "fail")

    async def _hold(ctx: ServerRequestContext, arguments: dict[str, Any]) -> None:
        name = str(arguments["name"])
        for step in range(3):
            await ctx.session.report_progress(step + 1, message=f"step {step + 1}")
        (folder / f"{name}.begun").touch()
        try:
            while not (folder / f"{name}.go").exists():  # noqa: ASYNC110 - another process makes the file
                await anyio.sleep(0.02)
        except anyio.get_cancelled_exc_class():
            (folder / f"{name}.cancelled").touch()
            raise

    return Server("elsewhere", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


def main() -> None:
    """Serve until told to stop."""
    place, folder = sys.argv[1], Path(sys.argv[2])
    known = TransportSecuritySettings(allowed_hosts=["localhost"])  # what a bridge says over a socket
    app = Door(build(folder).streamable_http_app(transport_security=known))
    where: dict[str, Any] = {"port": int(place), "host": "127.0.0.1"} if place.isdecimal() else {"uds": place}
    uvicorn.run(app, log_level="error", timeout_graceful_shutdown=1, **where)


if __name__ == "__main__":
    main()
