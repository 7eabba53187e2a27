"""Reads `tool_schemas/`, proves schema and handler agree, parses arguments."""

from keyturn.contracts.agreement import catalog_changes, changes, disagreements
from keyturn.contracts.arguments import RefusedArguments, parse_arguments
from keyturn.contracts.catalog import Catalog, catalog_of, check_pins, read_catalog

__all__ = [
    "Catalog",
    "RefusedArguments",
    "catalog_changes",
    "catalog_of",
    "changes",
    "check_pins",
    "disagreements",
    "parse_arguments",
    "read_catalog",
]
