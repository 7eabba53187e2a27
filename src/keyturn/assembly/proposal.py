"""A home's proposed policy, the file on disk: checked, pinned, and held against the policy in force."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import POLICY, Home
from keyturn.assembly.outside import moment
from keyturn.assembly.plain_files import replace_plain
from keyturn.assembly.required import anchor_problems
from keyturn.assembly.standing import open_ledger, open_reader
from keyturn.canon import manifest_digest
from keyturn.contracts import Catalog, catalog_changes, catalog_of, changes, check_pins
from keyturn.gateway.acts import Candidate, Sign, draft_activation, read_candidate, sign_act
from keyturn.gateway.desk import Look
from keyturn.gateway.in_force import InForce, read_in_force, texts_of
from keyturn.model.contract import Contract
from keyturn.model.diff import file_diff
from keyturn.model.errors import ConfigurationError
from keyturn.policy import pin, read_policy
from keyturn.policy.cases.running import run_cases
from keyturn.policy.documents import folders_of, included_in
from keyturn.policy.reach import Finding, findings

PROGRAM = "keyturn policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is wrong with a proposal, what is odd, and how it stands to the policy in force.

    `findings` are rules that cannot mean what they say; each is a warning too.

    `digest` is None when the file cannot be read; `in_force` is None in a home without a ledger. `contracts_moved`
    says that `tool_schemas/` is not what the ledger published, which only an activation mends.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    digest: str | None
    in_force: InForce | None
    contracts_moved: bool
    findings: tuple[Finding, ...] = ()

    @property
    def differs(self) -> bool | None:
        """Whether activating would change anything; None in a home without a ledger."""
        return None if self.in_force is None else self.contracts_moved or self.digest != self.in_force.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PinChange:
    """One grant whose pin is not the contract that is served.

    `before` is None where there was no pin. `differences` say what changed since the published contract; empty when
    only examples did, None when the old contract is not at hand.
    """

    place: str
    rule: str
    tool: str
    before: str | None
    after: str
    differences: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy file that loads and may be activated, and the policy in force that it would follow."""

    candidate: Candidate
    force: InForce

    @property
    def difference(self) -> str:
        """The unified diff from the policy in force; empty when only the contracts differ."""
        return diff_to_force(self.force, self.candidate.files)


def read_proposal(home: Home) -> Proposal:
    """Read the policy file to activate. Raises `ConfigurationError` with every problem, unequal pins included."""
    candidate = read_candidate(home.policy_files(), read_own_catalog(home))
    if problems := anchor_problems(candidate.policy, home):
        raise ConfigurationError(*problems)
    return Proposal(candidate, in_force(home))


def activate(home: Home, proposal: Proposal, reason: str, by: str, sign: Sign) -> int:
    """Have a proposal signed by `by` and record it; returns its entry's place.

    Raises `Refused` when it is in force already or the signature does not count; nothing is written then.
    """
    ledger = open_ledger(home, "keyturn policy activate")
    try:
        draft = draft_activation(ledger, proposal.candidate, by, reason)
        return sign_act(ledger, draft, sign).seq
    finally:
        ledger.close()


def check_proposal(home: Home) -> Check:
    """Look at a home's policy file: every load error at once, unequal pins included, then the warnings."""
    force = in_force(home) if home.founded else None
    digest = None
    errors: list[str] = []
    warnings: list[str] = []
    found: tuple[Finding, ...] = ()
    catalog: Catalog | None = None
    try:
        catalog = read_own_catalog(home)
    except ConfigurationError as error:
        errors += error.problems
    try:
        files = home.policy_files()
        digest = manifest_digest(files)
        if catalog is not None:
            policy = read_policy(files, catalog.contracts)
            errors += check_pins(catalog, policy.pins())
            errors += anchor_problems(policy, home)
            errors += run_cases(policy).failures
            found = findings(policy, moment().wall)
            warnings += (*policy.warnings(), *(one.line for one in found))
    except ConfigurationError as error:
        errors += error.problems
    moved = force is not None and catalog is not None and catalog.digest != force.catalog
    if moved and catalog is not None:
        warnings += _moved(home, catalog)
    return Check(
        errors=tuple(errors),
        warnings=tuple(warnings),
        digest=digest,
        in_force=force,
        contracts_moved=moved,
        findings=found,
    )


def in_force(home: Home) -> InForce:
    """Read the policy in force. Raises `ConfigurationError` without a ledger, `LedgerError` when it has none."""
    reader = open_reader(home, PROGRAM)
    try:
        return reader.look(read_in_force)
    finally:
        reader.close()


def diff_to_force(force: InForce, files: Mapping[str, str]) -> str:
    """Return the unified diff from the policy in force to these files; empty when they are equal."""
    paths = sorted({*force.files, *files})
    old, new = ({path: side[path].encode() for path in side} for side in (force.files, files))
    return "".join(
        file_diff(path, old.get(path), new.get(path)).text for path in paths if old.get(path) != new.get(path)
    )


def pin_proposal(home: Home, *, write: bool) -> tuple[PinChange, ...]:
    """Set every grant's `contract` to what `tool_schemas/` holds; return what that changes.

    The file is replaced whole or left as it is. Raises `ConfigurationError` when it is no TOML or cannot be written.
    """
    catalog = read_own_catalog(home)
    files = home.policy_files()
    parts = (POLICY, *included_in(files, folders_of(files[POLICY])))
    pinned = {path: pin(files[path], catalog.contracts, path) for path in parts}
    found = [change for path in parts for change in _changes(home, (path, files[path], pinned[path]), catalog)]
    for path in parts:
        if write and pinned[path] != files[path]:
            replace_plain(home.folder / path, pinned[path])
    return tuple(found)


def _changes(home: Home, part: tuple[str, str, str], catalog: Catalog) -> tuple[PinChange, ...]:
    path, text, pinned = part
    catalog_before = _published(home)
    published = catalog_before.contracts if catalog_before else {}
    before, after = _pins(text), _pins(pinned)
    return tuple(
        PinChange(
            place=f"grants[{index}]" if path == POLICY else f"{path}: grants[{index}]",
            rule=new[0],
            tool=new[1],
            before=old[2],
            after=new[2] or "",
            differences=_differences(published, catalog, new[1], old[2]),
        )
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        if old[2] != new[2]
    )


def _differences(
    published: Mapping[str, Contract], catalog: Catalog, tool: str, before: str | None
) -> tuple[str, ...] | None:
    old = published.get(tool)
    return changes(old, catalog.contracts[tool]) if old is not None and old.label == before else None


def _pins(text: str) -> list[tuple[str, str, str | None]]:
    """Return (id, tool, pin) of each grant in the order of the text, whatever else is wrong with it."""
    grants = tomllib.loads(text).get("grants", [])
    return [(str(g.get("id", "")), str(g.get("tool", "")), g.get("contract")) for g in grants if isinstance(g, dict)]


def _moved(home: Home, catalog: Catalog) -> tuple[str, ...]:
    """Return what an activation would consent to besides the policy: how the contracts have changed."""
    published = _published(home)
    return catalog_changes(published, catalog) if published else ()


def _published(home: Home) -> Catalog | None:
    """Return the contracts the ledger published last; None in a home without a ledger."""
    if not home.founded:
        return None

    def look(view: Look) -> Mapping[str, str]:
        return texts_of(view, view.state.catalog.seq, "catalog.files") if view.state.catalog else {}

    reader = open_reader(home, PROGRAM)
    try:
        texts = reader.look(look)
    finally:
        reader.close()
    try:
        return catalog_of(texts)
    except ConfigurationError:
        return None  # published by another version of this program: then only the labels can be told
