"""WPForms' Webhooks add-on: flat, with keys that the owner chose; several values joined by ``||``.

It is known by its headers alone. In form mode its signature is not over the bytes that it
sends, so only deliveries as JSON can be verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost, Payload
from mknock.forms.reading import Field, read_fields
from mknock.forms.signatures import verifies_timed

name = "wpforms"

_SIGNATURE = "x-wpforms-webhook-signature"
_ID = "x-wpforms-webhook-id"


def recognises(payload: Payload) -> bool:
    headers = payload.headers
    return (_ID in headers or _SIGNATURE in headers) and isinstance(payload.data, dict)


def read(payload: Payload, reading: FormReading) -> Submission:
    return read_fields(_fields(payload.data), reading, name, payload.data.get("entry_id"))


def verifies(post: FormPost, secret: str, now: float) -> bool:
    """Whether the signature is ``t=…,v=`` and the hex HMAC of the time, a dot and the raw body."""
    return verifies_timed(post.headers.get(_SIGNATURE, ""), "v", post.body, secret, now)


SIGNATURE = Signature((_SIGNATURE,), verifies)


def _fields(data: dict[str, Any]) -> Iterator[Field]:
    for key, value in data.items():
        several = isinstance(value, str) and "||" in value
        yield Field(key, key, value.split("||") if several else value, _is_metadata(key))


def _is_metadata(key: str) -> bool:
    return key == "entry_id" or labels.is_metadata(key)
