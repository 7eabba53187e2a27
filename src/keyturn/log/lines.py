"""Text in lines that carry hashes and decimals, each written in the one way there is."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from keyturn.log.tree import HASH_BYTES

MOST = 2**63 - 1
"""The largest size or index that is read."""
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def read_decimal(text: str) -> int:
    """Read a decimal without sign, leading zeros or other scripts' digits. Raises `ValueError`."""
    if not _DECIMAL.fullmatch(text) or int(text) > MOST:
        raise ValueError("not a number from 0 to 2**63 - 1 in plain decimals")
    return int(text)


def read_base64(text: str) -> bytes:
    """Read canonical base64 (RFC 4648 section 4, padded). Raises `ValueError`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not base64 ({error})") from error
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("not canonical base64")
    return data


def read_hash(text: str) -> bytes:
    """Read a SHA-256 hash in canonical base64. Raises `ValueError`."""
    data = read_base64(text)
    if len(data) != HASH_BYTES:
        raise ValueError(f"not {HASH_BYTES} bytes in base64")
    return data


def hash_lines(hashes: Sequence[bytes]) -> str:
    """Write hashes, one to a line."""
    return "".join(f"{base64.b64encode(value).decode('ascii')}\n" for value in hashes)
