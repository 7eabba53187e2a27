"""An anchor that says when: a timestamp authority (RFC 3161) over HTTP stamps each checkpoint.

It keeps nothing and compares nothing, so it notices no rollback; but nobody can make its token for an earlier time. A
token is believed where the certificates that were configured bear it out, for exactly the checkpoint that was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal
from urllib.parse import urlsplit

import anyio
from pydantic import Field

from keyturn.anchors import EVERY, NOTE_LIMIT, AnchorType, Every, Given, Offer
from keyturn.connectors.http import Connection, Door, Nobody
from keyturn.connectors.http.connection import base_of
from keyturn.connectors.world import World
from keyturn.log.timestamp import Authorities, TimestampError, ask, proved, read_authorities
from keyturn.model.errors import ConfigurationError, ConnectorError

QUERY: Final = "application/timestamp-query"
SKEW: Final = 300.0
"""Seconds that the authority's clock may differ from this machine's."""


class Settings(Connection):
    """`[anchors.<name>]` of kind "rfc3161", beside what every system over HTTP has.

    url           where the authority takes requests
    certificates  a file of PEM certificates, below the home unless absolute: its root, and its own if need be
    required      whether it must have an intent before the effect, where a grant asks for that
    """

    kind: Literal["rfc3161"] = "rfc3161"
    certificates: str = Field(min_length=1, max_length=4096)
    every: Every = EVERY
    required: bool = False


def build(name: str, settings: Settings, world: World) -> TimestampAnchor:
    """Return the anchor called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    place, path = f"anchors.{name}", world.home / settings.certificates
    try:
        authorities = read_authorities(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{place}.certificates: {path}: {error.strerror}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}.certificates: {error}") from error
    base_of(place, settings)
    url = urlsplit(settings.url)  # the door takes paths below a url, and here there is one path alone
    connection = settings.model_copy(update={"url": f"{url.scheme}://{url.netloc}"})
    door = Door(place=place, connection=connection, world=world, authority=Nobody(), limit=NOTE_LIMIT)
    return TimestampAnchor(name, authorities, partial(_asked, door, url.path or "/"), float(settings.deadline))


async def _asked(door: Door, path: str, query: bytes) -> bytes:
    answer = await door.post_bytes(path, data=query, content=QUERY)
    return answer.body


class TimestampAnchor:
    """One authority; see `Stamper`."""

    type: AnchorType = "rfc3161"

    def __init__(
        self, name: str, authorities: Authorities, send: Callable[[bytes], Awaitable[bytes]], seconds: float
    ) -> None:
        self.name = name
        self.seconds = seconds + 1
        self._authorities = authorities
        self._send = send

    def put(self, offer: Offer) -> bytes:
        """Have a checkpoint stamped; return its note, as it was."""
        return self.give(offer).note

    def give(self, offer: Offer) -> Given:
        """Have a checkpoint stamped; return its note and the authority's answer."""
        query = ask(offer.checkpoint.text, self._authorities)
        answer = anyio.run(self._send, query.data)
        try:
            stamped = proved(answer, offer.checkpoint.text, self._authorities, query.nonce)
        except TimestampError as error:
            raise ConnectorError(f"the authority gave no timestamp that holds: {error}") from error
        if stamped.at.timestamp() < offer.began - SKEW:
            raise ConnectorError(f"the authority's time, {stamped.at}, is before the checkpoint; look at both clocks")
        return Given(offer.note, answer)
