"""Building the declared back ends and the tools on top of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keyturn.tools
from keyturn.assembly.back_ends import back_end
from keyturn.assembly.home import Home
from keyturn.assembly.outside import environment, seconds
from keyturn.assembly.wiring import Wiring
from keyturn.connectors.credentials import out_of_reach
from keyturn.connectors.deployments import Deployments
from keyturn.connectors.forge import Forge
from keyturn.connectors.tickets import Tickets
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError
from keyturn.model.tool import GovernedTool, ReadTool


@dataclass(frozen=True, slots=True)
class Ports:
    """The back ends of one home by port and name.

    beyond  (port, name) of those whose credentials this process cannot have → why: others execute their actions
    """

    forge: Mapping[str, Forge]
    deployments: Mapping[str, Deployments]
    tickets: Mapping[str, Tickets]
    beyond: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one home, and the (port, name) of every back end whose credentials this process can have."""

    governed: Mapping[str, GovernedTool]
    reading: Mapping[str, ReadTool]
    reach: frozenset[tuple[str, str]]


def world_of(home: Home, *, commands: bool) -> World:
    """Return what the back ends of a home get from outside.

    `commands` allows them to run programs for credentials: only for what serves, works or was asked to check them.
    """
    state = home.place.folder
    return World(
        home=home.folder,
        run=home.place.run,
        cache=state / "cache",
        environment=environment(),
        now=seconds,
        commands=commands,
    )


def build_ports(wiring: Wiring, world: World) -> Ports:
    """Build every declared back end. Raises `ConfigurationError` with all that cannot be built."""
    problems: list[str] = []
    beyond: dict[tuple[str, str], str] = {}

    def build(port: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for name, settings in declared.items():
            try:
                build_one = back_end(port, settings.kind).build
                built[name] = build_one(name, settings, world)
                if (why := out_of_reach(settings, world)) is not None:
                    beyond[port, name] = why
            except ConfigurationError as error:
                problems.extend(error.problems)
        return built

    ports = Ports(
        forge=build("forge", wiring.forge),
        deployments=build("deployments", wiring.deployments),
        tickets=build("tickets", wiring.tickets),
        beyond=beyond,
    )
    if problems:
        raise ConfigurationError(*problems)
    return ports


def build_tools(ports: Ports) -> Tools:
    """Build every tool found in `keyturn.tools` with its port; a new tool needs no edit here."""
    by_port: dict[str, Mapping[str, Any]] = {
        "forge": ports.forge,
        "deployments": ports.deployments,
        "tickets": ports.tickets,
    }
    governed: dict[str, GovernedTool] = {}
    reading: dict[str, ReadTool] = {}
    for kind in _tool_classes():
        tool = kind(by_port[kind.port])
        if isinstance(tool, GovernedTool):
            governed[tool.name] = tool
        elif isinstance(tool, ReadTool):
            reading[tool.name] = tool
        else:
            raise TypeError(f"{kind.__module__}.TOOL is neither a governed nor a reading tool")
    reach = frozenset((port, name) for port, systems in by_port.items() for name in systems) - ports.beyond.keys()
    return Tools(governed, reading, reach)


def tool_ports() -> dict[str, str]:
    """Return the port each tool acts on: `forge`, `deployments` or `tickets`."""
    return {kind.name: kind.port for kind in _tool_classes()}


def _tool_classes() -> list[Any]:
    names = [found.name for found in pkgutil.iter_modules(keyturn.tools.__path__) if not found.ispkg]
    modules = [importlib.import_module(f"keyturn.tools.{name}") for name in sorted(names)]
    return [module.TOOL for module in modules if hasattr(module, "TOOL")]
