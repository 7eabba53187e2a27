"""Golden bundles: a good one as an auditor gets it, and many that somebody damaged.

What is damaged in the log is signed by the key it names, so that nothing but the damage tells. Members are stored
unpacked and without times, so that the same bytes come out wherever these files are made.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyturn import canon
from keyturn.log.manifest import Manifest
from keyturn.log.note import Note
from keyturn.log.tiles import Tile, entries_path, payloads_path, signatures_path
from tests.vectors.before_cases import before_cases
from tests.vectors.bundle_story import ACTION, ERASED, REQUEST, anchored, found_log, make_good_log, openings
from tests.vectors.end_cases import bundled, end_cases
from tests.vectors.story import INSTANCE, LOG_KEY, ORIGIN, OTHER_KEY, VERIFIER, Log, b64, salt
from tests.vectors.tree_cases import COSIGNER, by_log, by_witness, head_text

Members = dict[str, bytes]
PROGRAM: Final = b"# Take the program from somewhere else than from who made the bundle.\n"
"""Stands for `verify.py`, which is no part of what is proved."""
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_FILE: Final = 0o100_644 << 16
_LINK: Final = 0o120_777 << 16
MOST_OF_A_NOTE: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class BundleCase:
    """A bundle and what to find. `seq` and `proof` are None where nothing is wrong.

    proof, reason   what fails, and words of it
    witnesses       whether the witness is named to the verifier
    blind           a program that does not derive decisions again finds nothing wrong
    witnessed       entries that a named witness vouches for
    """

    name: str
    what: str
    data: bytes
    seq: int | None = None
    proof: int | None = None
    reason: str = ""
    witnesses: bool = False
    verifier: str = str(VERIFIER)
    bundle: str = ""
    blind: bool = False
    witnessed: int = 0
    verdict: str = "FAIL"


def bundle_json(case: BundleCase) -> dict[str, object]:
    """Return what to expect of a bundle, as its file holds it."""
    found = {"seq": case.seq, "proof": case.proof, "reason": case.reason}
    expect = {
        "verdict": case.verdict,
        "witnessed": case.witnessed,
        "first_bad": None if case.proof is None else found,
    }
    return {
        "what": case.what,
        "bundle": f"{case.bundle or case.name}.zip",
        "verifier": case.verifier,
        "witnesses": [str(COSIGNER)] if case.witnesses else [],
        "expect": expect | ({"without_policy": "PASS-UNANCHORED"} if case.blind else {}),
    }


def bundle_cases() -> Iterator[BundleCase]:
    """Yield every bundle; the same one under several names where it is asked about in several ways."""
    log = make_good_log()
    yield from _good(log)
    yield from _bytes(log)
    yield from _payloads(log)
    yield from _notes(log)
    yield from _thefts()
    yield from _ends()
    yield from _befores()
    yield from _shapes(found_log())


# --- what a bundle is made of ------------------------------------------------------------------------------------


def members_of(
    log: Log, note: Note | None = None, anchors: Mapping[int, Note] | None = None, **choice: Any
) -> Members:
    """Return the members of a bundle of a log of at most 256 entries; `choice` are fields of its manifest."""
    size = len(log.rows)
    text = head_text(log, size)
    manifest = Manifest(**{"verifier": VERIFIER, "size": size, "first": 0, "end": size, **choice})
    opened: dict[str, dict[str, dict[str, str]]] = {}
    for (seq, field), (secret, data) in openings(log).items():
        if manifest.discloses(seq, log.rows[seq].fields.get("action"), field):
            opened.setdefault(str(seq), {})[field] = {"data": b64(data), "salt": b64(secret)}
    bodies = [row.body for row in log.rows]
    return {
        "checkpoint": bytes(note or Note(text, (by_log(text), by_witness(text)))),
        "manifest.json": bytes(manifest),
        "verify.py": PROGRAM,
        Tile(0, 0, size).path: b"".join(bytes.fromhex(row.leaf) for row in log.rows),
        entries_path(0, size): b"".join(len(body).to_bytes(2, "big") + body for body in bodies),
        signatures_path(0): b"".join(row.signature for row in log.rows),
        payloads_path(0): canon.encode(dict(opened)),
        **{f"anchors/{seq}.note": bytes(kept) for seq, kept in (anchors or {}).items()},
    }


def zipped(members: Members | Sequence[tuple[str, bytes]], mode: int = _FILE, comment: bytes = b"") -> bytes:
    """Return a ZIP; `mode` is that of `verify.py`. Members given as pairs may stand there twice."""
    out = io.BytesIO()
    pairs = sorted(members.items()) if isinstance(members, dict) else members
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that stand there twice
        archive.comment = comment
        for name, data in pairs:
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system, info.external_attr = 3, mode if name == "verify.py" else _FILE
            archive.writestr(info, data)
    return out.getvalue()


def whole(log: Log, **choice: Any) -> Members:
    """Return the members of a bundle of the good log, or of one that went on from it."""
    [seq] = [seq for seq, row in enumerate(log.rows) if row.fields["kind"] == "anchor.recorded"]
    return members_of(log, anchors={seq: anchored(log)}, **choice)


# --- the cases ---------------------------------------------------------------------------------------------------


def _good(log: Log) -> Iterator[BundleCase]:
    size, data = len(log.rows), zipped(whole(log))
    yield BundleCase(
        name="good", what="a witness that is named cosigned all of it", data=data, witnesses=True, verdict="PASS",
        witnessed=size,
    )  # fmt: skip
    open_ = "PASS-UNANCHORED"
    yield BundleCase(
        name="good-nobody-named", what="the same bundle, and no witness is named", data=data, bundle="good",
        verdict=open_,
    )  # fmt: skip
    yield BundleCase(
        name="good-another-log-expected", what="the same bundle, and another log is asked for", data=data,
        bundle="good", verifier=str(VERIFIER).replace(*_another_log()), seq=0, proof=12, reason="not the one given",
    )  # fmt: skip
    early = anchored(log)
    yield BundleCase(
        name="tail-not-witnessed", what="the checkpoint is older than the last entries",
        data=zipped(whole(log, note=early)), witnesses=True, verdict=open_, witnessed=10,
    )  # fmt: skip
    some = zipped(whole(log, withheld=frozenset({"reason", "review.reason"})))
    yield BundleCase(
        name="some-withheld", what="two fields are withheld, and the manifest says so", data=some, witnesses=True,
        verdict="PASS", witnessed=size,
    )  # fmt: skip


def _another_log() -> tuple[str, str]:
    """Return the verifier string of the log, and one of a log of the same name that another key opens."""
    other = type(VERIFIER)(ORIGIN, OTHER_KEY.public)
    return str(VERIFIER), str(other)


def _changed(members: Members, name: str, change: Callable[[bytes], bytes]) -> bytes:
    [found] = [known for known in members if known == name or known.startswith(f"{name}.p/")]
    data = change(members[found])
    if data == members[found]:
        raise AssertionError(f"{name} was not changed")
    return zipped({**members, found: data})


def _bytes(log: Log) -> Iterator[BundleCase]:
    members = whole(log)

    def bad(name: str, what: str, at: tuple[int | None, int], reason: str, data: bytes) -> BundleCase:
        return BundleCase(name=name, what=what, data=data, seq=at[0], proof=at[1], reason=reason)

    claude = _changed(members, "tile/entries/000", lambda data: data.replace(b'"claude"', b'"claudf"', 1))
    yield bad("entry-letter-changed", "one letter in the body of entry 4", (4, 5), "signature", claude)
    flipped = _changed(members, "tile/0/000", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    yield bad("hash-bit-flipped", "one bit of the last leaf hash", (13, 7), "leaf hash", flipped)
    wrong = _changed(members, "signatures/000", lambda data: bytes(64) + data[64:])
    yield bad("signature-zero", "64 zero bytes sign entry 0", (0, 5), "signature", wrong)
    turned = _changed(members, "signatures/000", lambda data: data[:128] + data[192:256] + data[128:192] + data[256:])
    yield bad("signatures-swapped", "entries 2 and 3 have each other's", (2, 5), "signature", turned)
    cut = _changed(members, "signatures/000", lambda data: data[:-1])
    yield bad("signatures-cut", "the last byte of all signatures is missing", (0, 8), "64 bytes", cut)
    less = _changed(members, "tile/entries/000", lambda data: data[:-5])
    yield bad("entries-cut", "the last body ends too early", (None, 8), "too early", less)
    more = _changed(members, "tile/entries/000", lambda data: data + b"\0\0")
    yield bad("entries-more", "an empty body behind the last", (None, 8), "holds 15 entries", more)
    longer = make_good_log()
    longer.add(*_throttled(longer))
    yield bad(
        "last-entry-cut", "the checkpoint is of one entry more than there are", (14, 14), "15",
        zipped(whole(log, note=_all_of(longer))),
    )  # fmt: skip


def _throttled(log: Log) -> tuple[str, dict[str, Any]]:
    facts = {"principal": "claude", "count": 2, "code": "not_granted", "since": log.at(9), "until": log.at(13)}
    return "requests.throttled", facts


def _all_of(log: Log) -> Note:
    text = head_text(log, len(log.rows))
    return Note(text, (by_log(text), by_witness(text)))


def _payloads(log: Log) -> Iterator[BundleCase]:
    members = whole(log)

    def bad(
        name: str, what: str, at: tuple[int | None, int], reason: str, change: Callable[[Any], object]
    ) -> BundleCase:
        value = json.loads(members["payloads/000.json"])
        change(value)
        data = zipped({**members, "payloads/000.json": canon.encode(value)})
        return BundleCase(name=name, what=what, data=data, seq=at[0], proof=at[1], reason=reason)

    at, (erased, field) = str(REQUEST), ERASED
    yield bad(
        "payload-missing", "gone, and no entry says that it was erased", (REQUEST, 6), "reason",
        lambda found: found[at].pop("reason"),
    )  # fmt: skip
    yield bad(
        "payload-other-words", "other words under the commitment", (REQUEST, 6), "reason",
        lambda found: found[at]["reason"].update(data=b64(canon.encode("Because."))),
    )  # fmt: skip
    yield bad(
        "payload-other-salt", "another salt", (REQUEST, 6), "reason",
        lambda found: found[at]["reason"].update(salt=b64(bytes(32))),
    )  # fmt: skip
    again = {"data": b64(canon.encode("claude-code 2.1")), "salt": b64(salt(erased, field))}
    yield bad(
        "payload-erased-and-there", "an entry says that it was erased", (REQUEST, 6), "client",
        lambda found: found[at].update({field: again}),
    )  # fmt: skip
    yield bad(
        "payload-without-commitment", "no entry commits to it", (REQUEST, 6), "mood",
        lambda found: found[at].update(mood=again),
    )  # fmt: skip
    yield bad(
        "payload-of-no-entry", "its entry is not there", (0, 8), "'99'", lambda found: found.update({"99": {}})
    )  # fmt: skip


def _notes(log: Log) -> Iterator[BundleCase]:
    members, last = whole(log), len(log.rows) - 1
    text = head_text(log, last + 1)

    def bad(name: str, what: str, note: Note, reason: str) -> BundleCase:
        data = zipped(whole(log, note=note))
        return BundleCase(name=name, what=what, data=data, seq=last, proof=14, reason=reason, witnesses=True)

    stolen = Note(text, (by_log(text, log.key), by_witness(text)))
    yield bad("checkpoint-by-an-entry-key", "an entry key signed it", stolen, "by another key")
    forged = text.replace(text.split("\n")[2], b64(bytes(32)))
    other = Note(forged, (by_log(forged), by_witness(forged)))
    yield bad("checkpoint-of-another-tree", "log and witness signed another root", other, "are not those")
    failing = Note(text, (by_log(text), by_witness(text + "x\n")))
    yield bad("cosignature-fails", "the named witness signed another text", failing, "does not verify")
    elsewhere = text.replace(ORIGIN, "acme/" + "f" * 32)
    named = Note(elsewhere, (by_log(elsewhere), by_witness(elsewhere)))
    yield bad("checkpoint-of-another-log", "it names another origin", named, "another log")
    no_note = zipped({**members, "checkpoint": b"trust me\n"})
    yield BundleCase(
        name="checkpoint-no-note", what="a text that nobody signed", data=no_note, proof=8, reason="checkpoint"
    )


def _thefts() -> Iterator[BundleCase]:
    """What somebody with the entry and log keys appends: all signatures are good, and what is said cannot be."""

    def bad(name: str, what: str, log: Log, reason: str, proof: int = 9) -> BundleCase:
        data = zipped(whole(log, note=_signed(log)))
        return BundleCase(
            name=name, what=what, data=data, seq=len(log.rows) - 1, proof=proof, reason=reason, blind=proof == 11
        )

    log = make_good_log()
    policy = log.rows[2].fields["policy"]
    log.add("execution.started", {"instance": INSTANCE, "reviews": [7], "policy": policy}, action=ACTION)
    yield bad("thief-runs-again", "one approval, and the action begins a second time", log, "does not wait any more")
    log = make_good_log()
    log.add(
        "execution.finished",
        {"instance": INSTANCE, "outcome": "failed", "effect": False, "recovered": False},
        action=ACTION,
    )
    yield bad("thief-changes-the-outcome", "an outcome after the outcome", log, "a second one")
    log = make_good_log()
    log.add("action.requested", *_unheld(log))
    yield bad(
        "thief-needs-no-review", "the policy holds such requests; this one is permitted", log, "decision", proof=11
    )
    log = make_good_log()
    log.add("token.issued", {**_token(log), "act": None})
    yield bad("thief-issues-a-token", "a token for whose issue nobody signed", log, "without a signature")


def _ends() -> Iterator[BundleCase]:
    """Logs whose payloads had their time, that ended, or that go on from another; nobody but the log key signed."""
    for case in end_cases():
        anchors = {seq: anchored(case.log) for seq, row in enumerate(case.log.rows) if "anchor" in row.fields}
        members = members_of(case.log, note=bundled(case.log), anchors=anchors, verifier=case.verifier)
        yield BundleCase(
            name=case.name, what=case.what, data=zipped(members), seq=case.seq, proof=case.proof, reason=case.reason,
            verifier=str(case.verifier), verdict="FAIL" if case.proof else "PASS-UNANCHORED",
        )  # fmt: skip


def _befores() -> Iterator[BundleCase]:
    """Logs with a rule that asks for an anchor before the effect; nobody but the log key signed the end."""
    for case in before_cases():
        yield BundleCase(
            name=case.name, what=case.what, data=zipped(members_of(case.log, note=bundled(case.log))), seq=case.seq,
            proof=case.proof, reason=case.reason, verdict="FAIL" if case.proof else "PASS-UNANCHORED",
        )  # fmt: skip


def _signed(log: Log) -> Note:
    """Return the checkpoint that a thief of the log key signs: no witness saw it."""
    text = head_text(log, len(log.rows))
    return Note(text, (by_log(text, LOG_KEY),))


def _unheld(log: Log) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """Return a request like the one that was held, at another time and permitted."""
    fields, row = log.rows[REQUEST].fields, log.rows[REQUEST]
    facts = {name: value for name, value in fields.items() if name not in {"action", "data", *_FRAME}}
    at = log.at(len(log.rows))
    facts |= {"decision": "permit", "obligations": [], "reviewers": {}, "excluded": [], "repeat": True}
    facts["expires_at"] = at.replace("T09:", "T10:")
    return facts, {**row.payloads, "client": canon.encode("claude-code 2.1")}, ACTION.replace("91f0", "b130")


_FRAME: Final = ("v", "log", "seq", "prev", "ts", "boot", "up", "kid", "kind")


def _token(log: Log) -> dict[str, Any]:
    fields = log.rows[4].fields
    facts = {name: fields[name] for name in ("principal", "transports", "scopes", "expires_at")}
    return {**facts, "token": canon.sha256(b"another token of the test vectors")}


def _shapes(log: Log) -> Iterator[BundleCase]:
    """ZIPs and manifests that are none; around a log that was only just founded."""
    members = members_of(log)
    good = zipped(members)
    pairs = sorted(members.items())

    def bad(name: str, what: str, data: bytes, reason: str) -> BundleCase:
        return BundleCase(name=name, what=what, data=data, proof=8, reason=reason)

    def manifest(**changes: Any) -> bytes:
        return zipped({**members, "manifest.json": canon.encode({**json.loads(members["manifest.json"]), **changes})})

    def without(name: str) -> bytes:
        return zipped({known: data for known, data in members.items() if known != name})

    yield BundleCase(name="founded", what="a log that was only just founded", data=good, verdict="PASS-UNANCHORED")
    yield bad("member-twice", "a second verify.py", zipped([*pairs, ("verify.py", b"print('PASS')\n")]), "twice")
    yield bad("member-more", "a member that no bundle has", zipped({**members, "README.txt": b"hello"}), "README.txt")
    out = ("../../verify.py", b"")
    yield bad("member-leads-out", "a path with ..", zipped([*pairs, out]), "..")
    yield bad("member-absolute", "a path from the root", zipped([*pairs, ("/etc/x", b"")]), "/etc/x")
    yield bad("member-of-windows", "a path with a drive", zipped([*pairs, ("C:\\x", b"")]), "leads out")
    yield bad("member-link", "verify.py is a symbolic link", zipped(members, _LINK), "verify.py")
    large = zipped({**members, "checkpoint": bytes(MOST_OF_A_NOTE + 1)})
    yield bad("member-too-large", "a checkpoint of more than 64 KiB", large, "checkpoint")
    for name in ("checkpoint", "manifest.json", "verify.py", "signatures/000"):
        what = f"no {name}"
        yield bad(f"no-{name.replace('/', '-').replace('.', '-')}", what, without(name), name)
    yield bad("zip-after-a-script", "something before the ZIP", b"#!/bin/sh\n" + good, "around")
    yield bad("zip-comment", "a comment behind the ZIP", zipped(members, comment=b"PASS"), "around")
    yield bad(
        "zip-checksum", "a byte that its checksum does not fit", good.replace(b"# Take", b"# Fake", 1), "verify.py"
    )
    yield bad("zip-cut", "the directory at the end is missing", good[: len(good) // 2], "no sound ZIP")
    yield bad("manifest-of-another-format", "a later format", manifest(format="keyturn-bundle/v2"), "format")
    yield bad("manifest-size-more", "more entries than there are", manifest(size=6), "is missing")
    yield bad("manifest-size-huge", "10^15 entries", manifest(size=10**15), "more entries")
    yield bad("manifest-not-canonical", "a space in it", _changed(members, "manifest.json", _spaced), "manifest.json")
    other = _another_log()[1]
    at_0 = BundleCase(
        name="manifest-of-another-log", what="another verifier string", data=manifest(verifier=other), seq=0, proof=8,
        reason="another log",
    )  # fmt: skip
    yield at_0
    kept = {**json.loads(members["manifest.json"])["payloads"], "withheld": ["policy.files"]}
    yield bad("manifest-withholds-the-policy", "what is never withheld", manifest(payloads=kept), "policy.files")


def _spaced(manifest: bytes) -> bytes:
    return manifest.replace(b'"size":', b'"size": ')
