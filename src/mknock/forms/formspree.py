"""Formspree: https://help.formspree.io ("Simple" webhooks; a RESTHook first asks for a handshake).

The shape and the signature were taken from public receivers that agree. There is no event id; a
submission's date is as good, since an id counts only together with the person.
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
from mknock.forms.shapes import is_list_in, is_object_in, text_in
from mknock.forms.signatures import verifies_timed

name = "formspree"


def recognises(payload: Payload) -> bool:
    data = payload.data
    return bool(text_in(data, "form")) and is_list_in(data, "keys") and is_object_in(data, "submission")


def read(payload: Payload, reading: FormReading) -> Submission:
    submission = payload.data["submission"]
    return read_fields(_fields(submission), reading, name, submission.get("_date"))


def verifies(post: FormPost, secret: str, now: float) -> bool:
    """Whether Formspree-Signature is ``t=…,v1=`` and the hex HMAC of the time, a dot and the raw body."""
    return verifies_timed(post.headers.get("formspree-signature", ""), "v1", post.body, secret, now)


SIGNATURE = Signature(("formspree-signature",), verifies)


def _fields(submission: dict[str, Any]) -> Iterator[Field]:
    for key, value in submission.items():
        yield Field(key, key, value, labels.is_metadata(key))
