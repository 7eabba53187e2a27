"""A bare low-level MCP server with the tools of a home and nothing before them: no token, no policy, no ledger.

`python -m benchmarks.bare HOME` serves stdio; with a port behind it, Streamable HTTP on 127.0.0.1. A mutating call
plans and executes at once, as the same tool does once Keyturn has let it through.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from keyturn.assembly.home import Home
from keyturn.assembly.outside import moment, new_action_id
from keyturn.assembly.ports import Tools, build_ports, build_tools, world_of
from keyturn.assembly.wiring import read_wiring
from keyturn.contracts import read_catalog
from keyturn.model.outcome import Succeeded
from keyturn.model.tool import ActionRef
from keyturn.tools.arguments import models


def build(home: Home) -> Server:
    tools = build_tools(build_ports(read_wiring(home.wiring), world_of(home, commands=False)))
    contracts = read_catalog(home.schemas).contracts
    listed = [types.Tool(name=name, input_schema=dict(contracts[name].input)) for name in contracts]

    async def list_tools(
        _ctx: ServerRequestContext, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(_ctx: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        result = await _do(tools, params.name, params.arguments or {})
        text = types.TextContent(type="text", text=json.dumps(result))
        return types.CallToolResult(content=[text], structured_content=dict(result))

    return Server("bare", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def _do(tools: Tools, name: str, given: dict[str, object]) -> dict[str, object]:
    arguments = models()[name].model_validate(given)
    if name in tools.reading:
        reading = tools.reading[name]
        return dict(await reading.read(await reading.locate(arguments, lambda _: None), arguments))
    governed = tools.governed[name]
    plan = await governed.plan(arguments, lambda _: None)
    action = ActionRef(action=new_action_id(moment().wall), principal="claude")
    outcome = await governed.execute(plan, action)
    if not isinstance(outcome, Succeeded):
        raise TypeError(f"{name} did not succeed: {outcome}")
    return dict(outcome.result)


async def _stdio(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def main() -> None:
    server = build(Home(Path(sys.argv[1])))
    if len(sys.argv) > 2:
        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
    else:
        anyio.run(_stdio, server)


if __name__ == "__main__":
    main()
