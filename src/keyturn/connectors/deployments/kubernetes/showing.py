"""Shows what a rollback changes of a Deployment as a diff of YAML, with the values that run hidden.

What is hidden: values of environment variables and of headers in probes, whatever stands under a telling name in
free maps (annotations, labels, options of volumes), arguments after or in telling options, `NAME=value` in any text,
private keys, and passwords in addresses. Names and references (`secretKeyRef`, `envFrom`) stay: reviewers need them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from keyturn.connectors.deployments.secrets import hide_pair, holds_private_key, is_telling
from keyturn.model.diff import FileDiff, file_diff

FILE: Final = "deployment.yaml"
"""The name under which the change is shown."""

_VALUED: Final = frozenset({"env", "httpHeaders"})  # lists of name and value, whose values are live ones
_FREE: Final = frozenset({"annotations", "labels", "volumeAttributes", "options", "nodeSelector", "matchLabels"})
_OPTION: Final = re.compile(r"-{1,2}[A-Za-z0-9][\w.-]*")
_LOGIN: Final = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")

_Path: TypeAlias = tuple[str, ...]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> FileDiff:
    """Return the diff of two objects as YAML in canonical order; see `Preview` for what it counts."""
    before, after = dict(_texts(old, ())), dict(_texts(new, ()))
    was, becomes = _Veil(after, old=True).over(old, ()), _Veil(before, old=False).over(new, ())
    return file_diff(FILE, _yaml(was), _yaml(becomes))


def _texts(value: Any, path: _Path) -> Iterator[tuple[_Path, str]]:
    """Yield every text with its place; items of a list go by their name, where they have one."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, str(name)))
    elif isinstance(value, list):
        for step, item in zip(_steps(value), value, strict=True):
            yield from _texts(item, (*path, step))


def _steps(items: list[Any]) -> list[str]:
    """Name the items of a list by their `name`, as Kubernetes merges them, or else by their place."""
    named = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    names = [name if isinstance(name, str) else None for name in named]
    times = Counter(names)
    return [name if name is not None and times[name] == 1 else f"[{place}]" for place, name in enumerate(names)]


@dataclass(frozen=True, slots=True)
class _Veil:
    """Hides values on one side of a change; `other` are the texts of the other side."""

    other: Mapping[_Path, str]
    old: bool

    def over(self, value: Any, path: _Path) -> Any:
        if isinstance(value, Mapping):
            return {
                str(name): self._member(str(name), item, path) for name, item in value.items() if item is not None
            }
        if isinstance(value, list):
            items = zip(_steps(value), value, [None, *value], strict=False)
            return [self._item(step, item, before, path) for step, item, before in items]
        return self._scanned(value, path) if isinstance(value, str) else value

    def _member(self, name: str, item: Any, path: _Path) -> Any:
        here = (*path, name)
        if isinstance(item, str):
            valued = name == "value" and len(path) >= 2 and path[-2] in _VALUED
            if valued or (path and path[-1] in _FREE and is_telling(name)):
                return self._hidden(item, here)
        return self.over(item, here)

    def _item(self, step: str, item: Any, before: Any, path: _Path) -> Any:
        """Hide what follows an option with a telling name: `--token`, `abc`."""
        follows = isinstance(before, str) and _OPTION.fullmatch(before) and is_telling(before)
        if isinstance(item, str) and follows and not _OPTION.fullmatch(item):
            return self._hidden(item, (*path, step))
        return self.over(item, (*path, step))

    def _scanned(self, text: str, path: _Path) -> str:
        if holds_private_key(text.encode("utf-8", "replace")):
            return self._hidden(text, path)
        other = self.other.get(path, "")
        was, becomes = hide_pair(text, other) if self.old else hide_pair(other, text)
        was, becomes = _without_logins(was, becomes)
        if was == becomes and text != other:  # what is hidden has changed places
            return self._hidden(text, path)
        return was if self.old else becomes

    def _hidden(self, text: str, path: _Path) -> str:
        return self._word(same=self.other.get(path) == text)

    def _word(self, *, same: bool) -> str:
        if same:
            return "<hidden, same>"
        return "<hidden>" if self.old else "<hidden, changed>"


def _without_logins(old: str, new: str) -> tuple[str, str]:
    """Hide the passwords in the addresses of both sides of a change."""
    before, after = set(_LOGIN.findall(old)), set(_LOGIN.findall(new))
    return (
        _LOGIN.sub(lambda found: "<hidden, same>" if found[0] in after else "<hidden>", old),
        _LOGIN.sub(lambda found: "<hidden, same>" if found[0] in before else "<hidden, changed>", new),
    )


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: an anchor would say that two places are one."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> bytes:
    written = yaml.dump(
        value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10_000
    )
    return str(written).encode("utf-8", "replace")
