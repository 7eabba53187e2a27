"""Finds what looks like a credential among the lines that a diff adds, in time linear in the diff.

All shapes run on RE2 over single lines, after one pass that tells whether there is anything to find at all. What is
told names kind, file and line, and never the text itself: reasons are recorded and shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from keyturn.policy.patterns import Pattern
from keyturn.policy.risk.added import UNSEEN, Added, added_lines
from keyturn.policy.shown import shown

MOST_TOLD = 10
_REMEMBERED = 4  # diffs: one request is judged several times, for claims and explanations again

# Each begins or ends in a way that its own source here does not match.
SHAPES: Mapping[str, str] = {
    "a private key": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]+:",
    "an age key": r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{60}",
    "a GitLab token": r"\bgl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{20}|\bxapp-[0-9]-[A-Za-z0-9-]{20}",
    "a Slack webhook": r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{30}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20}",
    "a Google API key": r"\bAIza[A-Za-z0-9_-]{35}|\bGOCSPX-[A-Za-z0-9_-]{28}",
    "an API key of a language model": r"\bsk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{40}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}",
    "a PyPI token": r"\bpypi-AgE[A-Za-z0-9_-]{50}",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "a DigitalOcean token": r"\bdo[opr]_v1_[a-f0-9]{64}",
    "a Docker token": r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20}",
    "a Vault token": r"\bhv[bs]\.[A-Za-z0-9_-]{24}",
    "an Azure storage key": r"AccountKey=[A-Za-z0-9+/]{86}==",
    "a signed web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20}",
    "a Keyturn token": r"\bkt_[A-Za-z0-9_-]{43}\b",
}
"""What a credential of each kind looks like, in RE2's syntax."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line that looks like a credential: of what kind, in which file, the how manieth line that is added there."""

    kind: str
    path: str
    line: int

    @property
    def text(self) -> str:
        """The finding as people read it; the line itself is not told."""
        return f"what looks like {self.kind} is added to {shown(self.path)} (added line {self.line})"


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking through a diff found: at most `MOST_TOLD` findings, and how many files it does not show."""

    findings: tuple[Finding, ...] = ()
    unseen: int = 0


NOTHING_SEEN = Looked()
_PATTERNS: Mapping[str, Pattern] = {kind: Pattern(shape) for kind, shape in SHAPES.items()}


def look_through(diff: str) -> Looked:
    """Return what the added lines of a diff hold that looks like a credential."""
    return _looked(diff) if diff else NOTHING_SEEN


@lru_cache(maxsize=_REMEMBERED)
def _looked(diff: str) -> Looked:
    # Lone surrogates, which RE2 does not take, are in no shape.
    readable = diff.encode("utf-8", "replace").decode("utf-8")
    suspects = {kind: pattern for kind, pattern in _PATTERNS.items() if pattern.found_in(readable)}
    if not suspects and not any(mark in readable for mark in UNSEEN):
        return NOTHING_SEEN
    added = added_lines(readable)
    findings = tuple(finding for finding, _ in zip(_findings(added, suspects), range(MOST_TOLD), strict=False))
    return Looked(findings, added.unseen)


def _findings(added: Added, suspects: Mapping[str, Pattern]) -> Iterator[Finding]:
    for path, number, line in added.lines if suspects else ():
        for kind, pattern in suspects.items():
            if pattern.found_in(line):
                yield Finding(kind, path, number)
                break
