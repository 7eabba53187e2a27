"""What is declared in `keyturn.toml` and how it does: each back end is built and asked on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from keyturn.assembly.back_ends import BACK_ENDS, back_end
from keyturn.assembly.home import Home, no_home
from keyturn.assembly.ports import world_of
from keyturn.assembly.wiring import Wiring, read_wiring
from keyturn.canon import Json
from keyturn.connectors.checking import Checkable, Finding
from keyturn.connectors.world import World
from keyturn.gateway.patience import TookTooLong, bounded
from keyturn.model.errors import ConfigurationError, ConnectorError, Refused

AT_ONCE = 8
"""Back ends that are asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One back end of the wiring, as it is known without asking it.

    location  where it is: an address or a path
    account   as whom, where that is known without a credential; "" otherwise
    problems  why it cannot be built; nothing where it can
    """

    port: str
    name: str
    kind: str
    location: str
    account: str
    problems: tuple[str, ...]

    @property
    def place(self) -> str:
        """Its dotted path in `keyturn.toml`."""
        return f"{self.port}.{self.name}"

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "port": self.port,
            "name": self.name,
            "kind": self.kind,
            "location": self.location,
            "account": self.account,
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One back end, and what it found out about itself."""

    declared: Declared
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Built:
    declared: Declared
    back_end: Any


def declared(home: Home) -> list[Declared]:
    """Return what the wiring declares. No credential is read, nothing is sent. Raises `ConfigurationError`."""
    wiring = _wiring(home)
    return [built.declared for built in _built(wiring, world_of(home, commands=False))]


async def check(home: Home, names: Sequence[str]) -> list[Checked]:
    """Let the back ends called so look at themselves, all of them when no name is given.

    A name is `shop` or `forge.shop`. Credentials are read, programs for them run, and each back end has the seconds
    of `[timeouts] plan`. Raises `ConfigurationError`, and `Refused` (not_found) for a name that is not declared.
    """
    wiring = _wiring(home)
    built = list(_built(wiring, world_of(home, commands=True)))
    chosen, twins = _chosen(built, names), await anyio.to_thread.run_sync(_twins, built)
    found: dict[str, tuple[Finding, ...]] = {}
    turns = anyio.CapacityLimiter(AT_ONCE)

    async def look(one: _Built) -> None:
        async with turns:
            found[one.declared.place] = await _found(one, float(wiring.timeouts.plan))

    async with anyio.create_task_group() as tasks:
        for one in chosen:
            tasks.start_soon(look, one)
    return [
        Checked(declared=one.declared, findings=(*found[one.declared.place], *twins.get(one.declared.place, ())))
        for one in chosen
    ]


def _wiring(home: Home) -> Wiring:
    if not home.wiring.exists():
        raise ConfigurationError(no_home(home.folder))
    return read_wiring(home.wiring)


def _built(wiring: Wiring, world: World) -> Iterator[_Built]:
    for port in BACK_ENDS:
        for name, settings in getattr(wiring, port).items():
            yield _one(port, name, settings, world)


def _one(port: str, name: str, settings: Any, world: World) -> _Built:
    built: Any = None
    problems: tuple[str, ...] = ()
    try:
        built = back_end(port, settings.kind).build(name, settings, world)
    except ConfigurationError as error:
        problems = error.problems
    identity = getattr(built, "identity", None)
    return _Built(
        Declared(
            port=port,
            name=name,
            kind=settings.kind,
            location=_location(settings) if identity is None else identity.location,
            account="" if identity is None else identity.account,
            problems=problems,
        ),
        built,
    )


def _location(settings: Any) -> str:
    """Say where a back end is by its settings, for one that has no single place or could not be built."""
    url = _address(getattr(settings, "url", None) or "")
    said = [url, *(str(getattr(settings, name, None) or "") for name in ("path", "repository"))]
    environments = getattr(settings, "environments", None)
    return " ".join(filter(None, said)) or ", ".join(str(name) for name in environments or ())


def _address(url: str) -> str:
    """Return a URL without name, password and query: somebody may have written some, and it is refused for that."""
    scheme = "".join(re.findall(r"\A[a-z]+://", url))
    rest = url.removeprefix(scheme).rpartition("@")[2]
    return scheme + re.split("[?#]", rest)[0]


def _chosen(built: list[_Built], names: Sequence[str]) -> list[_Built]:
    known = {name for one in built for name in (one.declared.name, one.declared.place)}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(one.declared.place for one in built) or "none"
        raise Refused("not_found", f"keyturn.toml declares no {', '.join(unknown)}; it declares: {there}")
    return [one for one in built if not names or {one.declared.name, one.declared.place} & set(names)]


def _twins(built: list[_Built]) -> dict[str, list[Finding]]:
    """Find what is declared under two names: neither's targets, limits and environment hold for the other."""
    places: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in built:
        for name, location in _locations(one):
            alike = location.rstrip("/").casefold() if "://" in location else location
            places.setdefault((one.declared.port, alike), []).append((one.declared.place, name))
    found: dict[str, list[Finding]] = {}
    for several in (several for several in places.values() if len(several) > 1):
        for place, name in several:
            others = ", ".join(other for _, other in several if other != name)
            text = f"{name} is the same system as {others}: what holds for one does not for the other"
            found.setdefault(place, []).append(
                Finding("wrong", text, "declare each system once: rules, limits and environments go by its name")
            )
    return found


def _locations(one: _Built) -> Iterator[tuple[str, str]]:
    """Yield by name where a back end acts, as far as that can be told."""
    place = one.declared.place
    if one.declared.port != "deployments":
        identity = getattr(one.back_end, "identity", None) or getattr(one.back_end, "backend", lambda: None)()
        if identity is not None:
            yield place, identity.location
        return
    for environment in getattr(one.back_end, "environments", ()):
        with suppress(ConnectorError):  # which the check itself tells
            yield f"{place}/{environment}", one.back_end.backend(environment).location


async def _found(built: _Built, seconds: float) -> tuple[Finding, ...]:
    if built.declared.problems:
        return tuple(Finding("wrong", f"it cannot be built: {problem}") for problem in built.declared.problems)
    if not isinstance(built.back_end, Checkable):
        return (Finding("note", "a back end of this kind cannot look at itself"),)
    try:
        return await bounded(partial(_looked, built.back_end), seconds) or (Finding("ok", "nothing is wrong"),)
    except TookTooLong as late:
        return (Finding("wrong", f"no answer within {late.seconds:g} s", "look whether it can be reached from here"),)
    except ConnectorError as error:
        return (Finding("wrong", str(error)),)
    except ConfigurationError as error:
        return tuple(Finding("wrong", problem) for problem in error.problems)
    except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being told
        # Its words are not ours, and may hold what must not be shown.
        return (Finding("wrong", f"the check itself failed ({type(error).__name__}): that is a fault of Keyturn"),)


async def _looked(back_end: Checkable) -> tuple[Finding, ...]:
    return await back_end.check()
