"""Looks at a git remote for an operator: who we are there, whether we may read and push, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.remote.repository import BLOCKING, PLACE, RemoteRepository
from keyturn.model.errors import ConnectorError

OLDEST = (2, 37)
"""The first release of git that connects to given addresses (`http.curloptResolve`)."""
NO_PLACE = "the server takes no refs below refs/keyturn/, where pull requests have their records and marks"
PLACE_ADVICE = "allow pushes to refs/keyturn/* on the server; there is no other place for them that is safe"


def version(git: Git) -> Finding:
    """Return which git runs. Raises `ConnectorError` when none does."""
    said = git.run("version").output.decode("utf-8", "replace").strip()
    numbers = re.search(r"(\d+)\.(\d+)", said)
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return Finding("ok", said)
    return Finding("wrong", f"{said} is too old for remotes", "install git {}.{} or later".format(*OLDEST))


def look(repository: RemoteRepository) -> Iterator[Finding]:
    """Yield what is found on the remote, by reads and a push that is only rehearsed. Raises `ConnectorError`."""
    target = repository.line.target
    known = repository.ask("HEAD", BLOCKING, PLACE)
    if "HEAD" not in known:
        yield Finding(
            "wrong",
            f"{target.location} can be reached, but its HEAD names no branch that is there",
            "push a first commit, or point HEAD at the main branch",
        )
        return
    yield Finding("ok", f"{target.location} can be read{f' as {target.user}' if target.user else ''}")
    if BLOCKING in known:
        yield Finding("wrong", "a branch called keyturn stands where keyturn/… has to go", "rename that branch")
    ref, head = "HEAD", known["HEAD"]
    if head not in repository.read(ref).values():
        raise ConnectorError("HEAD moved while it was read", kind="retry")
    repository.rehearse(head)
    yield Finding("ok", "pushes are let in, and several refs can be moved at once (a rehearsal; nothing was written)")
    if PLACE in known:
        yield Finding("ok", "refs below refs/keyturn/ are taken")
    else:
        yield Finding(
            "note",
            "whether the server takes refs below refs/keyturn/ is not known before the first pull request",
            "most do; Gerrit, and servers with hooks or rules on refs, may not",
        )
