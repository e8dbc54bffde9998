"""Google Forms, which send nothing themselves: a script of the owner's does, in one of two shapes.

A script in the form (docs/how-to/connect-google-forms.md has ours) sends ``answers``: a list of
questions, or texts by title. One in the sheet usually sends ``namedValues`` as Google hands them
over, wrapped or bare: each column's title with a list of texts
(https://developers.google.com/apps-script/guides/triggers/events). Columns have no id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.post import Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_list_in, is_object_in, objects_in, text_in

name = "google_forms"

_KINDS = {
    "EMAIL": EMAIL,
    "FILE_UPLOAD": FILE,
    "CHECKBOX": CHOICE,
    "CHECKBOX_GRID": CHOICE,
    "GRID": CHOICE,
    "LIST": CHOICE,
    "MULTIPLE_CHOICE": CHOICE,
    "SCALE": CHOICE,
}
"""The names of FormApp.ItemType; EMAIL is our script's own."""


def recognises(payload: Payload) -> bool:
    data = payload.data
    if is_list_in(data, "answers") or is_object_in(data, "answers"):
        return text_in(data, "provider") == name or all(
            text_in(data, key) for key in ("formId", "responseId")
        )
    return not payload.html and (_are_named_values(data) or is_object_in(data, "namedValues"))


def _are_named_values(data: Any) -> bool:
    return isinstance(data, dict) and "Timestamp" in data and all(map(_are_texts, data.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def read(payload: Payload, reading: FormReading) -> Submission:
    data = payload.data
    if is_list_in(data, "answers"):
        fields = _asked(objects_in(data, "answers"))
    else:
        fields = _named(
            next((data[key] for key in ("answers", "namedValues") if is_object_in(data, key)), data)
        )
    return read_fields(fields, reading, name, data.get("responseId"))


def _asked(items: list[dict[str, Any]]) -> Iterator[Field]:
    for item in items:
        kind = text_in(item, "type")
        yield Field(
            text_in(item, "id"), text_in(item, "title"), item.get("value"), kind=_KINDS.get(kind, kind)
        )


def _named(values: dict[str, Any]) -> Iterator[Field]:
    for title, value in values.items():
        yield Field(title, title, value, labels.is_metadata(title))
