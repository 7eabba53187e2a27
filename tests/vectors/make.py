"""Writes the golden vectors: an entry per kind, a whole log, its tree, notes, proofs and bundles; and damaged ones.

    python -m tests.vectors.make

Running it again changes no byte; a test holds it to that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.vectors.bundle_cases import bundle_cases, bundle_json
from tests.vectors.damage import Bad, damaged
from tests.vectors.end_cases import golden_rows
from tests.vectors.note_cases import note_cases, note_json
from tests.vectors.proof_cases import proof_cases, proof_json
from tests.vectors.story import ENTRY_KEY, LOG_KEY, NEXT_KEY, VERIFIER, Log, Row, b64, make_log, reviewers, salt
from tests.vectors.tree_cases import tree_json

FOLDER: Final = Path(__file__).parent
MADE: Final = ("chain.json", "tree.json", "entries/*", "bad/*", "notes/*", "proofs/*", "bundles/*")


def payloads_json(row: Row) -> dict[str, dict[str, str]]:
    seq = row.fields["seq"]
    return {name: {"salt": salt(seq, name).hex(), "data": data.decode()} for name, data in row.payloads.items()}


def entry_json(row: Row) -> dict[str, object]:
    return {
        "body": row.body.decode(),
        "signature": b64(row.signature),
        "leaf": row.leaf,
        "payloads": payloads_json(row),
    }


def golden_json(row: Row) -> dict[str, object]:
    fields = row.fields
    frame = {name: fields.pop(name) for name in ("v", "log", "seq", "prev", "ts", "boot", "up", "kid", "kind")}
    apart = {"action": fields.pop("action", None), "data": fields.pop("data", {})}
    known = {"private_key_seed": row.key.seed.hex(), "kid": row.key.public.kid}
    return {**known, **entry_json(row), "expect": {**frame, **apart, "facts": fields}}


def chain_json(log: Log) -> dict[str, object]:
    return {
        "verifier": str(VERIFIER),
        "log_key_seed": LOG_KEY.seed.hex(),
        "entry_key_seed": ENTRY_KEY.seed.hex(),
        "next_entry_key_seed": NEXT_KEY.seed.hex(),
        "reviewers": reviewers(),
        "entries": [entry_json(row) for row in log.rows],
    }


def bad_json(bad: Bad) -> dict[str, object]:
    return {
        "what": bad.what, "after": bad.after, "expect": {"seq": bad.after, "proof": bad.proof, "reason": bad.reason},
        "body_base64": b64(bad.body), "signature": b64(bad.signature),
    }  # fmt: skip


def files() -> dict[str, bytes]:
    """Return every vector file by its path below this folder."""
    log = make_log()
    values: dict[str, object] = {"chain.json": chain_json(log), "tree.json": tree_json(log)}
    for row in (*log.rows, *golden_rows()):
        values.setdefault(f"entries/{row.fields['kind']}.json", golden_json(row))
    values |= {f"bad/{bad.name}.json": bad_json(bad) for bad in damaged(log)}
    values |= {f"notes/{case.name}.json": note_json(case, log) for case in note_cases(log)}
    values |= {f"proofs/{case.name}.json": proof_json(case) for case in proof_cases(log)}
    bundles = list(bundle_cases())
    values |= {f"bundles/{case.name}.json": bundle_json(case) for case in bundles}
    texts = {path: json.dumps(value, indent=1, ensure_ascii=False) + "\n" for path, value in values.items()}
    archives = {f"bundles/{case.bundle or case.name}.zip": case.data for case in bundles}
    return {path: text.encode() for path, text in texts.items()} | archives


def kept() -> set[str]:
    """Return the paths of the vector files that lie below this folder."""
    return {str(path.relative_to(FOLDER)) for pattern in MADE for path in FOLDER.glob(pattern)}


def main() -> None:
    """Write the files and take away those no longer made."""
    made = files()
    for path, data in made.items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_bytes(data)
    for old in kept() - set(made):
        (FOLDER / old).unlink()


if __name__ == "__main__":
    main()
