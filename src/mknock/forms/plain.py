"""Generic JSON: whatever a script, an automation service or an unknown platform sends.

Read are flat objects (``{"matrix_id": …}``), objects in objects
(``{"data": {…}}``), and lists of questions (``[{"label": …, "value": …}]``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import labels, standard_webhooks
from mknock.forms.post import Payload
from mknock.forms.reading import EMAIL, Field, read_fields
from mknock.forms.text import file_name

name = "plain"

_DEEPEST = 4
_EVENT_IDS = ("event_id", "eventId", "submission_id", "submissionId")
"""Not a bare ``id``: it may as well be the form's, the same for everybody."""
_ANSWERS = ("value", "answer")
_TITLES = ("label", "title", "question", "name")
_KEYS = ("key", "ref", "id", "name", "slug")
_TYPES = ("type", "kind")
_ABOUT_A_QUESTION = frozenset(
    {*_ANSWERS, *_TITLES, *_KEYS, *_TYPES, "hidden", "required", "description", "options", "properties"}
)


def recognises(payload: Payload) -> bool:
    return not payload.html


def read(payload: Payload, reading: FormReading) -> Submission:
    data = payload.data
    delivery_id = standard_webhooks.delivery_id(payload.headers)
    if isinstance(data, dict):
        fields = _in_object(data, _DEEPEST, hidden=False)
        return read_fields(fields, reading, name, _event_id(data) or delivery_id)
    if isinstance(data, list) and any(isinstance(item, dict) for item in data):
        return read_fields(_in_list(data, _DEEPEST, hidden=False), reading, name, delivery_id)
    raise Unreadable("The delivery is JSON, but holds no form: send an object of questions and answers.")


def _event_id(data: dict[str, Any]) -> str:
    return _first_text(data, _EVENT_IDS)


def _first_text(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    texts = (item.get(key) for key in keys)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _in_object(data: dict[str, Any], depth: int, *, hidden: bool) -> Iterator[Field]:
    if not data:
        yield Field("", "", None, hidden)  # counts, so that a million empty objects are too many fields
    for key, value in data.items():
        unseen = hidden or labels.is_metadata(key)
        if depth and isinstance(value, dict) and not file_name(value):
            yield from _in_item(value, depth - 1, hidden=unseen, key=key)
        elif depth and isinstance(value, list) and any(_holds_fields(item) for item in value):
            yield from _in_list(value, depth - 1, hidden=unseen)
        else:
            yield Field(key, key, value, unseen)


def _holds_fields(item: Any) -> bool:
    return isinstance(item, dict) and not file_name(item)


def _in_list(items: list[Any], depth: int, *, hidden: bool) -> Iterator[Field]:
    for item in items:
        if not _holds_fields(item):
            continue
        if _is_question(item):
            yield _question(item, hidden=hidden)
        else:
            yield from _in_object(item, depth, hidden=hidden)


def _in_item(item: dict[str, Any], depth: int, *, hidden: bool, key: str) -> Iterator[Field]:
    """Read an object below a key: ``{key: {"name": …, "value": …}}`` is one question, others hold several."""
    if _is_question(item) and item.keys() <= _ABOUT_A_QUESTION:
        yield _question(item, hidden=hidden, key=key)
    else:
        yield from _in_object(item, depth, hidden=hidden)


def _is_question(item: dict[str, Any]) -> bool:
    return any(key in item for key in _ANSWERS) and bool(_first_text(item, (*_TITLES, *_KEYS)))


def _question(item: dict[str, Any], *, hidden: bool, key: str = "") -> Field:
    key = _first_text(item, _KEYS) or key
    label = _first_text(item, _TITLES) or key
    kind = _first_text(item, _TYPES).lower()
    unseen = hidden or "hidden" in kind or item.get("hidden") is True or labels.is_metadata(label)
    value = next(item[answer] for answer in _ANSWERS if answer in item)
    return Field(key, label, value, unseen, EMAIL if "email" in kind else kind)
