"""A repository elsewhere as landing and closing see it: refs are listed, commits fetched, transactions pushed.

A push names for every ref what it must still be (`--force-with-lease`), and is atomic: the server compares under its
locks and moves all of them or none. It cannot be told to verify a ref that is not moved. Hence two differences from
the repository on this machine:

Git's own server is atomic, but for refs that it hides (`receive.hideRefs`): those it turns down, and moves the
others. So before anything lands, `refs/keyturn/place` is created by a push of its own, unless it is there already. A
server that does not take it is sent nothing else.

1. The fence is the marker itself. Each landing creates a ref that carries the action's id: `refs/keyturn/pull/…` (an
   opening), `refs/keyturn/update/…` (a revision), `refs/keyturn/close/…` (a closing). A probe that finds none creates
   that very ref, naming a commit that stands for "fenced". Both demand that it be absent, and the server lets one of
   the two through. A push that was sent and is still on its way when the probe looks loses then.
2. The base is not verified. It is compared right before the push; what others push onto it meanwhile cannot make
   anything land on it, because nothing here moves a base. (A pull request may so be updated or closed in the moment
   in which somebody merges it, as on every forge.)

Crashes and lost answers. A push whose answer is lost may have happened, or may still happen. So it is never repeated:
the remote is listed again, and if the refs are not there, the outcome is *unknown* until a probe has found or fenced
them. Any failure after such a push is *unknown*, too, whatever it would be otherwise. A server that crashes within a
transaction may leave some of the refs; as git makes updates before deletions and every ref is determined by the plan,
the next `apply` or probe recognises any one of them and completes the rest, as on this machine. Our own crash at any
point leaves on the remote either nothing, or a push that comes through whole, now or later.

The copy may be shallow. A "yes" to "is this an ancestor of that" is found along real parents and holds; a "no" counts
only after the missing history has been fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from keyturn.connectors.credentials import Secret
from keyturn.connectors.forge import Change, Closing, Opening
from keyturn.connectors.forge.batch import Damaged
from keyturn.connectors.forge.building import build_fence, store
from keyturn.connectors.forge.process import Called
from keyturn.connectors.forge.refs import (
    Move,
    Seen,
    Transaction,
    Trouble,
    branch_of,
    close_ref,
    pull_ref,
    update_ref,
)
from keyturn.connectors.forge.remote.line import Line
from keyturn.connectors.forge.remote.sorting import Sorted, quoted, sort, split
from keyturn.connectors.forge.repository import Repository
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

TRIES = 3
"""Times that refs are listed again because one moved before it was fetched."""
REHEARSED = "refs/keyturn/rehearsal"
"""The ref of a push that is only rehearsed; it is never written."""
PLACE = "refs/keyturn/place"
"""The ref that shows that the server takes refs of ours, made before the first landing."""
BLOCKING = "refs/heads/keyturn"
"""A branch beside which no branch `keyturn/…` can be."""

_RACES = (
    "stale info",
    "fetch first",
    "failed to update ref",
    "cannot lock ref",
    "failed to lock",
    "already exists",
    "incorrect old value",
)
# a ref that was deleted since it was listed, and a commit that a server does not give by its id
_NOT_GIVEN = ("couldn't find remote ref", "not our ref", "unadvertised object")
_COMPANIONS = ("atomic push fail", "atomic transaction failed", "transaction failed")


class Failure(ConnectorError):
    """A call that failed, sorted: `found` has words and advice apart."""

    def __init__(self, found: Sorted) -> None:
        super().__init__(str(found), kind=found.kind)
        self.found = found


class Unauthorised(Failure):
    """The server refused the credential before anything happened."""


class OtherFormat(Damaged):
    """The remote's object ids are `width` digits long, and the copy's are not."""

    def __init__(self, width: int) -> None:
        super().__init__("the copy has another object format than the remote")
        self.width = width


@dataclass(slots=True)
class Course:
    """What has happened in one use of a remote: the push whose outcome is unknown, and the refs that were listed.

    `shut` is what the server said when it took no refs below `refs/keyturn/`.
    """

    doubt: str = ""
    shut: str = ""
    listed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteRepository(Repository):
    """A remote over its line; `git` works on the copy. For one use, with the credential as it is now."""

    line: Line
    secret: Secret | None = field(repr=False)
    course: Course = field(default_factory=Course)

    # reading

    def read(self, *refs: str) -> Mapping[str, str | None]:
        """Ask the remote what exactly these refs name, and fetch it."""
        for _ in range(TRIES):
            asked = self.ask(*refs, PLACE, BLOCKING)
            found = {ref: oid for ref, oid in asked.items() if ref in refs}
            missing = [ref for ref, oid in found.items() if not self._here(oid)]
            if missing:
                self._fetch(missing)
            if all(self._here(oid) for oid in found.values()):
                return {ref: found.get(ref) for ref in refs}
        raise ConnectorError("the remote's branches move faster than they can be fetched", kind="retry")

    def ask(self, *patterns: str) -> dict[str, str]:
        """Ask the remote which refs of these names it has; a name may end in `*`."""
        called = self._done("ls-remote", "--", self.line.target.url, *patterns)
        found = {}
        for line in called.output.decode("utf-8", "replace").splitlines():
            oid, _, ref = line.partition("\t")
            if any(ref == name or (name.endswith("*") and ref.startswith(name[:-1])) for name in patterns):
                found[ref] = oid
        for oid in found.values():
            if len(oid) != self.width():
                raise OtherFormat(len(oid))
        self.course.listed.update(found)
        return found

    def need(self, commit: str) -> None:
        """Fetch a commit that is not here."""
        if self._here(commit):
            return
        self._done(*_FETCH, "--depth=1", "--", self.line.target.url, commit)
        if self._here(commit):
            return
        # a server need not give what it is asked for by id; then it is found in the history of what it shows
        if not self.course.listed:
            self.ask("refs/heads/*")
        wanted = map(_kept, self.course.listed)
        self._done(*_FETCH, *(["--unshallow"] if self._ends() else []), "--", self.line.target.url, *wanted)
        if not self._here(commit):
            raise ConnectorError(f"the remote no longer has the commit {commit}")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Say whether `newer` is `older` or comes after it, fetching what that takes."""
        return Repository.is_ancestor(self, older, newer) or (
            self._deepen() and Repository.is_ancestor(self, older, newer)
        )

    def contains(self, tip: str | None, commit: str) -> bool:
        """Whether `commit` is in the history of `tip`, fetching what that takes."""
        if Repository.contains(self, tip, commit):
            return True
        return tip is not None and self._deepen() and Repository.contains(self, tip, commit)

    def count(self, tip: str, base: str) -> int:
        """Return how many commits `tip` has that `base` has not."""
        ends = self._ends()
        if ends and ends.intersection(self.git.run("rev-list", tip, f"^{base}").output.decode("ascii").split()):
            self._deepen()
        return Repository.count(self, tip, base)

    def refuse_checked_out(self, pull: str) -> None:
        """Leave it to the server, which knows its work trees."""

    # an action's refs

    def look(self, change: Change, action: ActionRef) -> Seen:
        """Read the refs that an action is about; the marker may be the fence."""
        base, branch = f"refs/heads/{change.base}", f"refs/heads/{branch_of(change, action)}"
        pull = pull_ref(change, action)
        marker = pull if isinstance(change, Opening) else update_ref(action)
        found = self.read(*dict.fromkeys((base, branch, pull, marker)))
        fence = self._fence(found[marker], action)
        return Seen(
            base=found[base],
            branch=found[branch],
            pull=None if fence and marker == pull else found[pull],
            marker=None if fence or marker == pull else found[marker],
            fence=fence,
        )

    def look_at_closing(self, closing: Closing, action: ActionRef) -> Seen:
        """Read the refs that a closing is about; the marker may be the fence."""
        base, branch = f"refs/heads/{closing.base}", f"refs/heads/keyturn/{closing.pull}"
        pull, marker = f"refs/keyturn/pull/{closing.pull}", close_ref(action)
        found = self.read(base, branch, pull, marker)
        fence = self._fence(found[marker], action)
        return Seen(
            base=found[base],
            branch=found[branch],
            pull=found[pull],
            marker=None if fence else found[marker],
            fence=fence,
        )

    def unfenced(self, transaction: Transaction, action: ActionRef) -> None:
        """Nothing is to be added: a landing creates the very ref that a fence would hold."""

    def fence_off(self, transaction: Transaction, marker: str, action: ActionRef) -> None:
        """Create the marker, naming a commit that lands nothing."""
        fence = build_fence(action.action, self.width())
        store(self.git, fence)
        transaction.move(marker, fence.commit, None)

    # writing

    def commit(self, transaction: Transaction) -> Trouble | None:
        """Push a transaction; return why it did not come through, or may not have."""
        if BLOCKING in self.course.listed and any(move.ref.startswith(f"{BLOCKING}/") for move in transaction.moves):
            return Trouble("a branch called keyturn stands where keyturn/… has to go", "refused", final=True)
        if PLACE not in self.course.listed and (trouble := self._make_place(transaction)):
            return trouble
        return self._push(transaction)

    def _make_place(self, transaction: Transaction) -> Trouble | None:
        """See that the server takes refs of ours, by creating one that lands nothing."""
        # any commit does; one that the server has is at hand wherever there is a branch
        known = [oid for ref, oid in self.course.listed.items() if ref.startswith("refs/heads/")]
        new = known[0] if known else next(move.new or move.old for move in transaction.moves)
        trouble = self._push(Transaction([Move(PLACE, new, None)]))
        if trouble is None or PLACE in self.ask(PLACE):
            self.course.doubt = ""
            return None
        if trouble.kind != "unknown":
            return replace(trouble, final=True)
        self.course.doubt = ""  # whatever becomes of this push, the action has not begun
        return Trouble(f"nothing was landed yet: {trouble.said}", "retry", final=True)

    def _push(self, transaction: Transaction) -> Trouble | None:
        leases = [f"--force-with-lease={move.ref}:{move.old or ''}" for move in transaction.moves]
        specs = [f"{move.new or ''}:{move.ref}" for move in transaction.moves]
        called = self._call("push", *_PUSH, *leases, "--", self.line.target.url, *specs)
        if called.code == 0 and not called.cut:
            return None
        hidden = self.line.hidden(self.secret)
        rejected, moved = ([], False) if called.cut else _told(called.output)
        if rejected:
            return self._judged(rejected, quoted(split(called.lines, hidden)[1]), moved=moved)
        return self._doubted(sort(called.lines, called.cut, hidden))

    def rehearse(self, commit: str) -> None:
        """Find out whether a push would be let in, writing nothing. Raises `ConnectorError` when it would not be."""
        self._done("push", "--dry-run", *_PUSH, "--", self.line.target.url, f"{commit}:{REHEARSED}")

    def _judged(self, rejected: Sequence[tuple[str, str]], words: str, *, moved: bool) -> Trouble:
        """Judge a push that the server, or git on its behalf, turned down ref by ref; `moved`: some came through."""
        reasons = [(ref, why) for ref, why in rejected if not any(word in why for word in _COMPANIONS)]
        said = visible("; ".join(dict.fromkeys(f"{ref}: {why}" for ref, why in reasons)))[:300] + words
        raced = all(any(race in why for race in _RACES) for _, why in reasons)
        if not raced and all(ref.startswith("refs/keyturn/") for ref, _ in reasons):
            self.course.shut = said
        if moved or any("remote failure" in why for _, why in reasons):
            what = "the server moved a part of the refs" if moved else "the server did not say what came of the push"
            self.course.doubt = f"{what}: {said}"
            return Trouble(self.course.doubt, "unknown", final=True)
        if raced:
            return Trouble(said or "the server's refs moved", "retry")
        return Trouble(said, "refused", final=True)

    def _doubted(self, found: Sorted) -> Trouble:
        """Judge a push that ended without a word about its refs."""
        if found.unauthorised:
            raise Unauthorised(found)
        if found.sure:
            return Trouble(str(found), found.kind, final=True)
        self.course.doubt = f"the push was sent, and its outcome is not known: {found.words}"
        return Trouble(self.course.doubt, "unknown", final=True)

    # the copy

    def _fence(self, oid: str | None, action: ActionRef) -> str | None:
        return oid if oid and oid == build_fence(action.action, len(oid)).commit else None

    def _here(self, oid: str) -> bool:
        with self.git.objects() as objects:
            return objects.has(oid)

    def _fetch(self, refs: Iterable[str]) -> None:
        """Fetch refs; into an empty copy the newest commit of an ordinary branch alone."""
        wanted = list(refs)
        fresh = not self.git.run("for-each-ref", "--count=1").output
        ordinary = all(ref.startswith("refs/heads/") and not ref.startswith("refs/heads/keyturn/") for ref in wanted)
        depth = ["--depth=1"] if fresh and ordinary else []
        self._done(*_FETCH, *depth, "--", self.line.target.url, *map(_kept, wanted))

    def _deepen(self) -> bool:
        """Fetch all history of the refs that were listed; False where there is nothing to fetch."""
        if not self._ends() or not self.course.listed:
            return False
        self._done(*_FETCH, "--unshallow", "--", self.line.target.url, *map(_kept, self.course.listed))
        return True

    def _ends(self) -> frozenset[str]:
        """Return the commits whose parents are not here although they have some."""
        try:
            return frozenset((self.git.folder / "shallow").read_text("ascii").split())
        except FileNotFoundError:
            return frozenset()

    def _done(self, *arguments: str) -> Called:
        """Call git for something that changes nothing over there; once more if that may help."""
        called = self._call(*arguments)
        if (found := self._failure(called)) and found.kind == "retry" and not called.cut:
            called = self._call(*arguments)
            found = self._failure(called)
        if found is None:
            return called
        if found.unauthorised:
            raise Unauthorised(found)
        if not found.known and arguments[0] == "fetch":
            raise Damaged(f"the copy of the remote cannot be brought up to date: {found}")
        raise Failure(found)

    def _call(self, *arguments: str) -> Called:
        with self.line.open(self.secret) as link:
            return self.git.call(*arguments, link=link)

    def _failure(self, called: Called) -> Sorted | None:
        if called.code == 0 and not called.cut:
            return None
        if any(phrase in line for line in called.lines for phrase in _NOT_GIVEN):
            return None  # whoever asked sees that it is not here
        return sort(called.lines, called.cut, self.line.hidden(self.secret))


_FETCH = (
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
    "--force",
)
_PUSH = (
    "--atomic",
    "--porcelain",
    "--no-progress",
    "--no-verify",
    "--no-signed",
    "--no-follow-tags",
    "--recurse-submodules=no",
)


def _kept(ref: str) -> str:
    """Return the refspec that keeps a remote's ref in the copy, so that less is fetched the next time.

    Under a name of its own: a branch `a` may be there no more when `a/b` comes.
    """
    return f"+{ref}:refs/seen/{hashlib.sha256(ref.encode()).hexdigest()[:32]}"


def _told(output: bytes) -> tuple[list[tuple[str, str]], bool]:
    """Return the refs that a push was turned down for, with the reason, and whether others came through.

    From its porcelain output: a line of flag, names and summary for each ref (git-push(1)).
    """
    found, moved = [], False
    for line in output.decode("utf-8", "replace").splitlines():
        flag, _, rest = line.partition("\t")
        names, _, summary = rest.partition("\t")
        if flag == "!":
            found.append((names.rpartition(":")[2], summary))
        moved = moved or flag in (" ", "+", "-", "*")
    return found, moved
