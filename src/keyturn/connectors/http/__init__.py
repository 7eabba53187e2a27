"""The one door of back ends to systems over HTTP: settings, credentials' fields, calls, answers."""

from __future__ import annotations

from keyturn.connectors.http.answer import Answer
from keyturn.connectors.http.authority import Authority, FromSource, Nobody
from keyturn.connectors.http.connection import Connection
from keyturn.connectors.http.door import Door

__all__ = ["Answer", "Authority", "Connection", "Door", "FromSource", "Nobody"]
