"""Entries as lines for other tools: JSON, events of the Open Cybersecurity Schema Framework (OCSF), and CEF.

They are for searching and alerting. They carry no proofs: whoever needs those takes a bundle.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp

Opened: TypeAlias = Callable[[Entry, str], bytes | None]
"""Returns a payload of an entry, None where it is left out or was erased."""
Begun: TypeAlias = Callable[[str], Entry | None]
"""Returns the entry that an action begins with."""
Event: TypeAlias = dict[str, Any]

OCSF_VERSION: Final = "1.3.0"
API_ACTIVITY: Final = 6003
READ, UPDATE, OTHER = 2, 3, 99  # activity_id of the class
_SUCCESS, _FAILURE, _OTHER_STATUS, _UNKNOWN = 1, 2, 99, 0
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES: Mapping[str, tuple[int, int]] = {
    "succeeded": (_SUCCESS, _INFORMATIONAL),
    "failed": (_FAILURE, _MEDIUM),
    "stale": (_FAILURE, _LOW),
    "unknown": (_UNKNOWN, _HIGH),
    "shadowed": (_OTHER_STATUS, _INFORMATIONAL),
}
"""Outcome → status_id and severity_id."""
_ACTIVITIES: Mapping[str, tuple[int, str]] = {
    "read.served": (READ, "Read"),
    "action.requested": (OTHER, "Request"),
    "action.undoing": (OTHER, "Request"),
    "action.denied": (OTHER, "Refusal"),
    "action.reviewed": (OTHER, "Review"),
    "execution.finished": (UPDATE, "Update"),
    "execution.resolved": (UPDATE, "Update"),
}
"""Kinds that become events → activity_id and activity_name."""


def json_lines(entries: Iterable[Entry], opened: Opened) -> Iterator[str]:
    """Yield an object for each entry: its frame and facts, its hash and signature, and its payloads as values."""
    for entry in entries:
        yield json.dumps(
            {
                **canon.decode_object(entry.body),
                "leaf": entry.leaf,
                "signature": base64.b64encode(entry.signature).decode("ascii"),
                "payloads": {
                    name: _value(name, data) for name in entry.data if (data := opened(entry, name)) is not None
                },
            }
        )


def ocsf_lines(entries: Iterable[Entry], begun: Begun, version: str) -> Iterator[str]:
    """Yield an API Activity event (class 6003) for each entry that is one; `version` is that of the program."""
    return (json.dumps(event) for event in events(entries, begun, version))


def cef_lines(entries: Iterable[Entry], begun: Begun, version: str) -> Iterator[str]:
    """Yield a line of the Common Event Format for each entry that is an event."""
    return (_cef(event) for event in events(entries, begun, version))


def events(entries: Iterable[Entry], begun: Begun, version: str) -> Iterator[Event]:
    """Yield the events of OCSF: reads, requests, refusals, reviews and outcomes."""
    for entry in entries:
        if entry.kind in _ACTIVITIES:
            about = begun(entry.action) if entry.action is not None else entry
            yield _event(entry, about or entry, version)


def _event(entry: Entry, about: Entry, version: str) -> Event:
    facts: Mapping[str, Any] = about.facts
    activity, name = _ACTIVITIES[entry.kind]
    status, severity, words = _status(entry)
    return {
        "activity_id": activity,
        "activity_name": name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": API_ACTIVITY,
        "class_name": "API Activity",
        "type_uid": API_ACTIVITY * 100 + activity,
        "type_name": f"API Activity: {name if activity != OTHER else 'Other'}",
        "time": (entry.at - _EPOCH) // timedelta(milliseconds=1),
        "severity_id": severity,
        "status_id": status,
        "status": words,
        "actor": _actor(entry, facts),
        "api": {
            "operation": facts.get("tool") or "unknown",
            "service": {"name": (facts.get("backend") or {}).get("name", "keyturn")},
            "request": {"uid": entry.action or entry.leaf},
        },
        "src_endpoint": {"name": facts.get("transport", "unknown")},
        "resources": _resources(facts),
        "metadata": _metadata(entry, version),
        "unmapped": _unmapped(entry, facts),
    }


def _status(entry: Entry) -> tuple[int, int, str]:
    facts: Mapping[str, Any] = entry.facts
    match entry.kind:
        case "execution.finished" | "execution.resolved":
            return (*_OUTCOMES[facts["outcome"]], facts["outcome"])
        case "action.denied":
            return _FAILURE, _LOW, "denied"
        case "action.reviewed":
            return _SUCCESS, _INFORMATIONAL, facts["verdict"]
        case "read.served":
            return _SUCCESS, _INFORMATIONAL, "served"
    return _OTHER_STATUS, _INFORMATIONAL, facts["decision"]


def _actor(entry: Entry, facts: Mapping[str, Any]) -> Event:
    """Return who did it: the person who reviewed, else the assistant, with what allowed it."""
    if entry.kind == "action.reviewed":
        said: Mapping[str, Any] = entry.facts
        return {"user": {"name": said["reviewer"], "type": "User", "type_id": 1, "credential_uid": said["key"]}}
    user = {"name": facts.get("principal", "unknown"), "type": "Assistant", "type_id": 99}
    policy = {"uid": facts.get("policy", ""), "name": ", ".join(facts.get("rules", ())) or "none"}
    decision = facts.get("decision") or ("deny" if entry.kind == "action.denied" else "permit")
    return {"user": user, "authorizations": [{"decision": decision, "policy": policy}]}


def _resources(facts: Mapping[str, Any]) -> list[Event]:
    if not facts.get("target"):
        return []
    backend = facts.get("backend") or {}
    return [{"name": facts["target"], "type": backend.get("port", "unknown"), "uid": backend.get("location", "")}]


def _metadata(entry: Entry, version: str) -> Event:
    return {
        "version": OCSF_VERSION,
        "product": {"name": "Keyturn", "vendor_name": "Keyturn", "version": version},
        "uid": entry.digest,
        "sequence": entry.seq,
        "log_name": entry.log,
        "event_code": entry.kind,
        "original_time": format_timestamp(entry.at),
        **({"correlation_uid": entry.action} if entry.action else {}),
    }


def _unmapped(entry: Entry, facts: Mapping[str, Any]) -> Event:
    more = {name: facts[name] for name in ("owner", "environment", "contract") if facts.get(name)}
    codes: Any = entry.facts.get("codes")
    return {**more, **({"codes": codes} if codes else {})}


def _cef(event: Event) -> str:
    """Write an event as CEF:0; what a field may hold is escaped as the format asks."""
    product, names = event["metadata"]["product"], event["metadata"]
    head = ["Keyturn", "Keyturn", product["version"], names["event_code"], event["activity_name"]]
    severity = {_INFORMATIONAL: 1, _LOW: 4, _MEDIUM: 6, _HIGH: 8}[event["severity_id"]]
    fields = {
        "rt": event["time"],
        "suser": event["actor"]["user"]["name"],
        "act": event["api"]["operation"],
        "outcome": event["status"],
        "externalId": event["metadata"]["sequence"],
        "cs1Label": "action",
        "cs1": event["api"]["request"]["uid"],
        "cs2Label": "target",
        "cs2": ", ".join(resource["name"] for resource in event["resources"]),
    }
    extension = " ".join(f"{name}={_in_extension(str(value))}" for name, value in fields.items() if value != "")
    return f"CEF:0|{'|'.join(map(_in_head, head))}|{severity}|{extension}"


def _in_head(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def _in_extension(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")


def _value(name: str, data: bytes) -> Json:
    return data.decode("utf-8", errors="replace") if name == "diff" else canon.decode(data)
