"""Standard Webhooks, which Svix, Formbricks and many others use: https://www.standardwebhooks.com.

A way to sign and no shape, so that its secret vouches for any. Svix calls the same headers
``svix-…``. There may be several signatures while a secret is exchanged for
a new one. Written out here since the library ``standardwebhooks`` takes the time from
the clock of the machine, and raises a different error for each way to be malformed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost
from mknock.forms.signatures import is_recent, same

name = "webhook"
"""Its setting is WEBHOOK_SIGNING_SECRET."""

_PREFIXES = ("webhook", "svix")
_SECRET = "whsec_"  # noqa: S105 - what every secret begins with


def verifies(post: FormPost, secret: str, now: float) -> bool:
    """Whether one signature is ``v1,`` and the base64 HMAC of id, time and body, with dots between."""
    key = _key(secret)
    return bool(key) and any(_verifies(post, prefix, key, now) for prefix in _PREFIXES)


SIGNATURE = Signature(tuple(f"{prefix}-signature" for prefix in _PREFIXES), verifies)


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id that the headers give the delivery, the same in every repeat; "" if they give none."""
    return next((headers[f"{prefix}-id"] for prefix in _PREFIXES if headers.get(f"{prefix}-id")), "")


def _verifies(post: FormPost, prefix: str, key: bytes, now: float) -> bool:
    number, time, given = (
        post.headers.get(f"{prefix}-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not number or not is_recent(time, now):
        return False
    mac = hmac.digest(key, f"{number}.{time}.".encode("utf-8", "replace") + post.body, "sha256")
    right = "v1," + base64.b64encode(mac).decode()
    return any(same(one, right) for one in given.split(" "))


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except (binascii.Error, ValueError):
        return b""
