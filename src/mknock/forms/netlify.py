"""Netlify Forms: https://docs.netlify.com/manage/forms/notifications/.

The shape and the signature were taken from captured deliveries and public receivers. Its
signature is a JWS (RFC 7515) whose claims hold the hash of the body.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost, Payload, json_value
from mknock.forms.reading import Field, read_fields
from mknock.forms.shapes import is_list_in, is_object_in, object_in, objects_in, text_in
from mknock.forms.signatures import mac_of, same

name = "netlify"


def recognises(payload: Payload) -> bool:
    form = _form(payload.data)
    return is_list_in(form, "ordered_human_fields") and bool(text_in(form, "form_name"))


def read(payload: Payload, reading: FormReading) -> Submission:
    form = _form(payload.data)
    return read_fields(_fields(form), reading, name, form.get("id"))


def verifies(post: FormPost, secret: str, now: float) -> bool:  # noqa: ARG001 - its signature holds no time
    """Whether X-Webhook-Signature is a JWS by HS256 whose claim ``sha256`` is the hex hash of the raw body.

    Without that claim a signature once seen would be good for any body.
    """
    token = post.headers.get("x-webhook-signature", "").strip()
    signed, _, signature = token.rpartition(".")
    if not secret or not same(signature, _base64url(mac_of(secret, signed.encode("utf-8", "replace")))):
        return False
    header, _, claims = signed.partition(".")
    body = hashlib.sha256(post.body).hexdigest()
    return text_in(_json(header), "alg") == "HS256" and same(text_in(_json(claims), "sha256"), body)


SIGNATURE = Signature(("x-webhook-signature",), verifies)


def _form(data: Any) -> dict[str, Any]:
    """Return the submission, which the event of a function wraps."""
    if is_object_in(data, "payload"):
        return object_in(data, "payload")
    return data if isinstance(data, dict) else {}


def _fields(form: dict[str, Any]) -> Iterator[Field]:
    titles = {text_in(one, "name"): text_in(one, "title") for one in objects_in(form, "ordered_human_fields")}
    for key, value in object_in(form, "data").items():
        yield Field(key, titles.get(key) or key, value, labels.is_metadata(key))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(part: str) -> Any:
    """Return what a part of a JWS holds; None if it is damaged, which its signer alone could do."""
    try:
        return json_value(base64.urlsafe_b64decode(part + "=="))
    except (ValueError, Unreadable):
        return None
