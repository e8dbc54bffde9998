"""What the platforms' signatures share. All are HMAC-SHA256; they differ in dress and in what is signed.

Whatever a stranger sent is compared as bytes and in constant time, and never raises.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator

TOLERANCE = 300.0
"""Seconds that a signature's own time may be away from ours; repeats are signed anew."""
_LONGEST_TIME = 14
"""Digits; more are no time in this age of the world, in milliseconds either."""


def mac_of(secret: str, signed: bytes) -> bytes:
    return hmac.digest(secret.encode("utf-8", "surrogateescape"), signed, "sha256")


def hex_mac(secret: str, signed: bytes) -> str:
    return mac_of(secret, signed).hex()


def base64_mac(secret: str, signed: bytes) -> str:
    return base64.b64encode(mac_of(secret, signed)).decode()


def same(presented: str, right: str) -> bool:
    """Compare in constant time; on bytes, since text that is not ASCII would raise."""
    return hmac.compare_digest(presented.encode("utf-8", "replace"), right.encode())


def is_recent(time: str, now: float, *, unit: float = 1.0) -> bool:
    """Whether a time as it stands in a header, in that many seconds, is within TOLERANCE of ``now``."""
    if not (time.isascii() and time.isdigit() and len(time) <= _LONGEST_TIME):
        return False
    return abs(int(time) * unit - now) <= TOLERANCE


def time_and_mac(header: str, mac: str) -> tuple[str, list[str]]:
    """Take ``t=1700000000,v1=…`` apart: the time, and what stands under the name ``mac`` (may repeat)."""
    pairs = list(_pairs(header))
    times = [value for name, value in pairs if name == "t"]
    return (times[0] if len(times) == 1 else ""), [value for name, value in pairs if name == mac]


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        yield name, value


def verifies_timed(header: str, mac: str, body: bytes, secret: str, now: float) -> bool:
    """Check ``t=…,<mac>=…``: the hex MAC of the time, a dot and the body (Formspree, WPForms)."""
    time, macs = time_and_mac(header, mac)
    right = hex_mac(secret, time.encode("utf-8", "replace") + b"." + body)
    return bool(secret) and is_recent(time, now) and any(same(presented, right) for presented in macs)
