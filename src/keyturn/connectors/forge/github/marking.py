"""The refs that mark, order and fence what actions do to a repository on GitHub.

    refs/keyturn/action/<action>        the marker: the action's commit once its effect has begun, or a probe's fence
    refs/keyturn/turn/<pull>/<commit>   which action goes on from this head of a pull request; one alone can

GitHub creates a ref only where none stands (`POST git/refs`, 422 otherwise): it is the one atomic step this API has.
So whoever creates the marker first has settled what becomes of the action. An executor creates it before it touches a
branch; a probe that finds none creates it as a fence, and then no executor gets any further. Both are outside
`refs/heads` and `refs/tags`: they start no workflow and no clone fetches them.
https://docs.github.com/en/rest/git/refs#create-a-reference
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.forge.building import author
from keyturn.connectors.forge.github.answers import oid_at
from keyturn.connectors.forge.github.reading import Commit, Reading, commit_in
from keyturn.connectors.github import GitHub, said, segment
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell
from keyturn.model.time import action_time
from keyturn.model.tool import ActionRef

EXISTS = frozenset({422})

FENCED = "a probe has settled that this action cannot land any more; ask for a new one"


REPLACED = CannotTell(
    "its marker on GitHub was taken away or replaced by others after it had begun; look there what became of it"
)


class NotDone(ConnectorError):
    """GitHub refused a step of what was begun, for certain: what was begun is to be taken back."""


@contextmanager
def sure() -> Iterator[None]:
    """Make a refusal of what is sent within, or a wish to be left alone, one that has what was begun taken back."""
    try:
        yield
    except ConnectorError as error:
        if error.kind in ("refused", "retry"):
            raise NotDone(str(error)) from error
        raise


def marker_of(action: str) -> str:
    """Return the ref, without `refs/`, that marks an action."""
    return f"keyturn/action/{action}"


def turn_of(pull: str, head: str) -> str:
    """Return the ref, without `refs/`, of whoever goes on from a head of a pull request."""
    return f"keyturn/turn/{pull}/{head}"


def fence_message(action: str) -> str:
    """Return the message of the commit that fences an action off."""
    return f"Action {action} was probed and had not landed. This ref keeps it from landing late.\n"


def claim_message(what: str, action: ActionRef) -> str:
    """Return the message of the commit that marks an effect which makes no commit of its own."""
    return f"{what}\n\nKeyturn-Claim: {action.action}\nKeyturn-Principal: {action.principal}\n"


def says(commit: Commit, message: str) -> bool:
    """Say whether a commit has this message; GitHub may leave out white space at its end."""
    return commit.message.strip() == message.strip()


@dataclass(frozen=True, slots=True)
class Marks:
    """Reads and sets the refs of actions."""

    hub: GitHub
    reading: Reading

    async def read(self, name: str) -> Commit | None:
        """Return what a ref, named without `refs/`, points to."""
        sha = await self.reading.ref(name)
        return await self.reading.commit(sha) if sha else None

    async def marker(self, action: str) -> Commit | None:
        """Return what marks an action; None when nothing does."""
        return await self.read(marker_of(action))

    async def take(self, name: str, sha: str) -> Commit:
        """Create a ref where none stands; return what stands there afterwards, ours or another's.

        Where the answer is lost, what stands there is the answer; a ref that is not there yet may still come.
        """
        try:
            trouble = await self.create(f"refs/{name}", sha)
        except ConnectorError as error:
            if error.kind == "unknown" and (found := await self._read_if_told(name)) is not None:
                return found
            raise
        found = await self.read(name)
        if found is None:
            raise ConnectorError(
                f"GitHub did not create refs/{name}: {trouble or 'it said that it had'}",
                kind="refused" if trouble else "unknown",
            )
        return found

    async def _read_if_told(self, name: str) -> Commit | None:
        """Return what a ref points to; None too when GitHub does not say."""
        try:
            return await self.read(name)
        except ConnectorError:
            return None

    async def create(self, ref: str, sha: str) -> str:
        """Create a ref; return what GitHub says where it does not, "" where it says that it has."""
        answer = await self.hub.change("POST", "/git/refs", body={"ref": ref, "sha": sha}, expected=EXISTS)
        return said(answer) if answer.status in EXISTS else ""

    async def fence(self, action: ActionRef) -> Commit:
        """Keep an action from landing; return what marks it afterwards: the fence, or what was there before."""
        return await self.take(marker_of(action.action), (await self._fence(action)).sha)

    async def take_back(self, action: ActionRef, turn: str | None = None) -> None:
        """Turn the marker of an effect that GitHub refused into a fence, and give its turn back."""
        marker = await self.marker(action.action)
        fence = await self._fence(action)
        name = segment(marker_of(action.action))
        await self.hub.change("PATCH", f"/git/refs/{name}", body={"sha": fence.sha, "force": True})
        if turn is not None and marker is not None and await self.reading.ref(turn) == marker.sha:
            await self.delete(turn)

    async def turned(self, turn: str, action: ActionRef) -> bool:
        """Say whether a turn is this action's: an executor takes it with its marker alone, never past a fence."""
        taken = await self.read(turn)
        named = {f"Keyturn-Action: {action.action}", f"Keyturn-Claim: {action.action}"}
        return taken is not None and not named.isdisjoint(taken.message.split("\n"))

    async def delete(self, name: str) -> str:
        """Delete a ref, named without `refs/`; return what GitHub says where it does not, "" where it says it has.

        https://docs.github.com/en/rest/git/refs#delete-a-reference
        """
        answer = await self.hub.change("DELETE", f"/git/refs/{segment(name)}", expected=frozenset({404, 422}))
        return "" if answer.status == 204 else said(answer)

    async def claim(self, what: str, head: str, action: ActionRef) -> Commit:
        """Mark an effect that makes no commit as begun; return what marks it afterwards, a fence maybe."""
        tree = (await self.reading.commit(head)).tree
        made = await self.write(tree, (), claim_message(what, action), action)
        return await self.take(marker_of(action.action), made.sha)

    async def write(self, tree: str, parents: tuple[str, ...], message: str, action: ActionRef) -> Commit:
        """Write a commit, which nothing refers to yet; the same bytes, and so the same id, on each attempt.

        https://docs.github.com/en/rest/git/commits#create-a-commit
        """
        name, mail = author(action)
        at = f"{action_time(action.action):%Y-%m-%dT%H:%M:%SZ}"
        who: dict[str, Json] = {"name": name, "email": mail, "date": at}
        body: dict[str, Json] = {
            "message": message,
            "tree": tree,
            "parents": parents,
            "author": who,
            "committer": who,
        }
        made = commit_in((await self.hub.change("POST", "/git/commits", body=body)).json())
        if made.tree != tree or made.parents != parents or not says(made, message):
            raise ConnectorError("GitHub wrote another commit than it was given; nothing refers to it")
        return made

    async def _fence(self, action: ActionRef) -> Commit:
        note = fence_message(action.action)
        entry = {"path": "fence", "mode": "100644", "type": "blob", "content": note}
        tree = oid_at((await self.hub.change("POST", "/git/trees", body={"tree": [entry]})).json(), "sha")
        return await self.write(tree, (), note, action)


def is_fence(marker: Commit | None, action: ActionRef) -> bool:
    """Say whether a marker is a fence."""
    return marker is not None and says(marker, fence_message(action.action))


def is_claim(marker: Commit | None, what: str, action: ActionRef) -> bool:
    """Say whether a marker is the action's own claim."""
    return marker is not None and says(marker, claim_message(what, action))
