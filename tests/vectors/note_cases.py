"""Golden notes: checkpoints of the golden log, good and bad, each bad one for one reason."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from keyturn.log.note import Note, NoteKey, NoteSignature
from tests.vectors.story import LOG_KEY, ORIGIN, OTHER_KEY, Log, b64
from tests.vectors.tree_cases import (
    COSIGNER,
    LOG,
    OTHER_COSIGNER,
    OTHER_NAME,
    OTHER_WITNESS,
    SEEN,
    WITNESS,
    WITNESS_NAME,
    by_log,
    by_witness,
    head_text,
    root_after,
)

SIZE = 20


@dataclass(frozen=True)
class NoteCase:
    """One note: what a reader with these keys must make of it. `reason` is empty for a good one."""

    name: str
    what: str
    data: bytes
    signed: Sequence[tuple[str, int | None]] = ()
    reason: str = ""
    keys: Sequence[NoteKey] = field(default=(LOG, COSIGNER))
    extensions: Sequence[str] = ()


def note_cases(log: Log) -> Iterator[NoteCase]:
    """Yield every note."""
    yield from _good(log)
    yield from _signatures(log)
    yield from _spellings(log)
    yield from _checkpoints(log)


def note_json(case: NoteCase, log: Log) -> dict[str, object]:
    """Return a note as its file holds it."""
    expect: dict[str, object] = {"refused": case.reason}
    if not case.reason:
        expect = {
            "origin": ORIGIN, "size": SIZE, "root": root_after(log, SIZE).hex(), "extensions": list(case.extensions),
            "signed": [{"name": name, "time": time} for name, time in case.signed],
        }  # fmt: skip
    keys = [str(key) for key in case.keys]
    return {"what": case.what, "keys": keys, "note_base64": b64(case.data), "expect": expect}


def _good(log: Log) -> Iterator[NoteCase]:
    text = head_text(log, SIZE)
    mine, seen = by_log(text), by_witness(text)
    also = by_witness(text, SEEN + 60, OTHER_WITNESS, OTHER_NAME)
    by_me, by_it = (ORIGIN, None), (WITNESS_NAME, SEEN)
    yield NoteCase("checkpoint", "signed by the log alone", bytes(Note(text, (mine,))), [by_me])
    yield NoteCase("cosigned", "and cosigned by a witness", bytes(Note(text, (mine, seen))), [by_me, by_it])
    both = bytes(Note(text, (mine, seen, also)))
    three = (LOG, COSIGNER, OTHER_COSIGNER)
    named = (OTHER_NAME, SEEN + 60)
    yield NoteCase("cosigned-by-two", "two witnesses", both, [by_me, by_it, named], keys=three)
    yield NoteCase("unknown-key-passed-over", "one of the witnesses is not known", both, [by_me, by_it])
    again = bytes(Note(text, (mine, mine)))
    yield NoteCase("signed-twice", "one key's signature twice counts once", again, [by_me])
    garbled = NoteSignature(OTHER_NAME, OTHER_COSIGNER.id, b"?")
    odd = bytes(Note(text, (mine, garbled)))
    yield NoteCase("unknown-key-with-garbage", "what an unknown key signed is not looked at", odd, [by_me])
    more = head_text(log, SIZE, "of no meaning here")
    noted = bytes(Note(more, (by_log(more),)))
    lines = ["of no meaning here"]
    yield NoteCase("extension-line", "a fourth line of the checkpoint", noted, [by_me], extensions=lines)


def _signatures(log: Log) -> Iterator[NoteCase]:
    text = head_text(log, SIZE)
    mine = by_log(text)

    def bad(name: str, what: str, reason: str, *signatures: NoteSignature) -> NoteCase:
        return NoteCase(name, what, bytes(Note(text, signatures)), reason=reason)

    nobody = "none of the known keys"
    yield bad("wrong-key", "another key under the log's name", nobody, by_log(text, OTHER_KEY))
    yield bad("wrong-name", "the log's key under another name", nobody, by_log(text, name="shop"))
    posing = NoteSignature(ORIGIN, LOG.id, by_log(text, OTHER_KEY).blob)
    yield bad("key-id-of-another", "another key's signature under the log's name and key id", "not verify", posing)
    flipped = NoteSignature(ORIGIN, LOG.id, bytes([mine.blob[0] ^ 1]) + mine.blob[1:])
    yield bad("signature-bit-flipped", "one bit of the signature", "does not verify", flipped)
    cut = NoteSignature(ORIGIN, LOG.id, mine.blob[:-1])
    yield bad("signature-cut", "a signature of 63 bytes", "does not verify", cut)
    elsewhere = NoteSignature(WITNESS_NAME, COSIGNER.id, by_witness(text + "more\n").blob)
    yield bad("known-key-fails", "the log's is good, a known witness's is not", "not verify", mine, elsewhere)
    later = NoteSignature(WITNESS_NAME, COSIGNER.id, (SEEN + 1).to_bytes(8, "big") + by_witness(text).blob[8:])
    yield bad("cosignature-of-another-time", "the time was changed", "does not verify", mine, later)
    plain = NoteSignature(WITNESS_NAME, COSIGNER.id, SEEN.to_bytes(8, "big") + WITNESS.sign(text.encode()))
    yield bad("log-signature-as-cosignature", "a plain signature behind a time", "does not verify", mine, plain)
    beyond = 2**63
    message = f"cosignature/v1\ntime {beyond}\n{text}".encode()
    far = NoteSignature(WITNESS_NAME, COSIGNER.id, beyond.to_bytes(8, "big") + WITNESS.sign(message))
    yield bad("cosignature-beyond-time", "a time of 2^63 seconds", "beyond", mine, far)
    other_text = head_text(log, SIZE + 1)
    yield NoteCase(
        "text-changed", "another checkpoint above the signature", bytes(Note(other_text, (mine,))),
        reason="does not verify",
    )  # fmt: skip


def _spellings(log: Log) -> Iterator[NoteCase]:
    text = head_text(log, SIZE)
    good = bytes(Note(text, (by_log(text),)))
    line = str(by_log(text)).encode()
    encoded = line.split()[-1]

    def bad(name: str, what: str, reason: str, data: bytes) -> NoteCase:
        if data == good:
            raise AssertionError(f"{name} changes nothing")
        return NoteCase(name, what, data, reason=reason)

    yield bad("newline-missing-at-the-end", "the last line does not end", "end in a newline", good[:-1])
    yield bad("empty-line-missing", "no empty line before the signatures", "empty line", good.replace(b"\n\n", b"\n"))
    yield bad("empty-line-at-the-end", "the text reaches to the last empty line", "no signature", good + b"\n")
    yield bad("no-signature", "a text and nothing else", "no signature", text.encode() + b"\n")
    yield bad("line-ends-of-windows", "CR LF", "empty line", good.replace(b"\n", b"\r\n"))
    yield bad("hyphen-for-dash", "a hyphen in place of the em dash", "em dash", good.replace("—".encode(), b"-"))
    yield bad(
        "two-spaces", "two spaces before the signature", "not base64", good.replace(b" " + encoded, b"  " + encoded)
    )
    yield bad(
        "signature-without-padding",
        "base64 without its padding",
        "base64",
        good.replace(encoded, encoded.rstrip(b"=")),
    )
    yield bad("signature-url-safe", "base64 of the URL-safe alphabet", "base64", _url_safe(text))
    yield bad(
        "signature-spare-bits",
        "base64 whose spare bits are not zero",
        "canonical",
        good.replace(encoded, _loose(encoded)),
    )
    yield bad("control-character", "a tab in the text", "control character", b"\t" + good)
    yield bad("not-utf-8", "a byte that is no UTF-8", "not UTF-8", b"\xff" + good)
    yield bad(
        "plus-in-the-name",
        "a name with a plus",
        "without spaces or +",
        good.replace("— acme/".encode(), "— ac+e/".encode()),
    )


def _checkpoints(log: Log) -> Iterator[NoteCase]:
    good = head_text(log, SIZE)
    root = good.split("\n")[2]

    def bad(name: str, what: str, reason: str, text: str) -> NoteCase:
        if text == good:
            raise AssertionError(f"{name} changes nothing")
        return NoteCase(name, f"signed by the log, but {what}", bytes(Note(text, (by_log(text),))), reason=reason)

    def size(name: str, what: str, spelt: str) -> NoteCase:
        return bad(f"size-{name}", what, "line 2", good.replace(f"\n{SIZE}\n", f"\n{spelt}\n"))

    yield size("leading-zero", "the size has a leading zero", f"0{SIZE}")
    yield size("plus", "the size has a sign", f"+{SIZE}")
    yield size("underscore", "the size has an underscore", "2_0")
    yield size("other-digits", "the size is in digits of another script", "٢٠")
    yield size("space", "a space stands before the size", f" {SIZE}")
    yield size("fraction", "the size has a fraction", f"{SIZE}.0")
    yield size("2-to-the-63", "the size is 2^63", str(2**63))
    yield size("empty", "the size is missing", "")
    yield bad("root-cut", "the root has 31 bytes", "line 3", good.replace(root, b64(root_after(log, SIZE)[:31])))
    yield bad("root-longer", "the root has 33 bytes", "line 3", good.replace(root, b64(root_after(log, SIZE) + b"x")))
    yield bad("root-without-padding", "the root has no padding", "line 3", good.replace(root, root.rstrip("=")))
    loose = _loose(root.encode()).decode()
    yield bad("root-spare-bits", "the root's spare bits are not zero", "line 3", good.replace(root, loose))
    hexadecimal = root_after(log, SIZE).hex()
    yield bad("root-in-hex", "the root is in hex", "line 3", good.replace(root, hexadecimal))
    yield bad("origin-empty", "it has no origin", "is empty", good.replace(ORIGIN, ""))
    yield bad("two-lines", "it has no root", "each on a line", f"{ORIGIN}\n{SIZE}\n")


def _loose(encoded: bytes) -> bytes:
    """Return base64 that lax readers take for the same bytes."""
    data = base64.b64decode(encoded)
    stem = encoded.rstrip(b"=")
    padding = encoded[len(stem) :]
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for letter in letters:
        other = stem[:-1] + bytes([letter]) + padding
        if other != encoded and base64.b64decode(other) == data:
            return other
    raise AssertionError("these bytes leave no spare bits")


def _url_safe(text: str) -> bytes:
    """Return a note signed under a key id and signature that are spelt with `-` and `_`."""
    line = base64.urlsafe_b64encode(LOG.id + LOG_KEY.sign(text.encode()))
    if not {b"-"[0], b"_"[0]} & set(line):
        raise AssertionError("this signature is spelt alike in both alphabets")
    return f"{text}\n— {ORIGIN} ".encode() + line + b"\n"
