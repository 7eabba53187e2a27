"""A timestamp authority (RFC 3161): OpenSSL's own, behind HTTP on loopback."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NEEDED = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = nobody
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[stamping]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
[one]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass
class Authority:
    """One authority: its certificates in `folder` (`root.pem`, `tsa.pem`), and where it listens.

    `answers` takes its answer and returns what it sends.
    """

    folder: Path
    url: str = ""
    asked: int = 0
    damage: list[bytes] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def both(self) -> Path:
        """The root, and the authority's own certificate."""
        path = self.folder / "both.pem"
        path.write_bytes(self.root.read_bytes() + (self.folder / "tsa.pem").read_bytes())
        return path

    def stamp(self, query: bytes) -> bytes:
        """Return the answer to a request, or what a test has put in its place."""
        self.asked += 1
        if self.damage:
            return self.damage[0]
        asked, said = self.folder / f"{self.asked}.tsq", self.folder / f"{self.asked}.tsr"
        asked.write_bytes(query)
        self._openssl("ts", "-reply", "-queryfile", asked, "-config", self._config, "-section", "one", "-out", said)
        return said.read_bytes()

    def made(self) -> Authority:
        """Make root and certificate."""
        self.folder.mkdir(parents=True)
        self._config.write_text(_CONFIG.format(folder=self.folder))
        (self.folder / "serial").write_text("01\n")
        self._new("ca.key", "-x509", "-out", self.root, "-days", "30", "-subj", "/CN=Root", "-extensions", "ca")
        request = self.folder / "tsa.csr"
        self._new("tsa.key", "-out", request, "-subj", f"/CN={self.folder.name}")
        signing = ("-CA", self.root, "-CAkey", self.folder / "ca.key", "-CAcreateserial", "-days", "30")
        extensions = ("-extfile", self._config, "-extensions", "stamping")
        self._openssl("x509", "-req", "-in", request, *signing, *extensions, "-out", self.folder / "tsa.pem")
        return self

    @property
    def _config(self) -> Path:
        return self.folder / "openssl.cnf"

    def _new(self, key: str, *words: object) -> None:
        self._openssl("req", "-new", *_CURVE, "-keyout", self.folder / key, "-config", self._config, *words)

    @staticmethod
    def _openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


@contextmanager
def stamping(folder: Path) -> Iterator[Authority]:
    """Serve an authority."""
    authority = Authority(folder).made()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            answer = authority.stamp(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/tsr" else 404)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_port}/tsr"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()
