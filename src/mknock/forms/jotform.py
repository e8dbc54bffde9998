"""Jotform: multipart, in which ``rawRequest`` is JSON with the answers.

There is no official page of the shape; it was taken from captured deliveries.
Answers are named ``q{number}_{slug}``, the slug being the first words of the
label; whole labels stand only in ``pretty``, as ``Label:Value, Label:Value``.
Neither signs nor sends headers of one's own: the secret is in the address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload, json_value
from mknock.forms.reading import FILE, Field, read_fields
from mknock.forms.shapes import object_in, text_in
from mknock.forms.text import shown

name = "jotform"

_QUESTION = re.compile(r"q\d+_(.+)", re.DOTALL)
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NAME = frozenset({"prefix", "first", "middle", "last", "suffix"})
_PHONE = frozenset({"country", "area", "phone", "full"})
_LONGEST_PRETTY = 64 * 1024


def recognises(payload: Payload) -> bool:
    data = payload.data
    return bool(text_in(data, "rawRequest") and text_in(data, "formID") and text_in(data, "submissionID"))


def read(payload: Payload, reading: FormReading) -> Submission:
    data = payload.data
    try:
        answers = json_value(data["rawRequest"].encode("utf-8", "replace"))
    except Unreadable:
        answers = None
    if not isinstance(answers, dict):
        raise Unreadable("The rawRequest of this Jotform delivery is not a JSON object.")
    labels = _Labels(text_in(data, "pretty"))
    return read_fields(_fields(answers, labels, reading), reading, name, data["submissionID"])


def _fields(answers: dict[str, Any], labels: _Labels, reading: FormReading) -> Iterator[Field]:
    """Yield what is called like a question; whatever else stands there is Jotform's own."""
    for key, value in answers.items():
        if question := _QUESTION.fullmatch(key):
            answer = _joined(value)
            label = labels.of(shown(answer)) or _WORDS.sub(" ", question[1])
            yield Field(_key(key, question[1], reading), label, answer)
    for key, value in object_in(answers, "temp_upload").items():
        files = value if isinstance(value, list) else [value]
        yield Field(key, _slug(key), [_file_name(one) for one in files], kind=FILE)


def _key(key: str, slug: str, reading: FormReading) -> str:
    """Return the slug, which says what is asked; the whole key if that is what a setting names."""
    return key if key in (reading.id_field, reading.trap_field) else slug


def _slug(key: str) -> str:
    question = _QUESTION.fullmatch(key)
    return question[1] if question else key


def _joined(value: Any) -> Any:
    """Return names and telephone numbers, which come in parts, as one text."""
    if isinstance(value, dict) and value and (value.keys() <= _NAME or value.keys() <= _PHONE):
        return " ".join(part for part in value.values() if isinstance(part, str) and part)
    return value


def _file_name(upload: Any) -> Any:
    return upload.partition("#")[0] if isinstance(upload, str) else upload


class _Labels:
    """Finds the labels in ``pretty``, by the answers that follow them.

    An answer may hold commas and colons (a Matrix ID has one), so the text cannot be
    split on its own; and a label that is not found for sure is none.
    """

    def __init__(self, pretty: str) -> None:
        self._left = pretty[:_LONGEST_PRETTY]

    def of(self, answer: str) -> str:
        """Return the label before this answer, "" if it is not to be found. Ask in the order of the form."""
        if not answer:
            return ""
        label, found, rest = self._left.partition(f":{answer}, ")
        if not found:
            label, found, rest = self._left.removesuffix(f":{answer}"), ":", ""
            if label == self._left:
                return ""
        if ":" in label:
            label = label.rpartition(", ")[2]  # answers were passed over
        self._left = rest
        return "" if ":" in label else label.strip(" ,")
