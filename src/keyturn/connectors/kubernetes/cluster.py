"""The API server of one cluster, as far as it is used here: objects read, patched, and questions about oneself.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from keyturn.canon import Json
from keyturn.connectors.http import Answer, Connection, Door
from keyturn.connectors.kubernetes.access import Access, Way, trust_of
from keyturn.connectors.kubernetes.settings import Reaching
from keyturn.connectors.kubernetes.ways import way_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.text import visible

MOST: Final = 1000
"""Objects of one listing that are read."""
_PAGE: Final = 250
PAGES: Final = 100
"""Pages of one listing that are read: a server may send fewer objects in one than it was asked for."""
_JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}
_MISSED: Final = frozenset({404, 409, 422})
_UNTOLD: Final = frozenset({403, 404})
_NOT_DRY: Final = frozenset({400, 403})  # where a server or an account has no dry runs
WHO: Final = "keyturn"
"""The field manager under which our changes stand in `managedFields`."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A patch that was not applied: a failed `test`, an object that is gone or not valid so, or no dry run to be had.

    `words` are the server's.
    """

    status: int
    words: str


@dataclass(slots=True)
class Cluster:
    """One cluster. Methods raise `ConnectorError` as `Door` does; `place` is the dotted name of the settings."""

    place: str
    settings: Reaching
    world: World
    way: Way
    _open: tuple[Access, Door] | None = field(default=None, repr=False)

    async def door(self) -> Door:
        """Return the door; a new one where anything that it depends on changed since the last call."""
        access = await self.way.access()
        if self._open is None or not self._open[0].same_line(access):
            self._open = access, self._made(access)
        return self._open[1]

    async def find(self, path: str) -> Mapping[str, Any] | None:
        """Read one object; None where the API server itself says that there is none."""
        answer = await (await self.door()).read(path, expected=frozenset({404}))
        value = object_in(answer)
        if answer.status == 404:
            if value.get("kind") == "Status" and value.get("reason") == "NotFound" and _names(value):
                return None
            raise ConnectorError(f"{answer.what}: answered 404, and not as an API server does; look at the url")
        return value

    async def listed(self, path: str, selector: str) -> list[Mapping[str, Any]]:
        """Read all objects with certain labels, page by page."""
        items: list[Mapping[str, Any]] = []
        params: dict[str, str | int] = {"labelSelector": selector, "limit": _PAGE}
        door = await self.door()
        for _ in range(PAGES):
            answer = await door.read(path, params=params)
            value = object_in(answer)
            found, metadata = value.get("items"), value.get("metadata")
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise ConnectorError(f"{answer.what}: what came back is no list of objects")
            items += found
            if len(items) > MOST:
                raise ConnectorError(f"{answer.what}: lists more than {MOST} objects, and no more are read")
            more = metadata.get("continue") if isinstance(metadata, dict) else None
            if not more:
                return items
            params = {**params, "continue": str(more)}
        raise ConnectorError(f"{answer.what}: the pages of this list do not come to an end")

    async def patch(self, path: str, operations: Sequence[Json], *, dry: bool = False) -> Mapping[str, Any] | Missed:
        """Send a JSON patch (RFC 6902): all of it is applied, or nothing.

        `dry`: the server goes through everything and keeps nothing of it (`dryRun=All`).
        """
        expected = _MISSED | _NOT_DRY if dry else _MISSED
        params = {"fieldManager": WHO} | ({"dryRun": "All"} if dry else {})
        answer = await (await self.door()).change(
            "PATCH", path, body=list(operations), params=params, headers=_JSON_PATCH, expected=expected
        )
        value = object_in(answer)
        if answer.status not in expected:
            return value
        return Missed(answer.status, visible(str(value.get("message", "")))[:300])

    async def ask(self, path: str, kind: Mapping[str, Json]) -> Mapping[str, Any] | None:
        """Put a question that changes nothing, as a review of one's own rights.

        None where the cluster does not know it (404), or tells accounts such as this one nothing (403).
        """
        answer = await (await self.door()).post_read(path, body=kind, expected=_UNTOLD)
        return None if answer.status in _UNTOLD else object_in(answer)

    async def version(self) -> str:
        """Return the server's version, such as `v1.33.2`, or "" where it tells accounts such as this one nothing."""
        answer = await (await self.door()).read("/version", expected=_UNTOLD)
        return "" if answer.status in _UNTOLD else visible(str(object_in(answer).get("gitVersion", "")))[:100]

    def _made(self, access: Access) -> Door:
        """Make a door. Whose certificates are good is said by the access, so its `ca` stays empty."""
        context = trust_of(self.place, access)
        problem = ""
        try:
            connection = Connection(
                url=access.server,
                proxy=access.proxy,
                # The address of a pod's own cluster is always private, and told by the cluster itself.
                private=self.settings.private or self.settings.in_cluster,
                timeout=self.settings.timeout,
                deadline=self.settings.deadline,
                pause=self.settings.pause,
            )
            return Door(
                place=self.place,
                connection=connection,
                world=self.world,
                authority=access.authority,
                trust=partial(_same, context),
            )
        except ConfigurationError as error:
            problem = str(error)
        except ValueError:
            problem = f"{self.place}: the address of the API server is no URL"
        raise ConnectorError(problem)


def cluster_of(place: str, settings: Reaching, world: World) -> Cluster:
    """Return the cluster that settings name; nothing is read or opened yet. Raises `ConfigurationError`."""
    return Cluster(place, settings, world, way_of(place, settings, world))


def segment(name: str) -> str:
    """Escape one segment of a path."""
    return quote(name, safe="")


def object_in(answer: Answer) -> Mapping[str, Any]:
    """Return the object in an answer. Raises `ConnectorError` for anything else."""
    value = answer.json()
    if not isinstance(value, dict):
        raise ConnectorError(f"{answer.what}: what came back is no object", kind=answer.doubt)
    return value


def _names(status: Mapping[str, Any]) -> bool:
    """Whether a `Status` speaks of an object: of a path that it does not know it does not."""
    details = status.get("details")
    return isinstance(details, dict) and bool(details.get("name"))


def _same(context: Any) -> Any:
    return context
