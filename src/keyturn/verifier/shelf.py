"""The policy and the contracts in force, taken from the payloads that the ledger keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn import canon
from keyturn.contracts import Catalog, catalog_of, check_pins
from keyturn.log.entry import Entry
from keyturn.policy import Policy, read_policy
from keyturn.policy.cases.running import run_cases
from keyturn.policy.guard import guard_facts
from keyturn.verifier.proofs import NotProved, proving

POLICY_FILES = "policy.files"
CATALOG_FILES = "catalog.files"


@dataclass(frozen=True, slots=True)
class _Text:
    """A policy as activated: its entry, and its files by path."""

    entry: Entry
    files: Mapping[str, str]


class Shelf:
    """Holds one policy and one catalog at a time: memory does not grow with the ledger."""

    def __init__(self) -> None:
        self._text: _Text | None = None
        self._catalog: Catalog | None = None
        self._policy: Policy | None = None
        self._guarded: Entry | None = None

    def activate(self, entry: Entry, payloads: Mapping[str, bytes]) -> None:
        """Take a `policy.activated` entry. Raises `NotProved` (10) unless its text has the digest of the fact."""
        files = _files(entry, payloads, POLICY_FILES)
        if canon.manifest_digest(files) != entry.text("policy"):
            raise NotProved(entry.seq, 10, "the policy's text does not have the digest of the fact")
        self._text, self._policy, self._guarded = _Text(entry, files), None, None

    def publish(self, entry: Entry, payloads: Mapping[str, bytes]) -> None:
        """Take a `catalog.published` entry. Raises `NotProved` (10) unless its texts are what the facts say."""
        with proving(entry.seq, 10):
            catalog = catalog_of(_files(entry, payloads, CATALOG_FILES))
        if catalog.digest != entry.text("catalog"):
            raise NotProved(entry.seq, 10, "the contracts' texts do not have the digest of the fact")
        if {tool: contract.label for tool, contract in catalog.contracts.items()} != entry.facts["contracts"]:
            raise NotProved(entry.seq, 10, "the labels in the fact are not those of the contracts' texts")
        self._catalog, self._policy = catalog, None

    def settle(self) -> None:
        """Prove 10 of the policy in force with the contracts in force, once per change. Raises `NotProved`.

        A policy comes before the contracts it pins when both change: so this waits until they could have followed.
        """
        if self._policy is not None or self._text is None:
            return
        entry = self._text.entry
        if self._catalog is None:
            raise NotProved(entry.seq, 10, "a policy is in force and no contracts are published")
        with proving(entry.seq, 10):
            policy = read_policy(self._text.files, self._catalog.contracts)
        if problems := check_pins(self._catalog, policy.pins()):
            raise NotProved(entry.seq, 10, "; ".join(problems))
        reviewers = {name: [key.line for key in person.keys] for name, person in policy.reviewers.items()}
        if reviewers != entry.facts["reviewers"]:
            raise NotProved(entry.seq, 10, "the reviewers of the fact are not those of the policy's text")
        if failing := run_cases(policy).failures:
            raise NotProved(entry.seq, 10, f"its own cases do not pass: {failing[0]}")
        self._policy = policy

    def guard(self, entry: Entry) -> None:
        """Prove 10 of a `policy.guarded` entry: it says what the policy in force asks. Raises `NotProved`."""
        policy = self.policy_for(entry)
        if policy.guard is None or guard_facts(policy, policy.guard) != entry.facts:
            raise NotProved(entry.seq, 10, "what it says of who endorses policies is not in the policy's text")
        self._guarded = entry

    def check_guarded(self) -> None:
        """Prove 10 of an activation: what its policy asks of the next one was said beside it. Raises `NotProved`."""
        if self._text is not None and self._policy is not None and self._policy.guard and self._guarded is None:
            raise NotProved(
                self._text.entry.seq, 10, "its policy asks for endorsements, and no policy.guarded follows to say so"
            )

    def check_override(self, entry: Entry) -> None:
        """Prove 11 of `freeze.overridden`: the policy in force lets who signed it do so. Raises `NotProved`."""
        facts: Mapping[str, Any] = entry.facts
        by, named = facts["act"]["statement"]["by"], facts["freeze"]
        freeze = next((item for item in self._policy.freezes if item.id == named), None) if self._policy else None
        if freeze is None:
            raise NotProved(entry.seq, 11, "it sets a freeze aside that the policy in force does not have")
        if by not in freeze.overriders:
            raise NotProved(entry.seq, 11, f"the policy in force does not let {by} set this freeze aside")

    def policy_for(self, entry: Entry) -> Policy:
        """Return the policy in force, which `entry` must name. Raises `NotProved` (10)."""
        if self._policy is None:
            raise NotProved(entry.seq, 10, "nothing may be decided while no policy is in force")
        if entry.facts["policy"] != self._policy.digest:
            raise NotProved(entry.seq, 10, "it names another policy than the one in force")
        return self._policy

    def check_contract(self, entry: Entry) -> None:
        """Prove 10 of the contract that `entry` names: published, and pinned by the policy. Raises `NotProved`."""
        policy, tool, label = self.policy_for(entry), entry.text("tool"), entry.text("contract")
        published = policy.contracts.get(tool)
        if published is None or published.label != label:
            raise NotProved(entry.seq, 10, f"its contract for {tool} is not the published one")
        if (tool, label) not in policy.pins().values():
            raise NotProved(entry.seq, 10, f"its contract for {tool} is not one that the policy pins")


def check_proposed(entry: Entry, payloads: Mapping[str, bytes]) -> None:
    """Prove 10 of a `policy.proposed` entry: its text has the digest of the fact. Raises `NotProved`."""
    if canon.manifest_digest(_files(entry, payloads, POLICY_FILES)) != entry.text("policy"):
        raise NotProved(entry.seq, 10, "the proposed text does not have the digest of the fact")


def _files(entry: Entry, payloads: Mapping[str, bytes], field: str) -> dict[str, str]:
    if field not in payloads:
        raise NotProved(entry.seq, 10, f"it comes without its texts (payload {field})")
    with proving(entry.seq, 10):
        files = canon.decode_object(payloads[field])
    texts = {path: text for path, text in files.items() if isinstance(text, str)}
    if len(texts) != len(files):
        raise NotProved(entry.seq, 10, f"payload {field} holds something else than texts")
    return texts
