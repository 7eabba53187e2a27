"""Makes bundles of ledgers as they lie, damaged ones too, and asks both verifiers about them."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from keyturn.cli import keyturn
from keyturn.evidence import verify as program
from keyturn.evidence.bundle import Opening, write_bundle
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry, leaf_hash
from keyturn.log.keys import parse_verifier
from keyturn.log.manifest import Manifest
from keyturn.log.note import Note, NoteKey, signature_of, to_sign
from keyturn.log.tree import Frontier
from keyturn.verifier import verify_ledger
from tests.verifier.world import World, raw

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or shutil.which("python3") or "python3"
PROGRAM = Path(program.__file__)

Sign = Callable[[bytes], bytes]
Members = dict[str, bytes]


@dataclass
class Rows:
    """Entries and payloads as somebody wrote them, checked by nobody: a shelf for `write_bundle`."""

    bodies: list[tuple[bytes, bytes]]
    payloads: dict[tuple[int, str], Opening] = field(default_factory=dict)

    @classmethod
    def of(cls, database: Path) -> Rows:
        with raw(database) as db:
            found = cls(db.execute("SELECT body, sig FROM entry ORDER BY seq").fetchall())
            for seq, name, salt, data in db.execute("SELECT seq, field, salt, data FROM payload"):
                found.payloads[(seq, name)] = (salt, data)
        return found

    def entries(self, first: int, end: int) -> list[Entry]:
        return [self._entry(seq) for seq in range(first, min(end, len(self.bodies)))]

    def opening(self, entry: Entry, field: str) -> Opening | None:
        return self.payloads.get((entry.seq, field))

    def _entry(self, seq: int) -> Entry:
        body, signature = self.bodies[seq]
        said = _said(body)
        stored = sorted(name for at, name in self.payloads if at == seq)
        return Entry(
            body=body,
            signature=signature.ljust(64, b"\0")[:64],
            log="",
            seq=seq,
            prev="",
            at=datetime(1970, 1, 1, tzinfo=UTC),
            boot="",
            up=0,
            kid="",
            kind=str(said.get("kind")),
            action=said.get("action"),
            facts={},
            data=dict.fromkeys(stored, ""),
            leaf=leaf_hash(body),
        )


def _said(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def checkpoint_of(rows: Rows, verifier: str, sign: Sign, size: int | None = None) -> bytes:
    """Sign a checkpoint of the first `size` rows, or of all."""
    tree, log = Frontier(), parse_verifier(verifier)
    for body, _ in rows.bodies[:size]:
        tree.add(bytes.fromhex(leaf_hash(body)))
    text = Checkpoint(log.origin, tree.size, tree.root()).text
    key = NoteKey(log.origin, log.key)
    return bytes(Note(text, (signature_of(key, sign(to_sign(text))),)))


def bundle_of(rows: Rows, verifier: str, checkpoint: bytes, **choice: Any) -> bytes:
    """Return a bundle of rows; `choice` are fields of the manifest."""
    size = len(rows.bodies)
    manifest = Manifest(verifier=parse_verifier(verifier), size=size, first=0, end=size)
    out = BytesIO()
    write_bundle(out, rows, replace(manifest, **choice), checkpoint)
    return out.getvalue()


def members_of(bundle: bytes) -> Members:
    with zipfile.ZipFile(BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Members) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def asked(bundle: Path, key: str, *more: str, python: str = PYTHON) -> dict[str, Any]:
    """Return what the one-file program says, run by itself: isolated, without site packages and environment."""
    done = subprocess.run(
        [python, "-I", "-S", str(PROGRAM), str(bundle), "--key", key, "--json", *more],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (7 if said["verdict"] == "FAIL" else 0), done.stderr
    return said


def first_bad(said: Mapping[str, Any]) -> tuple[str, int | None, int | None]:
    """Return verdict, and place and proof of the first bad entry."""
    bad = said["first_bad"] or {"seq": None, "proof": None}
    return said["verdict"], bad["seq"], bad["proof"]


def both(bundle: Path, key: str, **given: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what the program and `audit verify` say of a bundle."""
    return first_bad(asked(bundle, key)), first_bad(verify_ledger(bundle, pinned=key, **given).to_json())


def bundle_in(folder: Path, world: World, **choice: Any) -> Path:
    """Write a bundle of a world's ledger as it lies, with a checkpoint of all of it, and return where."""
    rows = Rows.of(world.database)
    file = folder / "bundle.zip"
    file.write_bytes(
        bundle_of(rows, world.verifier, checkpoint_of(rows, world.verifier, world.log_key.sign), **choice)
    )
    return file


def examined(bundle: Path, key: str, jobs: int = 1) -> tuple[str, int | None, int | None]:
    """Return what the program says of a bundle, asked within this process."""
    opened = None
    try:
        opened = program.Bundle(str(bundle))
        report = program.Examination(opened, program.log_key_of(key), [], [], jobs).run(lambda _done: None)
    except program.Bad as bad:
        return "FAIL", bad.seq, bad.proof
    finally:
        if opened is not None:
            opened.close()
    found = report.bad
    return (report.verdict, None, None) if found is None else (report.verdict, found.seq, found.proof)


def told(home: Path, *words: str) -> str:
    """Return what a command of the CLI prints about a home; it must succeed."""
    done = CliRunner().invoke(keyturn, ["--home", str(home), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout
