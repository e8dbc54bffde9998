"""Fillout: https://www.fillout.com/help/api-reference.

Two shapes: a webhook made by the API sends a submission as it is, one made in the
editor wraps it. Nothing is documented about signatures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_list_in, object_in, objects_in, text_in

name = "fillout"

_KINDS = {
    "EmailInput": EMAIL,
    "FileUpload": FILE,
    "Signature": FILE,
    "Checkboxes": CHOICE,
    "Dropdown": CHOICE,
    "ImagePicker": CHOICE,
    "Matrix": CHOICE,
    "MultipleChoice": CHOICE,
    "MultiSelect": CHOICE,
    "Ranking": CHOICE,
}


def recognises(payload: Payload) -> bool:
    if is_list_in(payload.data, "questions"):
        return bool(text_in(payload.data, "submissionId"))
    return is_list_in(object_in(payload.data, "submission"), "questions")


def read(payload: Payload, reading: FormReading) -> Submission:
    submission = payload.data if is_list_in(payload.data, "questions") else payload.data["submission"]
    return read_fields(_fields(submission), reading, name, submission.get("submissionId"))


def _fields(submission: dict[str, Any]) -> Iterator[Field]:
    for item in objects_in(submission, "questions"):
        kind = text_in(item, "type")
        yield Field(
            text_in(item, "id"), text_in(item, "name"), item.get("value"), kind=_KINDS.get(kind, kind)
        )
    for item in objects_in(submission, "urlParameters"):
        yield Field(text_in(item, "id"), text_in(item, "name"), item.get("value"), hidden=True)
