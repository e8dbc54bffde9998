"""OpnForm: https://docs.opnform.com (webhook-security).

Answers stand under the questions' ids with their names beside them, and once more by
name alone, which is deprecated. What was not answered is absent; there is no event id.
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
from mknock.forms.shapes import is_object_in, object_in, text_in
from mknock.forms.signatures import hex_mac, same

name = "opnform"


def recognises(payload: Payload) -> bool:
    data = payload.data
    answered = is_object_in(data, "data") or is_object_in(data, "submission")
    return answered and bool(text_in(data, "form_title")) and bool(text_in(data, "form_slug"))


def read(payload: Payload, reading: FormReading) -> Submission:
    return read_fields(_fields(payload.data), reading, name)


def verifies(post: FormPost, secret: str, now: float) -> bool:  # noqa: ARG001 - its signature holds no time
    """Whether X-Webhook-Signature is ``sha256=`` and the hex HMAC of the raw body."""
    given = post.headers.get("x-webhook-signature", "").strip()
    return bool(secret and given) and same(given, "sha256=" + hex_mac(secret, post.body))


SIGNATURE = Signature(("x-webhook-signature",), verifies)


def _fields(data: dict[str, Any]) -> Iterator[Field]:
    if not is_object_in(data, "data"):
        for title, value in object_in(data, "submission").items():
            yield Field(title, title, value, labels.is_metadata(title))
    for key, item in object_in(data, "data").items():
        if isinstance(item, dict):
            title = text_in(item, "name")
            yield Field(key, title, item.get("value"), labels.is_metadata(title))
