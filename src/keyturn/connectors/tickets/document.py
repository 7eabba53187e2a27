"""A ticket as a Markdown file with YAML front matter: read strictly, changed textually, nothing else touched.

    ---
    id: OPS-1
    title: Checkout is slow
    status: open
    watchers: [ann@example.org, bob]
    labels: [shop]
    ---
    What happened …

Front matter is bounded and plain: no anchors, aliases, tags or merge keys, no key twice. Values are taken from the
nodes of the YAML tree and never constructed, so nothing in a ticket becomes anything but text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from frontmatter.default_handlers import YAMLHandler

from keyturn.model.errors import ConnectorError

MAX_FILE = 1_048_576  # bytes
MAX_FRONT = 16_384  # characters between the two lines of dashes
MAX_DEPTH = 8
MAX_LIST = 1000
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One ticket file. `status_at` is where the status value stands in `text`; `body` is what follows the front."""

    text: str
    body: str
    id: str
    title: str
    status: str
    watchers: tuple[str, ...]
    labels: tuple[str, ...]
    status_at: tuple[int, int]


def parse_document(data: bytes, place: str) -> Document:
    """Read a ticket file. Raises `ConnectorError` naming `place` and what is wrong with it."""
    try:
        return _parse(data)
    except (ValueError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        raise ConnectorError(f"{place}: is not a ticket: {words}") from error


def with_status(document: Document, status: str) -> str:
    """Return the text with the status value replaced; every other character stays."""
    start, end = document.status_at
    return document.text[:start] + _scalar(status) + document.text[end:]


def with_section(text: str, section: str) -> str:
    """Return the text with a section appended, in the line ends that the text uses."""
    newline = "\r\n" if text.startswith("---\r\n") else "\n"
    lead = "" if text.endswith("\n") else newline
    return text + lead + section.replace("\n", newline)


def new_document(*, ticket: str, title: str, status: str, labels: Sequence[str], body: str) -> bytes:
    """Write a ticket file, read again to be sure that it says what was asked. Nobody watches a new ticket."""
    listed = ", ".join(_written(label) for label in labels)
    front = f"id: {ticket}\ntitle: {_written(title)}\nstatus: {_scalar(status)}\nlabels: [{listed}]\n"
    data = f"---\n{front}---\n\n{body}".encode()
    made = parse_document(data, ticket)
    said = (made.id, made.title, made.status, made.watchers, made.labels, made.body.lstrip("\n"))
    if said != (ticket, title, status, (), tuple(labels), body):
        raise ConnectorError(f"{ticket}: a ticket file cannot say this as it stands")
    return data


def _parse(data: bytes) -> Document:
    text = data.decode("utf-8")
    start, end, body = _front(text)
    front = text[start:end]
    _check_events(front)
    fields = _fields(front)
    status = _single(fields, "status")
    at = (start + status.start_mark.index, start + status.end_mark.index)
    return Document(
        text=text,
        body=text[body:],
        id=_single(fields, "id").value,
        title=_single(fields, "title").value,
        status=status.value,
        watchers=tuple(dict.fromkeys((*_list(fields, "watchers"), *_list(fields, "recipients")))),
        labels=_list(fields, "labels"),
        status_at=at,
    )


def _front(text: str) -> tuple[int, int, int]:
    """Return where the front matter starts and ends and the body starts, by python-frontmatter's own boundary."""
    boundary = YAMLHandler.FM_BOUNDARY
    assert boundary is not None  # noqa: S101 - the base class may have none, this one does; told to the type checker
    opening = boundary.match(text)
    closing = boundary.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        raise ValueError("it must open with front matter between two lines of ---")
    if closing.start() - opening.end() > MAX_FRONT:
        raise ValueError(f"its front matter is longer than {MAX_FRONT} characters")
    return opening.end(), closing.start(), closing.end()


def _check_events(front: str) -> None:
    depth = 0
    for event in yaml.parse(front, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("anchors and aliases are not allowed in front matter")
        if getattr(event, "tag", None) is not None:
            raise ValueError("tags are not allowed in front matter")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"its front matter is nested deeper than {MAX_DEPTH}")


def _fields(front: str) -> Mapping[str, yaml.Node]:
    root = yaml.compose(front, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("its front matter is not a mapping")  # noqa: TRY004 - the file is wrong, not our call
    found: dict[str, yaml.Node] = {}
    for key, value in root.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            raise ValueError("keys must be plain names")
        if key.value in found:
            raise ValueError(f"{key.value} stands twice")
        found[key.value] = value
    return found


def _single(fields: Mapping[str, yaml.Node], name: str) -> yaml.ScalarNode:
    if (node := fields.get(name)) is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT or not node.value.strip():
        raise ValueError(f"{name} must be text (quote what YAML takes for a number, a date or yes and no)")
    if "\n" in node.value or node.start_mark.line != node.end_mark.line:
        raise ValueError(f"{name} must stand on one line")
    return node


def _list(fields: Mapping[str, yaml.Node], name: str) -> tuple[str, ...]:
    node = fields.get(name)
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode) or len(node.value) > MAX_LIST:
        raise ValueError(f"{name} must be a list of at most {MAX_LIST} texts")
    if not all(isinstance(item, yaml.ScalarNode) and item.tag == _TEXT for item in node.value):
        raise ValueError(f"every item of {name} must be text")
    return tuple(item.value for item in node.value)


def _scalar(status: str) -> str:
    """Write a status so that YAML reads it as the same text: bare where that works, quoted otherwise."""
    node = yaml.compose(status, Loader=yaml.SafeLoader)
    bare = isinstance(node, yaml.ScalarNode) and node.tag == _TEXT and node.value == status
    return status if bare else f'"{status}"'


def _written(text: str) -> str:
    """Write any text on one line: bare where it is a plain word, else double-quoted, which JSON's quotes are too."""
    return _scalar(text) if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
