"""A git server as the races see it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bed.git_http import WRITER, GitServer
from tests.races.stage import Stage


@dataclass(frozen=True, slots=True)
class Remote:
    """A server with one repository, in which other people work as well."""

    server: GitServer

    def wiring(self, stage: Stage) -> str:
        """Return what a home says to act on this repository."""
        user, password = WRITER
        url = self.server.url.replace("://", f"://{user}@")
        credential = stage.credential(password)
        return f'kind = "git-remote"\nurl = "{url}"\ncredential = "{credential}"\nprivate = true'
