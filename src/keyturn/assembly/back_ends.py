"""Which back ends there are: one line each, by port and by the `kind` that the wiring names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from keyturn.connectors.deployments import releases
from keyturn.connectors.forge import git
from keyturn.connectors.tickets import folder

BACK_ENDS: Mapping[str, Mapping[str, ModuleType]] = MappingProxyType(
    {
        "forge": {
            "git": git,
        },
        "deployments": {
            "releases": releases,
        },
        "tickets": {
            "folder": folder,
        },
    }
)
"""Port → kind → module; each module has `Settings` and `build(name, settings, *, home, environment)`."""
