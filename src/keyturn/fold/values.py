"""Frozen values written as JSON for a snapshot, and read back by the types of their fields.

A field is text, a number, a flag, a time, one of these or None, a tuple or a list, a mapping by text, or a dataclass.
Every process that opens a ledger reads a snapshot: this takes it a millisecond, where loading a library for it would
take fifty.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from keyturn.canon import Json
from keyturn.model.time import format_timestamp, parse_timestamp

T = TypeVar("T")
_Read = Callable[[Any], Any]


def to_json(value: object) -> Json:
    """Return a value of these types as JSON: a dataclass by its fields, a time as `format_timestamp` writes it."""
    match value:
        case None | str() | int():
            return value
        case datetime():
            return format_timestamp(value)
        case tuple() | list():
            return [to_json(item) for item in value]
        case Mapping():
            return {name: to_json(item) for name, item in value.items()}
    return {name: to_json(getattr(value, name)) for name in _fields(cast(Any, type(value)))}


def from_json(kind: type[T], value: Json) -> T:
    """Rebuild what `to_json` wrote of a `kind`. Raises `TypeError` or `ValueError` for anything else."""
    return cast(T, _reader(cast(Any, kind))(value))


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _reader(kind: Any) -> _Read:
    """Return what reads one type."""
    if kind in {str, int, bool, type(None)}:
        return _exactly(kind)
    if kind is datetime:
        return parse_timestamp
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _optional(*arguments)
    if origin is list or (origin is tuple and arguments[1:] == (...,)):
        return _several(origin, _reader(arguments[0]))
    if origin is tuple:
        return _row([_reader(argument) for argument in arguments])
    if origin is Mapping and arguments[0] is str:
        return _mapping(_reader(arguments[1]))
    raise TypeError(f"values of {kind} are not read from a snapshot")


def _exactly(kind: type) -> _Read:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"a {type(value).__name__} stands for a {kind.__name__}")
        return value

    return read


def _dataclass(kind: Any) -> _Read:
    hints = get_type_hints(kind)
    readers = {name: _reader(hints[name]) for name in _fields(kind)}

    def read(value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() != readers.keys():
            raise ValueError(f"{kind.__name__} has other fields")
        return kind(**{name: reader(value[name]) for name, reader in readers.items()})

    return read


def _optional(kind: Any, none: Any) -> _Read:
    inner = _reader(kind)
    if none is not type(None):
        raise TypeError(f"only None may stand for {kind}")
    return lambda value: None if value is None else inner(value)


def _several(kind: Callable[[Any], Any], inner: _Read) -> _Read:
    return lambda value: kind(inner(item) for item in _listed(value))


def _row(readers: list[_Read]) -> _Read:
    return lambda value: tuple(read(item) for read, item in zip(readers, _listed(value), strict=True))


def _mapping(inner: _Read) -> _Read:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"a {type(value).__name__} stands for an object")
        return {name: inner(item) for name, item in value.items()}

    return read


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a {type(value).__name__} stands for a list")
    return value
