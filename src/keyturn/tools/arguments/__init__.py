"""One file per tool with its typed `Arguments`; a new file is found without being listed anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from keyturn.contracts.model import ArgumentModel


@cache
def models() -> Mapping[str, type[ArgumentModel]]:
    """Return tool name → model: of every module of this package that defines `Arguments`."""
    found: dict[str, type[ArgumentModel]] = {}
    for module in pkgutil.iter_modules(__path__):
        arguments = getattr(importlib.import_module(f"{__name__}.{module.name}"), "Arguments", None)
        if isinstance(arguments, type) and issubclass(arguments, ArgumentModel):
            found[module.name] = arguments
    return MappingProxyType(found)
