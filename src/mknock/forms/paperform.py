"""Paperform: https://paperform.co/help/articles/how-to-use-webhooks/.

Neither signs nor sends headers of one's own: the secret is in the address. A submission that
is not finished has no id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_list_in, objects_in, text_in

name = "paperform"

_KINDS = {
    "email": EMAIL,
    "file": FILE,
    "image": FILE,
    "signature": FILE,
    "choices": CHOICE,
    "dropdown": CHOICE,
}
_OF_A_QUESTION = frozenset({"title", "key", "custom_key"})


def recognises(payload: Payload) -> bool:
    if not is_list_in(payload.data, "data") or "submission_id" not in payload.data:
        return False
    items = objects_in(payload.data, "data")
    return bool(items) and all(item.keys() >= _OF_A_QUESTION for item in items)


def read(payload: Payload, reading: FormReading) -> Submission:
    data, number = payload.data, text_in(payload.data, "submission_id")
    if not number or "partial" in text_in(data, "trigger").lower():
        raise NothingToDo("This Paperform submission is not finished; Knock waits for the finished one.")
    return read_fields(_fields(objects_in(data, "data"), reading), reading, name, number)


def _fields(items: list[dict[str, Any]], reading: FormReading) -> Iterator[Field]:
    for item in items:
        kind = text_in(item, "type").lower()
        label = text_in(item, "title") or text_in(item, "description")
        yield Field(_key(item, reading), label, item.get("value"), kind == "hidden", _KINDS.get(kind, kind))


def _key(item: dict[str, Any], reading: FormReading) -> str:
    """Return the key that the owner chose, else Paperform's; that one too if a setting names it."""
    key = text_in(item, "key")
    if key and key in (reading.id_field, reading.trap_field):
        return key
    return text_in(item, "custom_key") or key
