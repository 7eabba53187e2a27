"""Which back ends there are: one line each, by port and by the `kind` that the wiring names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType, ModuleType

BACK_ENDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "forge": {
            "git": "keyturn.connectors.forge.git",
            "git-remote": "keyturn.connectors.forge.remote",
            "github": "keyturn.connectors.forge.github",
        },
        "deployments": {
            "kubernetes": "keyturn.connectors.deployments.kubernetes",
            "releases": "keyturn.connectors.deployments.releases",
        },
        "tickets": {
            "folder": "keyturn.connectors.tickets.folder",
            "github": "keyturn.connectors.tickets.github",
        },
    }
)
"""Port → kind → module; each module has `Settings` and `build(name, settings, world)`."""


ANCHORS: Mapping[str, str] = MappingProxyType(
    {
        "file": "keyturn.anchors.file",
        "git": "keyturn.anchors.git",
        "rfc3161": "keyturn.anchors.rfc3161",
        "witness": "keyturn.anchors.witness",
    }
)
"""Kind of anchor → module, as those of back ends."""


def anchor_end(kind: str) -> ModuleType:
    """Load the module of a kind of anchor."""
    return importlib.import_module(ANCHORS[kind])


def back_end(port: str, kind: str) -> ModuleType:
    """Load the module of a kind: a home starts with the libraries of its own back ends alone."""
    return importlib.import_module(BACK_ENDS[port][kind])
