"""Clock, entropy and environment: the three things nobody else asks."""

from __future__ import annotations

import os
import pwd
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType

from keyturn.ledger.writer import Surroundings
from keyturn.model.time import Moment

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def moment() -> Moment:
    """Return what the clocks say now."""
    up = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return Moment(wall=datetime.now(UTC), boot=_boot_id(), up=up)


def seconds() -> float:
    """Return the seconds since 1970, UTC."""
    return time.time()


def entropy(count: int) -> bytes:
    """Return `count` random bytes from the operating system."""
    return secrets.token_bytes(count)


def new_token() -> str:
    """Return a new token: `kt_` and 256 random bits in URL-safe base64 without padding."""
    return f"kt_{secrets.token_urlsafe(32)}"


def new_action_id(at: datetime) -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7) whose first 48 bits are `at` in milliseconds since 1970."""
    milliseconds = int(at.timestamp() * 1000) & (2**48 - 1)
    random = int.from_bytes(secrets.token_bytes(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (2**62 - 1)
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def new_instance() -> str:
    """Return the id of a new executor instance: 32 hex digits."""
    return secrets.token_hex(16)


TOKEN = "KEYTURN_TOKEN"  # noqa: S105 - the name of a variable


def environment() -> Mapping[str, str]:
    """Return this process's environment without the token: whatever is started here does not get it."""
    return MappingProxyType({name: value for name, value in os.environ.items() if name != TOKEN})


def presented_token() -> str | None:
    """Return the token in $KEYTURN_TOKEN, if there is one."""
    return os.environ.get(TOKEN)


def account() -> str:
    """Return the name of the operating-system account this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"


def surroundings(program: str) -> Surroundings:
    """Return what a ledger takes from outside; `program` names this process in messages of others."""
    return Surroundings(moment, entropy, f"{program} (pid {os.getpid()})")


@cache
def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
