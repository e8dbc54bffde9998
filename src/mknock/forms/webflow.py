"""Webflow: https://developers.webflow.com/data/reference/webhooks/events/form-submission.

Only webhooks made by its API or an app are signed; those of the dashboard are not. It
tells of every form of the site, unless the webhook is for one form only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost, Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_object_in, object_in, objects_in, text_in
from mknock.forms.signatures import hex_mac, is_recent, same

name = "webflow"

_SUBMITTED = "form_submission"
_MILLISECOND = 0.001
_KINDS = {
    "FormEmailInput": EMAIL,
    "FormFileUploadInput": FILE,
    "FormSelect": CHOICE,
    "FormRadioInput": CHOICE,
    "FormCheckboxInput": CHOICE,
}


def recognises(payload: Payload) -> bool:
    return bool(text_in(payload.data, "triggerType")) and is_object_in(payload.data, "payload")


def read(payload: Payload, reading: FormReading) -> Submission:
    event = payload.data
    if event["triggerType"] != _SUBMITTED or not is_object_in(event["payload"], "data"):
        raise Unreadable(f"This Webflow event is not a submitted form; only {_SUBMITTED} events are.")
    return read_fields(_fields(event["payload"]), reading, name, event["payload"].get("id"))


def verifies(post: FormPost, secret: str, now: float) -> bool:
    """Whether X-Webflow-Signature is the hex HMAC of the time in milliseconds, a colon and the raw body."""
    given = post.headers.get("x-webflow-signature", "").strip()
    time = post.headers.get("x-webflow-timestamp", "").strip()
    if not secret or not given or not is_recent(time, now, unit=_MILLISECOND):
        return False
    return same(given, hex_mac(secret, time.encode() + b":" + post.body))


SIGNATURE = Signature(("x-webflow-signature",), verifies)


def _fields(form: dict[str, Any]) -> Iterator[Field]:
    kinds = {text_in(one, "fieldName"): text_in(one, "fieldType") for one in objects_in(form, "schema")}
    for title, value in object_in(form, "data").items():
        kind = kinds.get(title, "")
        yield Field(title, title, value, labels.is_metadata(title), _KINDS.get(kind, kind))
