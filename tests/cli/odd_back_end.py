"""A tracker that does nothing but check itself, in the way its settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import anyio
from pydantic import BaseModel, ConfigDict, model_validator

from keyturn.connectors.checking import Finding
from keyturn.connectors.credentials import CredentialSpec, Source, source_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError


class App(BaseModel):
    """`app = {…}`, for errors that lie deeper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    key: CredentialSpec


class Settings(BaseModel):
    """`[tickets.<name>]` with the kind `odd`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["odd"]
    url: str = "https://odd.example"
    does: Literal["fine", "raises", "hangs", "is wrong", "breaks", "unbuilt", "misconfigured"] = "fine"
    app: App | None = None
    token: CredentialSpec = "command:touch ran"

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.does == "raises" and self.app is not None:
            raise ValueError("give either this or that")
        return self


@dataclass(frozen=True)
class Odd:
    does: str
    token: Source

    async def check(self) -> tuple[Finding, ...]:
        match self.does:
            case "raises":
                raise ConnectorError("odd: cannot be reached", kind="retry")
            case "misconfigured":
                raise ConfigurationError("odd: the key is none")
            case "breaks":
                raise KeyError("hush")
            case "hangs":
                await anyio.sleep_forever()
            case "is wrong":
                return (
                    Finding("note", "runs an old version"),
                    Finding("wrong", "may not write", "grant issues:write"),
                )
        try:
            await self.token.read()
        except ConnectorError as error:
            return (Finding("ok", f"asked for its credential: {error}"),)
        return (Finding("ok", "has a credential"),)


def build(name: str, settings: Settings, world: World) -> object:
    if settings.does == "unbuilt":
        raise ConfigurationError(f"tickets.{name}.url: cannot be meant")
    return Odd(settings.does, source_of(f"tickets.{name}.token", settings.token, world))
