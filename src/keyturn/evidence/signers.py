"""People's signatures as stock OpenSSH checks them: allowed signers, statements, and armoured signatures."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ACT_NAMESPACE, REVIEW_NAMESPACE
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.sshsig import armor

BOTH = (REVIEW_NAMESPACE, ACT_NAMESPACE)
"""What people sign in: reviews and acts."""

# What a list of patterns (ssh-keygen(1), ALLOWED SIGNERS) would not take for one name.
_PLAIN = re.compile(r"[^\s,*?!\"#\\]+")


def allowed_signers(people: Mapping[str, Sequence[str]], namespaces: Iterable[str]) -> str:
    """Return an allowed-signers file that gives each person their keys (`type base64`), in these namespaces.

    Raises `Refused` for a name that such a file cannot say.
    """
    spaces = ",".join(namespaces)
    lines = [f'{_name(name)} namespaces="{spaces}" {line}\n' for name, keys in people.items() for line in keys]
    return "".join(lines)


def signers_of(story: Sequence[Entry]) -> str:
    """Return the allowed signers of an action's reviews: the people and keys that its request lists.

    Acts are signed by keys of the policy in force then, which only the log as a whole tells: they are not in it.
    """
    facts: Mapping[str, Any] = story[0].facts
    return allowed_signers(facts.get("reviewers") or {}, [REVIEW_NAMESPACE])


def signed_files(entries: Iterable[Entry]) -> Iterator[tuple[str, bytes]]:
    """Yield, for each review and act in the entries, the statement as it was signed and the signature, as files.

    They are named `<seq>-<person>.<namespace's word>` and the same with `.sig`, as `ssh-keygen -Y sign` would.
    """
    for entry in entries:
        for word, signed in _signed(entry):
            statement: Mapping[str, Any] = signed["statement"]
            person = statement["reviewer" if word == "review" else "by"]
            stem = f"{entry.seq}-{_name(person)}.{word}"
            yield stem, canon.encode(signed["statement"])
            yield f"{stem}.sig", armor(base64.b64decode(signed["signature"])).encode("ascii")


def namespace_of(name: str) -> str:
    """Return the namespace of a file that `signed_files` named."""
    return REVIEW_NAMESPACE if name.removesuffix(".sig").endswith(".review") else ACT_NAMESPACE


def person_of(name: str) -> str:
    """Return the person whose signature a file that `signed_files` named holds."""
    return name.removesuffix(".sig").partition("-")[2].rpartition(".")[0]


def _signed(entry: Entry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    facts: Mapping[str, Any] = entry.facts
    if entry.kind == "action.reviewed":
        yield "review", facts
    if facts.get("act"):
        yield "act", facts["act"]


def _name(name: str) -> str:
    if not _PLAIN.fullmatch(name) or "/" in name:
        raise Refused("bad_name", f"an allowed-signers file cannot name {name!a}: ssh-keygen would read a pattern")
    return name
