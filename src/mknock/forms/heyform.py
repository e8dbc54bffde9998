"""HeyForm: https://github.com/heyform/heyform.

Choices come as ids, their texts are among the properties of the question. Neither
signs nor sends headers of one's own: the secret is in the address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_list_in, object_in, objects_in, text_in
from mknock.forms.text import file_name

name = "heyform"

_KINDS = {"email": EMAIL, "file_upload": FILE, "signature": FILE}
_NAME = ("firstName", "lastName")


def recognises(payload: Payload) -> bool:
    data = payload.data
    return (
        is_list_in(data, "answers")
        and is_list_in(data, "fields")
        and bool(text_in(data, "formId"))
        and all(text_in(answer, "kind") for answer in data["answers"])
    )


def read(payload: Payload, reading: FormReading) -> Submission:
    return read_fields(_fields(payload.data), reading, name, payload.data.get("id"))


def _fields(data: dict[str, Any]) -> Iterator[Field]:
    for answer in objects_in(data, "answers"):
        kind, value = text_in(answer, "kind"), answer.get("value")
        chosen = isinstance(value, dict) and isinstance(value.get("value"), list)
        kind = CHOICE if chosen else _KINDS.get(kind, kind)
        yield Field(text_in(answer, "id"), text_in(answer, "title"), _readable(value, answer), kind=kind)
    for item in objects_in(data, "hiddenFields"):
        yield Field(text_in(item, "id"), text_in(item, "name"), item.get("value"), hidden=True)


def _readable(value: Any, answer: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("value"), list):
        return _chosen(value, answer)
    if value.keys() == set(_NAME):
        return " ".join(filter(None, (text_in(value, part) for part in _NAME)))
    return file_name(value) or value


def _chosen(value: dict[str, Any], answer: dict[str, Any]) -> list[Any]:
    choices = objects_in(object_in(answer, "properties"), "choices")
    labels = {text_in(choice, "id"): text_in(choice, "label") for choice in choices}
    chosen = [labels.get(one, one) if isinstance(one, str) else one for one in value["value"]]
    return [*chosen, *filter(None, [text_in(value, "other")])]
