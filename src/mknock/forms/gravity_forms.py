"""Gravity Forms' Webhooks add-on with "All Fields": https://docs.gravityforms.com/entry-object/.

Its answers are called by the number of their field and have no label, so the owner
says which one is the Matrix ID. Parts of a field (``4.1``, ``4.2``) are one answer. With
"Select Fields" the owner names them, and the generic readers read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.reading import Field, read_fields
from mknock.forms.shapes import text_in

name = "gravity_forms"

_OF_AN_ENTRY = ("date_created", "source_url")
_FIELD = re.compile(r"([0-9]{1,6})(?:\.[0-9]{1,6})?")


def recognises(payload: Payload) -> bool:
    data = payload.data
    return isinstance(data, dict) and "form_id" in data and all(text_in(data, key) for key in _OF_AN_ENTRY)


def read(payload: Payload, reading: FormReading) -> Submission:
    entry = payload.data
    return read_fields(_fields(entry), reading, name, _number(entry.get("id")), text_in(entry, "ip"))


def _number(value: Any) -> Any:
    """Return a whole number as text, which an entry's id may be or not."""
    return str(value) if type(value) is int else value


def _fields(entry: dict[str, Any]) -> Iterator[Field]:
    parts: dict[str, list[Any]] = {}
    for key, value in entry.items():
        if (field := _FIELD.fullmatch(key)) and value:
            parts.setdefault(field[1], []).append(value)
    for number, values in parts.items():
        yield Field(number, f"Field {number}", values[0] if len(values) == 1 else values)
