"""Sorts what git says when a remote did not do what was asked: kind of error, words for people, what mends it.

Git tells failures in English sentences on standard error (LC_ALL=C), and a server's own words among them as lines
that begin with `remote:`. Those are data: they are quoted, cleaned and bounded, and never looked at to sort anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from keyturn.connectors.credentials import Secret
from keyturn.model.text import visible

PIECE = 300
"""Characters of what git or a server says that a message holds at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """What a failed call comes to.

    kind          of the `ConnectorError`, had nothing been sent
    words         what is wrong
    advice        what mends it, "" where nothing is known
    sure          a push that failed so has moved nothing: it never began, or the server said no
    known         git's words were recognised
    unauthorised  the credential was refused before anything began; a new one may help
    """

    kind: str
    words: str
    advice: str = ""
    sure: bool = True
    known: bool = True
    unauthorised: bool = False

    def __str__(self) -> str:
        return f"{self.words}; {self.advice}" if self.advice else self.words


_LOST = Sorted(kind="retry", words="the connection was lost, or the server gave up", sure=False)
_GONE = Sorted(
    kind="refused",
    words="the server has no such repository, or does not show it to this account",
    advice="mend url, or give the account access to the repository",
)
_SHUT = Sorted(
    kind="refused",
    words="the server refuses the credential",
    advice="renew it, and see that the user name in url belongs to it",
    unauthorised=True,
)
_FORBIDDEN = Sorted(
    kind="refused",
    words="the credential does not allow this",
    advice="give it the right to read and write this repository's contents",
)
_CERTIFICATE = Sorted(
    kind="refused",
    words="the server's certificate cannot be trusted: expired, for another name, or of an unknown authority",
    advice="mend the server's certificate, or name its authority's PEM file as ca",
)
_HOST_KEY = Sorted(
    kind="refused",
    words="the server's host key is not the one in known_hosts",
    advice="compare its fingerprint with what its operator publishes, then put the key into the known_hosts file",
)
_AWAY = Sorted(kind="retry", words="the server cannot be reached", advice="see that url is right and the server runs")

# A push fails in one of two halves: while git asks what is there (nothing was sent), and afterwards. What belongs to
# the second comes first here, because then sentences of the first half may stand beside it.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), result)
    for pattern, result in (
        (r"does not support --atomic", Sorted(
            kind="refused",
            words="the server cannot move several refs at once (it lacks the capability `atomic`)",
            advice="use a server that can, as git itself does since 2.4; there is no safe way without",
        )),
        (r"RPC failed.*(401|403|404|413)\b", Sorted(kind="refused", words="the server refuses the request")),
        (r"RPC failed|hung up unexpectedly|unexpected disconnect|early EOF|remote failure", _LOST),
        (r"remote error:", Sorted(kind="refused", words="the server refuses the request")),
        (r"mismatched algorithms|unsupported object format", Sorted(
            kind="refused", words="the server's repository has another object format than this copy of it",
        )),
        (r"certificate|SSL_ERROR|TLS.*(fail|alert)|gnutls", _CERTIFICATE),
        (r"Authentication failed|could not read (Username|Password)|returned error: 401|invalid credentials", _SHUT),
        (r"returned error: 403", _FORBIDDEN),
        (r"returned error: (404|410)|repository '.*' not found|does not appear to be a git repo", _GONE),
        (r"returned error: (429|5\d\d)", Sorted(
            kind="retry", words="the server is busy or out of order", advice="try again later",
        )),
        (r"returned error: 3\d\d|unable to update url base|redirect", Sorted(
            kind="refused",
            words="the server sends us elsewhere, which is not followed",
            advice="put the new URL into url",
        )),
        (r"returned error: \d+", Sorted(kind="refused", words="the server refuses the request")),
        (r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED|host key is known", _HOST_KEY),
        (r"Permission denied \(|Too many authentication failures|no such identity|UNPROTECTED PRIVATE KEY", Sorted(
            kind="refused",
            words="the server refuses the key, or ssh does not read it",
            advice="see that key has no passphrase and mode 0600, and that the server knows its public half",
        )),
        (r"Could not resolve (host|proxy)|has no address", Sorted(
            kind="retry", words="the host's name cannot be looked up", advice="see that the host in url is right",
        )),
        (r"Failed to connect|Connection (refused|timed out|reset)|Couldn't connect|No route to|unreachable", _AWAY),
        (r"(CONNECT tunnel|proxy).*(fail|abort|\d{3})|HTTP code \d+ from proxy", Sorted(
            kind="retry", words="the proxy does not let us through", advice="see that proxy is right",
        )),
        (r"not valid: is this a git repo|invalid server response", Sorted(
            kind="refused", words="what answers there is no git server", advice="mend url",
        )),
        (r"Could not read from remote repository", _GONE),
        (r"unable to access", _AWAY),
    )
)  # fmt: skip


def sort(lines: Iterable[str], cut: str, secrets: Iterable[Secret]) -> Sorted:
    """Return what a failed call comes to, from what git said and the bound that ended it ("" when none did)."""
    own, theirs = split(lines, secrets)
    if cut:
        return Sorted(kind="retry", words=f"git {cut}", advice="raise timeout if the repository is large", sure=False)
    found, line = _matched(own)
    words = ": ".join(part for part in (found.words, _piece(line)) if part)
    return replace(found, words=words + quoted(theirs))


def _matched(own: list[str]) -> tuple[Sorted, str]:
    """Return the first rule that fits, and the line it fits; else the last line that tells of a failure."""
    for pattern, result in _RULES:
        for line in own:
            if pattern.search(line):
                return result, line
    last = next((line for line in reversed(own) if line.startswith(("fatal:", "error:"))), own[-1] if own else "")
    return Sorted(kind="refused", words="git cannot do it", sure=False, known=False), last


def split(lines: Iterable[str], secrets: Iterable[Secret]) -> tuple[list[str], list[str]]:
    """Return git's own lines, and the server's, with what was sent to it as a secret taken out of both."""
    own: list[str] = []
    theirs: list[str] = []
    hidden = tuple(secrets)
    for line in lines:
        clean = _without(line, hidden).strip()
        if clean.startswith("remote:"):
            theirs.append(clean.removeprefix("remote:").strip())
        elif clean:
            own.append(clean)
    return own, [line for line in theirs if line]


def quoted(lines: Iterable[str]) -> str:
    """Return what a server says as the end of a sentence, "" when it says nothing."""
    said = _piece(" ".join(lines))
    return f' (the server says: "{said}")' if said else ""


def _piece(words: str) -> str:
    clean = visible(" ".join(words.split()))
    return clean if len(clean) <= PIECE else clean[: PIECE - 1] + "…"


def _without(line: str, secrets: tuple[Secret, ...]) -> str:
    for secret in secrets:
        if len(secret.reveal()) >= 8:  # no credential is shorter, and a short text may be part of any word
            line = line.replace(secret.reveal(), "<secret>")
    return line
