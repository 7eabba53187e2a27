"""Prism, a validating mock: is each request we sent valid by the API's own description?

`Prism.objections(exchange)` sends a recorded request again, to Prism with a prepared description
(`tests.bed.documents`), and returns what it finds wrong, beside what Prism does not look at: query parameters that
the operation does not have. Prism matches one segment to a path parameter, so slashes in `{ref}`, `{path}`,
`{branch}` and `{basehead}` are encoded. It holds no state and proves nothing but shapes. A start takes about seven
seconds with GitHub's whole description, one or two with the operations that are used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

import httpx2

from tests.bed import documents
from tests.bed.documents import Json, Operations
from tests.bed.node import OPENAPI, PRISM, entry, require
from tests.bed.programs import Program, program
from tests.bed.recorder import Exchange

SLASHED = ("ref", "path", "branch", "basehead")


@dataclass(frozen=True, slots=True)
class Prism:
    """A running Prism, and the description it was given."""

    url: str
    document: Json
    program: Program
    client: httpx2.Client

    def objections(self, exchange: Exchange) -> list[str]:
        """Return what is wrong with a request by the description; nothing if it is valid."""
        found = operation(self.document, exchange.method, exchange.path)
        if found is None:
            return [f"{exchange.method} {exchange.path}: no operation of the (prepared) description"]
        template, path = found
        known = documents.templates(self.document)[exchange.method, template]
        unknown = [name for name, _ in parse_qsl(exchange.query, keep_blank_values=True) if name not in known]
        wrong = [f"{exchange.method} {template}: no query parameter {name}" for name in unknown]
        body = self.document["paths"][template][exchange.method.lower()].get("requestBody")
        kind = (exchange.header("content-type") or "").partition(";")[0].strip()
        if exchange.body and (body is None or kind not in body["content"]):
            wrong.append(f"{exchange.method} {template}: takes no body of the type {kind or '(none)'}")
        target = path + (f"?{exchange.query}" if exchange.query else "")
        headers = {name: value for name, value in exchange.headers if name in ("accept", "content-type", "prefer")}
        return wrong + self.refusals(exchange.method, target, exchange.body, headers, shown=template)

    def refusals(
        self, method: str, target: str, body: bytes, headers: dict[str, str], *, shown: str | None = None
    ) -> list[str]:
        """Send a request as it is; returns Prism's violations (or what it said instead of answering)."""
        told = self.client.request(method, target, content=body, headers=headers)
        place = f"{method} {shown or target}"
        found = [_said(one) for one in json.loads(told.headers.get("sl-violations", "[]")) if _ours(one)]
        if not found and told.headers.get("content-type", "").startswith("application/problem+json"):
            problem = told.json()
            violations = [one for one in problem.get("validation", []) if "location" in one]
            found = [_said(one) for one in violations if _ours(one)] or ([] if violations else [problem["detail"]])
        return [f"{place}: {one}" for one in found]


def _ours(violation: Json) -> bool:
    """Say whether it is a grave one of the request; Prism also finds its own examples of answers wrong."""
    return bool(violation["severity"] == "Error" and violation["location"][:1] != ["response"])


def _said(violation: Json) -> str:
    return f"{'.'.join(violation['location'])}: {violation['message']}"


def operation(document: Json, method: str, path: str) -> tuple[str, str] | None:
    """Find the operation that is meant: its path in the description, and the path as Prism wants it."""
    fitting = []
    for template, item in document["paths"].items():
        if method.lower() not in item:
            continue
        names = re.findall(r"\{([^}]+)\}", template)
        pattern = re.sub(r"\\\{([^}]+)\\\}", _parameter, re.escape(template))
        match = re.fullmatch(pattern, path)
        if match is not None:
            encoded = [quote(unquote(value), safe="") for value in match.groups()]
            literal = len(re.sub(r"\{[^}]+\}", "", template))
            made = template
            for name, value in zip(names, encoded, strict=True):
                made = made.replace("{" + name + "}", value, 1)
            fitting.append((literal, template, made))
    if not fitting:
        return None
    _, template, made = max(fitting)
    return template, made


def _parameter(match: re.Match[str]) -> str:
    return "(.+)" if match[1] in SLASHED else "([^/]+)"


@contextmanager
def prism(document: Path, folder: Path) -> Iterator[Prism]:
    """Run Prism with a description as long as the block lasts; `folder` gets what it writes."""
    node = require(PRISM)
    command = [str(node), str(entry(PRISM)), "mock", "-h", "127.0.0.1", "--errors", "-v", "error", "-m", "false"]

    def ready(port: int) -> bool:
        try:
            told = httpx2.get(f"http://127.0.0.1:{port}/__is_it_prism", trust_env=False, timeout=20)
        except httpx2.TransportError:
            return False
        return "stoplight.io/prism" in told.text

    with (
        program(
            lambda port: [*command, "-p", str(port), str(document)],
            ready,
            said=folder / "prism.log",
            within=90,
        ) as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False, timeout=30) as client,
    ):
        yield Prism(f"http://127.0.0.1:{running.port}", documents.read(document), running, client)


def github_document(operations: Operations | None = documents.GITHUB) -> Path:
    """Return GitHub's description, prepared: the operations that are used, or all of them (None)."""
    require(OPENAPI)
    return _prepared(entry(OPENAPI), operations, lambda whole: documents.prepare_github(whole, operations))


def kubernetes_document(folder: Path) -> Path:
    """Return Kubernetes' description, prepared: the operations that are used."""
    return _prepared(folder / "k8s-swagger.json", documents.KUBERNETES, documents.prepare_kubernetes)


def _prepared(source: Path, operations: Operations | None, prepare: Callable[[Json], Json]) -> Path:
    """Prepare once for each source, set of operations and way of preparing; kept between runs."""
    parts = [source.read_bytes(), repr(operations).encode(), Path(documents.__file__).read_bytes()]
    name = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:24]
    cache = Path(tempfile.gettempdir()) / f"keyturn-bed-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    kept = cache / f"{name}.json"
    if not kept.is_file():
        made = prepare(json.loads(parts[0]))
        fresh = cache / f"{name}.{os.getpid()}"
        fresh.write_text(json.dumps(made), encoding="utf-8")
        fresh.replace(kept)
    return kept


def all_valid(prism: Prism, exchanges: Iterable[Exchange]) -> None:
    """Fail unless every request is valid by the description."""
    wrong = [objection for exchange in exchanges for objection in prism.objections(exchange)]
    assert not wrong, "\n".join(wrong)
