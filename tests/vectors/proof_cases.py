"""Golden proofs: that an entry is in the golden log, and what a witness answers when the log grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.log.note import Note
from keyturn.log.proof import EntryProof, Submission
from keyturn.log.tree import EMPTY_ROOT, consistency_proof, inclusion_proof, node_hash
from tests.vectors.story import ORIGIN, OTHER_KEY, Log, b64
from tests.vectors.tree_cases import (
    COSIGNER,
    LOG,
    SEEN,
    WITNESS_NAME,
    by_log,
    by_witness,
    head_text,
    leaves,
    root_after,
    signed_head,
)

INDEX: Final = 6
SIZE: Final = 27


@dataclass(frozen=True)
class EntryCase:
    """A `.tlog-proof` offered for the entry with this leaf hash; `reason` is empty for a good one."""

    name: str
    what: str
    data: bytes
    leaf: bytes
    index: int = INDEX
    size: int = SIZE
    reason: str = ""
    signed: Sequence[tuple[str, int | None]] = ((ORIGIN, None),)


@dataclass(frozen=True)
class GrowthCase:
    """A body of `add-checkpoint`, sent to a witness that cosigned `last` (size and root) latest; its HTTP status."""

    name: str
    what: str
    data: bytes
    status: int
    reason: str = ""
    last: tuple[int, bytes] | None = None


def proof_json(case: EntryCase | GrowthCase) -> dict[str, object]:
    """Return a proof as its file holds it."""
    match case:
        case EntryCase():
            good = {
                "index": case.index, "size": case.size,
                "signed": [{"name": name, "time": time} for name, time in case.signed],
            }  # fmt: skip
            return {
                "what": case.what, "type": "tlog-proof", "keys": [str(LOG), str(COSIGNER)], "leaf": case.leaf.hex(),
                "proof_base64": b64(case.data), "expect": {"refused": case.reason} if case.reason else good,
            }  # fmt: skip
        case GrowthCase():
            last = None if case.last is None else {"size": case.last[0], "root": case.last[1].hex()}
            answer: dict[str, object] = {"status": case.status}
            if case.status == 409 and case.last is not None:
                answer["size"] = case.last[0]
            return {
                "what": case.what, "type": "add-checkpoint", "keys": [str(LOG)], "last": last,
                "body_base64": b64(case.data), "expect": answer | ({"reason": case.reason} if case.reason else {}),
            }  # fmt: skip


def proof_cases(log: Log) -> Iterator[EntryCase | GrowthCase]:
    """Yield every proof."""
    yield from _entries(log)
    yield from _entry_proofs_that_prove_nothing(log)
    yield from _spellings(log)
    yield from _growth(log)
    yield from _growth_refused(log)


def _proof(log: Log, index: int, size: int, note: Note | None = None) -> EntryProof:
    path = inclusion_proof(index, size, _nodes(log))
    return EntryProof(index, tuple(path), note or signed_head(log, size))


def _nodes(log: Log) -> _Nodes:
    return _Nodes(leaves(log))


@dataclass(frozen=True)
class _Nodes:
    leaves: Sequence[bytes]

    def __call__(self, level: int, first: int, count: int) -> Sequence[bytes]:
        if level:
            raise AssertionError("the golden log has no complete run of 256 entries")
        return self.leaves[first : first + count]


def _entries(log: Log) -> Iterator[EntryCase]:
    for index, size, what in (
        (0, 1, "the only entry"),
        (INDEX, SIZE, "an entry in the middle"),
        (0, SIZE, "the first entry"),
        (SIZE - 1, SIZE, "the last entry, whose path is short"),
        (7, 8, "the last entry of a complete tree"),
    ):
        name = f"entry-{index}-of-{size}"
        yield EntryCase(name, what, str(_proof(log, index, size)).encode(), leaves(log)[index], index, size)
    leaf = leaves(log)[INDEX]
    text = head_text(log, SIZE)
    seen = Note(text, (by_log(text), by_witness(text)))
    data = str(_proof(log, INDEX, SIZE, seen)).encode()
    both = ((ORIGIN, None), (WITNESS_NAME, SEEN))
    yield EntryCase("entry-cosigned", "its checkpoint is cosigned", data, leaf, signed=both)
    extra = str(_proof(log, INDEX, SIZE)).replace("\nindex", "\nextra aGVsbG8=\nindex", 1).encode()
    yield EntryCase("entry-with-extra-data", "extra data, passed over", extra, leaf)


def _entry_proofs_that_prove_nothing(log: Log) -> Iterator[EntryCase]:
    leaf, good = leaves(log)[INDEX], _proof(log, INDEX, SIZE)

    def bad(name: str, what: str, reason: str, proof: EntryProof, offered: bytes = leaf) -> EntryCase:
        return EntryCase(f"entry-{name}", what, str(proof).encode(), offered, reason=reason)

    another = "another root"
    yield bad("other-leaf", "another entry than the one proved", another, good, leaves(log)[INDEX + 1])
    other_index = EntryProof(INDEX + 1, good.path, good.note)
    yield bad("other-index", "the neighbour's index", another, other_index)
    flipped = bytes([good.path[0][0] ^ 1]) + good.path[0][1:]
    yield bad("hash-changed", "one bit of the path", another, EntryProof(INDEX, (flipped, *good.path[1:]), good.note))
    yield bad("hash-missing", "the last hash is missing", "too short", EntryProof(INDEX, good.path[:-1], good.note))
    longer = EntryProof(INDEX, (*good.path, bytes(32)), good.note)
    yield bad("hash-more", "a hash too many", "too long", longer)
    outside = EntryProof(SIZE, good.path, good.note)
    yield bad("index-outside", "an index that the tree does not have", "is not in a tree", outside)
    inner = node_hash(*leaves(log)[0:2])
    above = EntryProof(0, _proof(log, 0, SIZE).path[1:], good.note)
    yield bad("interior-node", "the hash of two leaves offered as one leaf", "too short", above, inner)
    smaller = EntryProof(INDEX, good.path, signed_head(log, SIZE - 1))
    yield bad("other-checkpoint", "the checkpoint of an earlier size", another, smaller)
    text = head_text(log, SIZE)
    stranger = EntryProof(INDEX, good.path, Note(text, (by_log(text, OTHER_KEY),)))
    yield bad("signed-by-a-stranger", "a checkpoint that the log did not sign", "none of the known keys", stranger)


def _spellings(log: Log) -> Iterator[EntryCase]:
    leaf, good = leaves(log)[INDEX], str(_proof(log, INDEX, SIZE))
    first = good.split("\n")[2]

    def bad(name: str, what: str, reason: str, old: str, new: str) -> EntryCase:
        text = good.replace(old, new, 1)
        if text == good:
            raise AssertionError(f"{name} changes nothing")
        return EntryCase(f"entry-spelling-{name}", what, text.encode(), leaf, reason=reason)

    index = f"index {INDEX}"
    yield bad("other-version", "another version", "line 1", "@v1", "@v2")
    yield bad("leading-zero", "an index with a leading zero", "line 2", index, f"index 0{INDEX}")
    yield bad("plus", "an index with a sign", "line 2", index, f"index +{INDEX}")
    yield bad("other-digits", "an index in digits of another script", "line 2", index, "index ٦")
    yield bad("no-index", "no index", "line 2", f"{index}\n", "")
    yield bad("hash-without-padding", "a hash without its padding", "line 3", first, first.rstrip("="))
    yield bad("hash-cut", "a hash of 31 bytes", "line 3", first, b64(bytes(31)))
    yield bad("empty-line-missing", "no empty line before the checkpoint", "the checkpoint: ", "\n\n", "\n")
    yield bad("line-ends-of-windows", "CR LF", "line 1", "\n", "\r\n")


def _sent(log: Log, old: int, size: int, note: Note | None = None) -> bytes:
    proof = consistency_proof(old, size, _nodes(log)) if old else []
    return bytes(Submission(old, tuple(proof), note or signed_head(log, size)))


def _growth(log: Log) -> Iterator[GrowthCase]:
    def good(name: str, what: str, old: int, size: int, last: tuple[int, bytes] | None) -> GrowthCase:
        return GrowthCase(f"growth-{name}", what, _sent(log, old, size), 200, last=last)

    yield good("first", "a log this witness sees for the first time", 0, SIZE, None)
    yield good("first-after-empty", "it was empty when it was seen last", 0, SIZE, (0, EMPTY_ROOT))
    for old in (1, 8, 20, 26):
        yield good(f"{old}-to-{SIZE}", "it grew", old, SIZE, (old, root_after(log, old)))
    yield good("none", "the same checkpoint again", 20, 20, (20, root_after(log, 20)))


def _growth_refused(log: Log) -> Iterator[GrowthCase]:
    twenty, root = (20, root_after(log, 20)), root_after(log, 20)
    proof = tuple(consistency_proof(20, SIZE, _nodes(log)))
    note = signed_head(log, SIZE)

    def bad(
        name: str, what: str, status: int, reason: str, data: bytes, *, last: tuple[int, bytes] | None = twenty
    ) -> GrowthCase:
        return GrowthCase(f"growth-{name}", what, data, status, reason, last)

    yield bad("other-old-size", "not the size seen last", 409, "has 20 entries", _sent(log, 8, SIZE))
    yield bad("from-nothing", "as if it had never been seen", 409, "has 20 entries", _sent(log, 0, SIZE))
    yield bad(
        "shrunk", "a tree smaller than the old size", 400, "is above", bytes(Submission(20, (), signed_head(log, 8)))
    )
    fork = (20, node_hash(root, root))
    yield bad("forked", "another tree of 20 was cosigned", 422, "another", _sent(log, 20, SIZE), last=fork)
    yield bad("forked-same-size", "another tree of that size", 409, "another tree", _sent(log, 20, 20), last=fork)
    yield bad("no-proof", "no proof at all", 422, "empty", bytes(Submission(20, (), note)))
    short = bytes(Submission(20, proof[:-1], note))
    yield bad("proof-cut", "the last hash of the proof is missing", 422, "too short", short)
    longer = bytes(Submission(20, (*proof, bytes(32)), note))
    yield bad("proof-longer", "a hash too many", 422, "too long", longer)
    flipped = bytes(Submission(20, (bytes(32), *proof[1:]), note))
    yield bad("proof-changed", "another first hash", 422, "another old root", flipped)
    needless = bytes(Submission(20, (bytes(32),), signed_head(log, 20)))
    yield bad("proof-needless", "a proof between equal sizes", 422, "equal size", needless)
    from_nothing = bytes(Submission(0, (bytes(32),), note))
    yield bad("proof-from-nothing", "a proof from size 0", 422, "from nothing", from_nothing, last=None)
    text = head_text(log, SIZE)
    stranger = bytes(Submission(20, proof, Note(text, (by_log(text, OTHER_KEY),))))
    yield bad("signed-by-a-stranger", "the log did not sign it", 403, "none of the known keys", stranger)
    elsewhere = text.replace(ORIGIN, "acme/" + "f" * 32)
    unknown = bytes(Submission(20, proof, Note(elsewhere, (by_log(elsewhere),))))
    yield bad("unknown-log", "an origin the witness does not know", 404, "does not know", unknown)
    good = _sent(log, 20, SIZE)
    yield bad(
        "old-leading-zero", "an old size with a leading zero", 400, "line 1", good.replace(b"old 20", b"old 020")
    )
    yield bad("old-plus", "an old size with a sign", 400, "line 1", good.replace(b"old 20", b"old +20"))
    yield bad("empty", "nothing", 400, "empty line", b"")
