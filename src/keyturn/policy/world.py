"""Reads who and what a policy speaks of: principals, people, reviewers with their keys, environments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from keyturn.model.principal import Principal
from keyturn.model.sshkey import PublicKey
from keyturn.policy.patterns import Pattern, PatternError, glob
from keyturn.policy.problems import Problems
from keyturn.policy.rules import Environment, Lane, Person, Reviewer
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table

_GROUP = "group:"
_LONGEST_KEY = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everybody and everything that rules may name."""

    principals: Mapping[str, Principal]
    people: Mapping[str, Person]
    reviewers: Mapping[str, Reviewer]
    environments: Mapping[str, Environment]
    lanes: Mapping[str, Lane] = field(default_factory=dict)

    def principals_in(self, table: Table, key: str, *, required: bool) -> frozenset[str] | None:
        """Return the principals named by `key` (names and `group:<name>`); None if the key is left out."""
        if key not in table.raw and not required:
            return None
        members = {name: principal.groups for name, principal in self.principals.items()}
        return frozenset(_members(table, key, table.texts(key, required=True), members, "principal"))

    def reviewers_in(self, table: Table, key: str, sources: tuple[str, ...]) -> frozenset[str]:
        """Return the reviewers that `sources` (names and `group:<name>`) stand for."""
        members = {name: reviewer.groups for name, reviewer in self.reviewers.items()}
        return frozenset(_members(table, key, sources, members, "reviewer"))


def read_world(document: Table) -> World:
    """Read the four sections, recording problems."""
    people = {name: _person(name, table) for name, table in document.named("people")}
    reviewers = {name: _reviewer(name, table) for name, table in document.named("reviewers")}
    owners = {*people, *reviewers}
    principals = {name: _principal(name, table, owners) for name, table in document.named("principals")}
    environments = {name: _environment(name, table) for name, table in document.named("environments")}
    sections: tuple[tuple[str, Collection[str]], ...] = (("people", people), ("principals", principals))
    _apart(document.problems, reviewers, sections)
    _apart(document.problems, people, sections[1:])
    _one_key_one_person(document, reviewers)
    return World(principals=principals, people=people, reviewers=reviewers, environments=environments)


def _person(name: str, table: Table) -> Person:
    table.only("display")
    return Person(name=name, display=table.text("display") or "")


def _reviewer(name: str, table: Table) -> Reviewer:
    table.only("keys", "groups", "display")
    keys = tuple(
        _key(table, i, line) for i, line in enumerate(table.texts("keys", required=True, longest=_LONGEST_KEY))
    )
    return Reviewer(
        name=name,
        keys=tuple(key for key in keys if key),
        groups=table.names("groups"),
        display=table.text("display") or "",
    )


def _key(table: Table, index: int, line: str) -> PublicKey | None:
    try:
        return PublicKey.parse(line)
    except ValueError as error:
        table.problems.add(f"{table.at('keys')}[{index}]", str(error))
        return None


def _principal(name: str, table: Table, owners: Collection[str]) -> Principal:
    table.only("display", "owner", "groups", "scopes")
    owner = table.text("owner")
    if owner is not None and owner not in owners:
        text = f"{shown(owner)} is in neither [reviewers] nor [people]"
        table.problems.unknown(table.at("owner"), text, owner, owners)
    return Principal(
        name=name,
        display=table.text("display") or "",
        owner=owner,
        groups=table.names("groups"),
        scopes=frozenset(table.texts("scopes")),
    )


def _environment(name: str, table: Table) -> Environment:
    table.only("targets", "lane")
    targets = table.texts("targets", required=True)
    patterns: list[Pattern] = []
    for index, target in enumerate(targets):
        place = f"{table.at('targets')}[{index}]"
        if ":" not in target or "/" not in target:
            table.problems.add(place, f"{shown(target)} must look like <port>:<name>/<object>, such as forge:shop/*")
        try:
            patterns.append(glob(target))
        except PatternError as error:
            table.problems.add(place, str(error))
    return Environment(name=name, targets=targets, patterns=tuple(patterns))


def _apart(problems: Problems, names: Collection[str], others: tuple[tuple[str, Collection[str]], ...]) -> None:
    """Nobody is two things: a name that is in two sections would read as one person in the ledger."""
    for section, taken in others:
        lower = {name.lower(): name for name in names}
        for name in taken:
            if name.lower() in lower:
                problems.add(f"{section}.{name}", f"{shown(lower[name.lower()])} stands in another section already")


def _one_key_one_person(document: Table, reviewers: Mapping[str, Reviewer]) -> None:
    holders: dict[str, str] = {}
    for name, reviewer in reviewers.items():
        for key in reviewer.keys:
            holder = holders.setdefault(key.fingerprint, name)
            if holder != name:
                text = f"{key.fingerprint} is already the key of {holder}: people who count twice need two keys"
                document.problems.add(f"reviewers.{name}.keys", text)


def _members(
    table: Table, key: str, sources: tuple[str, ...], members: Mapping[str, frozenset[str]], kind: str
) -> set[str]:
    groups = {group for of in members.values() for group in of}
    found: set[str] = set()
    for source in sources:
        group = source.removeprefix(_GROUP) if source.startswith(_GROUP) else None
        if group is not None and group in groups:
            found |= {name for name, of in members.items() if group in of}
        elif source in members:
            found.add(source)
        else:
            what = f"no {kind} is in {shown(source)}" if group is not None else f"there is no {kind} {shown(source)}"
            known = [*members, *(_GROUP + name for name in groups)]
            table.problems.unknown(table.at(key), what, source, known)
    return found
