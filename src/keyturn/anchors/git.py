"""An anchor in a git repository: a branch for each log, and a commit for each checkpoint.

The branch is `keyturn-checkpoints/<name>-<32 hex>`. Its tree holds `checkpoint` (the note) and, where the log was
restored before it, `recoveries`: leaf hashes of the entries that say so. The branch only ever grows: what was given
up stays in its history. Git's own comparison when a ref moves lets one of two through that write at once.

A repository here is worked on as `connectors.forge.git` does, one elsewhere as `connectors.forge.remote` does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal, Protocol, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.anchors import EVERY, NOTE_LIMIT, AnchorType, Every, Offer, Seen, folder_name
from keyturn.connectors.credentials import CredentialSpec
from keyturn.connectors.forge import git as here
from keyturn.connectors.forge import remote as elsewhere
from keyturn.connectors.forge.building import Built, store
from keyturn.connectors.forge.objects import REGULAR, TreeEntry, commit_bytes, object_id, tree_bytes
from keyturn.connectors.forge.refs import Transaction
from keyturn.connectors.forge.repository import Repository
from keyturn.connectors.world import World
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.note import parse_note
from keyturn.model.errors import ConnectorError

T = TypeVar("T")

CHECKPOINT, RECOVERIES = b"checkpoint", b"recoveries"
BRANCHES = "refs/heads/keyturn-checkpoints/"
WHO = "Keyturn <keyturn@keyturn.invalid>"
_Place = Annotated[str, Field(min_length=1, max_length=2000)]


_OWN = frozenset({"kind", "every", "required"})


class Settings(BaseModel):
    """`[anchors.<name>]` of kind "git": `path` of a repository on this machine, or `url` of one elsewhere.

    With `url` the further settings are those of `forge`'s kind "git-remote". `required` says whether it must have an
    intent before the effect, where a grant asks for that.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["git"] = "git"
    path: _Place | None = None
    url: _Place | None = None
    every: Every = EVERY
    required: bool = False
    credential: CredentialSpec | None = None
    key: _Place | None = None
    agent: _Place | None = None
    known_hosts: _Place | None = None
    ca: _Place | None = None
    proxy: _Place | None = None
    private: bool = False
    timeout: int = Field(default=30, ge=5, le=3600)

    @model_validator(mode="after")
    def _one_place(self) -> Settings:
        if (self.path is None) == (self.url is None):
            raise ValueError("names either path, a repository here, or url, one elsewhere")
        if self.path is not None and (self.model_fields_set - {*_OWN, "path"}):
            raise ValueError("with path there is nothing else to set but every and required")
        return self


class Using(Protocol):
    """Does something with a repository as it is now."""

    def __call__(self, work: Callable[[Repository], T], /) -> T:
        """Return what `work` does."""
        ...


def build(name: str, settings: Settings, world: World) -> GitAnchor:
    """Return the anchor called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    place = f"anchors.{name}"
    if settings.path is not None:
        git = here.git_at(f"{place}.path", world.home / settings.path, name, world)
        return GitAnchor(name, lambda work: work(Repository(git)), seconds=git.deadline, near=True, now=world.now)
    given = settings.model_dump(exclude={*_OWN, "path"})
    forge = elsewhere.build(name, elsewhere.Settings(**given), world, place=place)
    seconds = 2.0 * settings.timeout

    def use(work: Callable[[Repository], T]) -> T:
        return anyio.run(forge.use, work)

    return GitAnchor(name, use, seconds=seconds, near=False, now=world.now)


class GitAnchor:
    """One repository; see `Keeper`."""

    type: AnchorType = "git"

    def __init__(self, name: str, use: Using, *, seconds: float, near: bool, now: Callable[[], float]) -> None:
        self.name = name
        self.seconds = seconds
        self.near = near
        self._use = use
        self._now = now

    def newest(self, origin: str) -> Seen | None:
        """Read the note at the branch's end."""
        return self._use(lambda repository: _read(repository, _tip(repository, origin)))

    def put(self, offer: Offer) -> bytes:
        """Add a commit to the branch, once what is there is held against the ledger."""
        return self._use(partial(self._put, offer))

    def _put(self, offer: Offer, repository: Repository) -> bytes:
        tip = _tip(repository, offer.checkpoint.origin)
        seen = _read(repository, tip)
        if seen is not None:
            judged = offer.judge(seen)
            if judged.step is None and parse_checkpoint(parse_note(seen.note).text).size >= offer.checkpoint.size:
                return seen.note
        built = _commit(offer, tip, repository.width(), self._now())
        store(repository.git, built)
        transaction = Transaction()
        transaction.move(BRANCHES + folder_name(offer.checkpoint.origin), built.commit, tip)
        if (trouble := repository.commit(transaction)) is not None:
            raise ConnectorError(trouble.said, kind=trouble.kind)
        return offer.note


def _tip(repository: Repository, origin: str) -> str | None:
    ref = BRANCHES + folder_name(origin)
    return repository.read(ref)[ref]


def _read(repository: Repository, tip: str | None) -> Seen | None:
    if tip is None:
        return None
    with repository.git.objects() as objects:
        tree = objects.tree(objects.root(tip))
        if CHECKPOINT not in tree:
            raise ConnectorError("the branch of the log's checkpoints holds no checkpoint; look at it")
        note = objects.read(tree[CHECKPOINT].oid, "blob", NOTE_LIMIT)
        lines = objects.read(tree[RECOVERIES].oid, "blob", NOTE_LIMIT) if RECOVERIES in tree else b""
    return Seen(note, frozenset(lines.decode("ascii", "replace").splitlines()))


def _commit(offer: Offer, tip: str | None, width: int, now: float) -> Built:
    files = {CHECKPOINT: offer.note}
    if offer.recoveries:
        files[RECOVERIES] = "".join(f"{leaf}\n" for leaf in sorted(offer.recoveries)).encode("ascii")
    tree = {name: TreeEntry(REGULAR | 0o644, object_id("blob", data, width)) for name, data in files.items()}
    message = f"Checkpoint of {offer.checkpoint.size} entries of {offer.checkpoint.origin}\n"
    at = datetime.fromtimestamp(int(now), UTC)
    commit = commit_bytes(object_id("tree", tree_bytes(tree), width), () if tip is None else (tip,), WHO, at, message)
    return Built(
        commit=object_id("commit", commit, width), blobs=tuple(files.values()), trees=(tree,), commits=(commit,)
    )
