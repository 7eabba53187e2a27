"""Reads a folder of releases: which version is live, and what a switch to another would change."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from keyturn.canon import Json
from keyturn.connectors.deployments import PREVIOUS, Preview, Rollback
from keyturn.connectors.deployments.changes import compare_trees
from keyturn.connectors.deployments.history import History
from keyturn.connectors.deployments.tree import Tree, read_entry, scan_tree, tree_digest
from keyturn.connectors.files import Folder
from keyturn.connectors.journal import STATE_FOLDER
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

RELEASES = "releases"
CURRENT = "current"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)


def live_version(root: Folder) -> str:
    """Return the version that `current` names. Refuses every link that is not `releases/<version>` as written."""
    text = root.link_text(CURRENT)
    if text is None:
        raise ConnectorError(f"{root.at(CURRENT)}: is missing; point it at a release: ln -s {RELEASES}/VERSION")
    folder, _, version = text.partition("/")
    if folder != RELEASES or not is_version(version):
        raise ConnectorError(f"{root.at(CURRENT)}: points to {visible(text)!r}, not to {RELEASES}/VERSION")
    return version


def is_version(text: str) -> bool:
    """Say whether a text can be the name of a release."""
    return _VERSION.fullmatch(text) is not None and ".." not in text and text != PREVIOUS


def _release(releases: Folder, version: str) -> Folder:
    if not is_version(version):
        raise ConnectorError(f"{visible(version)!r} is not a version (letters, digits, `.`, `_`, `+`, `-`; no `..`)")
    match releases.kind(version):
        case "folder":
            return releases.child(version)
        case None:
            raise ConnectorError(f"there is no release {version} in {releases.place}")
        case kind:
            raise ConnectorError(f"{releases.at(version)}: is a {kind}, not a folder")


def resolve(root: Folder, to: str, current: str, history: History) -> str:
    """Return the version that `to` means, a version or "previous". Raises `ConnectorError` where nothing changes."""
    target = to
    if to == PREVIOUS:
        previous = history.previous(current)
        if previous is None:
            place = root.at("history.jsonl")
            raise ConnectorError(f"{place}: does not say what was live before {current}; name the version instead")
        target = previous
    if target == current:
        raise ConnectorError(f"{current} is live already: nothing to do")
    return target


def work_out(root: Folder, rollback: Rollback, history: History) -> Preview:
    """Read both releases whole and return what the switch changes, with the facts as they are."""
    with ExitStack() as stack:
        releases = stack.enter_context(root.child(RELEASES))
        live, wanted = (stack.enter_context(_release(releases, v)) for v in (rollback.current, rollback.target))
        before, after = scan_tree(live), scan_tree(wanted)
        changes = compare_trees(before, after, partial(read_entry, live), partial(read_entry, wanted))
    return Preview(
        rollback=replace(rollback, facts=_facts(rollback, before, after)),
        diff=changes.diff,
        files=changes.files,
        added=changes.added,
        removed=changes.removed,
        summarised=changes.summarised,
        guard={"current_link": link_to(rollback.current), "history_length": len(history.switches)},
    )


def missing_releases(root: Folder, rollback: Rollback) -> tuple[str, ...]:
    """Name the reviewed facts that cannot hold because a release is not there any more."""
    with root.child(RELEASES) as releases:
        versions = {"target": rollback.target, "manifest_from": rollback.current}
        return tuple(name for name, version in versions.items() if releases.kind(version) != "folder")


def _facts(rollback: Rollback, before: Tree, after: Tree) -> dict[str, Json]:
    """Return what effect and diff depend on: both versions, and what each of the two releases holds."""
    return {
        "current": rollback.current,
        "target": rollback.target,
        "manifest": tree_digest(after),
        "manifest_from": tree_digest(before),
    }


def link_to(version: str) -> str:
    """Return the text of a link that makes a version live."""
    return f"{RELEASES}/{version}"


def deserted(root: Folder) -> bool:
    """Say whether the folder holds no trace of a deployment: then its silence proves nothing."""
    return all(root.kind(name) is None for name in (CURRENT, RELEASES, STATE_FOLDER))
