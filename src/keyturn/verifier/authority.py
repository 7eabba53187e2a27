"""Proof 9 of who may: tokens that actions are asked for with, and people whose acts ask for or release them."""

from __future__ import annotations

from typing import Any

from keyturn.fold.signatures import Act, check_act
from keyturn.fold.standing import Token
from keyturn.fold.state import State
from keyturn.fold.undoing import act_of
from keyturn.log.entry import Entry
from keyturn.verifier.lives import RELEASE, Lives
from keyturn.verifier.proofs import NotProved, proving


class Authority:
    """Who may do what, at the entry that `state` has come to."""

    def __init__(self, state: State, lives: Lives) -> None:
        self._state = state
        self._lives = lives

    def token(self, entry: Entry, named: Entry) -> Token:
        """Prove of a token that it was issued in this log, for the principal that `named` says used it."""
        token = self._state.tokens.get(named.text("token"))
        if token is None or token.principal != named.text("principal"):
            raise NotProved(entry.seq, 9, "its token was never issued to its principal")
        return token

    def live_token(self, entry: Entry) -> Token:
        """Prove of the token that a call came with that it was good then."""
        token = self.token(entry, entry)
        if (refusal := token.refusal(entry.text("transport"), entry.at)) is not None:
            raise NotProved(entry.seq, 9, f"it was let through although {refusal}")
        return token

    def asked_with(self, started: Entry, asked: Entry) -> Token | None:
        """Prove of what an action was requested with that it stands when it begins: a token, or (None) an act."""
        if asked.facts["token"] is None:
            self._check_asker(started, asked)
            return None
        token = self.token(started, asked)
        if token.revoked_at is not None:
            raise NotProved(started.seq, 9, "it was begun although the token it was requested with had been revoked")
        return token

    def released(self, started: Entry) -> bool:
        """Prove that a person signed for the execution where one had to, and may still; say whether one did."""
        release = self._lives.release_of(started)
        if release is None:
            return False
        act: Any = release.facts["act"]
        expected = Act(verb=RELEASE, object=started.action or "", digest=act["statement"]["digest"])
        self._check_act(started, release, expected)
        return True

    def _check_asker(self, started: Entry, asked: Entry) -> None:
        """Prove that whoever asked by an act may still sign; the act itself the fold has proved."""
        with proving(started.seq, 9):
            expected = act_of(asked)
        self._check_act(started, asked, expected)

    def _check_act(self, started: Entry, signed: Entry, expected: Act) -> None:
        act: Any = signed.facts["act"]
        known = self._state.policy.reviewers if self._state.policy else {}
        with proving(started.seq, 9):
            check_act(act, expected, log=signed.log, after=act["statement"]["after"], reviewers=known, now=signed.at)
