"""Proves a ledger file from bytes and public keys.

What a report says was proved, by number. The code that proves a point carries its number, and so does the first bad
entry of a report. 1 to 5 are proved by `keyturn.log.chain`, the others here.

 1. its bytes are canonical and its kind is known, with every field as `docs/format.md` defines it;
 2. it belongs to this log, its `seq` follows, its `prev` is the leaf hash of the entry before, and that one is no
    `log.closed`;
 3. its time does not go back;
 4. its key is the log key (for `log.opened`, `key.added`, `key.revoked`, `log.closed`, `log.succeeds`) or an entry
    key that the log key added before it and has not revoked before it; a key is added once, and one that was revoked
    never again;
 5. its Ed25519 signature over DSSE PAE of the exact bytes is that key's;
 6. its payloads open their commitments; none is missing but those that a `payload.erased` entry names or a
    `payloads.pruned` entry covers, and none is there that no entry commits to, or that is said to be gone;
 7. its stored columns are bytes, and its stored `seq` and leaf hash are those of its body;
 8. the file is a Keyturn ledger with exactly the tables, indexes and triggers of one, read without changing it;
 9. its actions tell a story that can have happened: known and live tokens; reviews and acts that are SSH signatures
    of listed people, for this log and this digest; quorum of distinct people, the owner left out, key class, expiry;
    intent only when approved, outcome only after intent, each once; nothing in a scope while it was suspended, and no
    suspension lifted without a listed person; no payload taken and no log ended while an action is not over; nothing
    begun after a restored copy by what was said before it; an undo of what was done before it, by the same principal
    and in the way that was stated then;
    a policy that asks it for the next one followed only by what as many people signed for;
10. the contracts and policies it names are published in it: texts have the digests of the facts, a policy loads with
    the contracts then published and pins them, its reviewers are those of the
    fact, its own cases pass, and what it asks of the next one is what the entry beside it says;
11. its decisions follow: the recorded policy, arguments, plan, earlier use and time give the recorded decision,
    rules, obligations and expiry again, for each request and read, and still allow each action that was begun; who
    set a freeze aside is somebody whom that freeze of the policy in force lets do so;
12. it is the log whose verifier string was given from outside. If none was given the report says so: the log key is
    then only what the file itself claims;
13. it reaches as far as somebody remembers: the entry that was the last when its leaf hash was written down elsewhere
    (`state/head` of a home) is there, unless a `recovery` names exactly this end as `missing`. If none was given, an
    end that was cut off is not noticed;
14. its tree, worked out from the bytes that 1 to 5 were proved of, is the one that was signed: each checkpoint it
    keeps, and each note of an `anchor.recorded`, is signed by the log key for this log and has the size it is kept
    under, which is not above the ledger's, and the root of that many first entries; each subtree it keeps is that of
    its entries; the note of a `log.succeeds` is signed by the key of the log it names, and says what that entry
    says;
15. it holds what was brought from outside, to the byte: the entry of each receipt, the tree of each checkpoint, the
    entry and the tree of each proof; a checkpoint of the log it goes on from is that log's
    end. If nothing was brought, nothing is compared;
16. its reviewers are the people that a list from outside names: each key that a policy gives to a reviewer, and each
    that signed a review or an act, stands in the list under that name. If no list was given, the report shows whose
    keys came and went, and who signed for it;
17. what ran under a grant with `anchor = "before"` was anchored first: between its intent and an outcome with an
    effect stands an `anchor.recorded` (14) of a checkpoint that holds the intent, unless the ledger was restored
    meanwhile. That the anchor has it is the ledger's word, but where a witness cosigned whose key was named.

What is not proved: refusals (`action.denied`) are not derived again, because the arguments refused are not kept; and
whoever holds the keys of a log can rewrite or cut whatever nobody outside has seen. So the verdict is PASS only when
somebody outside has seen everything but the last entries that record anchors: a witness whose key was named, by its
cosignature on a checkpoint, or whoever kept what was brought. Otherwise it is PASS-UNANCHORED, with the entries that
nobody is known to have seen. The tables `lookup` and `snapshot` are never read.
"""

from keyturn.verifier.report import (
    Activation,
    Anchored,
    AnchoredBefore,
    Begun,
    ClockStep,
    Closed,
    FirstBad,
    Issued,
    Pruning,
    Recovered,
    RefusedReview,
    Report,
    Stamp,
    Stranger,
    Succeeds,
    Tail,
    Vouched,
)
from keyturn.verifier.telling import in_words
from keyturn.verifier.verification import last_note, verify_ledger

__all__ = [
    "Activation",
    "Anchored",
    "AnchoredBefore",
    "Begun",
    "ClockStep",
    "Closed",
    "FirstBad",
    "Issued",
    "Pruning",
    "Recovered",
    "RefusedReview",
    "Report",
    "Stamp",
    "Stranger",
    "Succeeds",
    "Tail",
    "Vouched",
    "in_words",
    "last_note",
    "verify_ledger",
]
