"""Typeform: https://www.typeform.com/developers/webhooks/.

Answers name their question by its id and reference; the titles are in the
definition beside them. A question that was not answered is absent
from the answers. Choices come as texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo, Unreadable
from mknock.domain.knocks import Submission
from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost, Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.shapes import is_object_in, name_in_address, object_in, objects_in, text_in
from mknock.forms.signatures import base64_mac, same

name = "typeform"

_SUBMITTED = "form_response"
_KINDS = {"email": EMAIL, "choice": CHOICE, "choices": CHOICE, "file_url": FILE}
_RECALLED = re.compile(r"\{\{[^{}]*\}\}")
"""Where a title repeats an earlier answer."""


def recognises(payload: Payload) -> bool:
    return bool(text_in(payload.data, "event_type")) and is_object_in(payload.data, "form_response")


def read(payload: Payload, reading: FormReading) -> Submission:
    event = payload.data
    if event["event_type"] == "form_response_partial":
        raise NothingToDo("This Typeform response is not finished; Knock waits for the finished one.")
    if event["event_type"] != _SUBMITTED:
        raise Unreadable(f"This Typeform event is not a submitted form; only {_SUBMITTED} events are.")
    response = event["form_response"]
    event_id = event.get("event_id") or response.get("token")
    return read_fields(_fields(response, reading), reading, name, event_id)


def verifies(post: FormPost, secret: str, now: float) -> bool:  # noqa: ARG001 - its signature holds no time
    """Whether Typeform-Signature is ``sha256=`` and the base64 HMAC of the raw body."""
    given = post.headers.get("typeform-signature", "").strip()
    return bool(secret and given) and same(given, "sha256=" + base64_mac(secret, post.body))


SIGNATURE = Signature(("typeform-signature",), verifies)


def _fields(response: dict[str, Any], reading: FormReading) -> Iterator[Field]:
    answers = {text_in(object_in(one, "field"), "id"): one for one in objects_in(response, "answers")}
    questions = {text_in(one, "id"): one for one in objects_in(object_in(response, "definition"), "fields")}
    for number in dict.fromkeys([*questions, *answers]):
        answer, question = answers.get(number, {}), questions.get(number, {})
        kind = text_in(answer, "type")
        key = _key(number, question, answer, reading)
        yield Field(key, _title(question), _value(answer, kind), kind=_KINDS.get(kind, kind))
    for key, value in object_in(response, "hidden").items():
        yield Field(key, key, value, hidden=True)


def _key(number: str, question: dict[str, Any], answer: dict[str, Any], reading: FormReading) -> str:
    """Return the question's reference, which its owner may choose; its id if that is what a setting names."""
    if number and number in (reading.id_field, reading.trap_field):
        return number
    return text_in(object_in(answer, "field"), "ref") or text_in(question, "ref") or number


def _title(question: dict[str, Any]) -> str:
    return _RECALLED.sub("…", text_in(question, "title")[:1000])


def _value(answer: dict[str, Any], kind: str) -> Any:
    value = answer.get(kind)
    if kind == "choice" and isinstance(value, dict):
        return text_in(value, "label") or value.get("other")
    if kind == "choices" and isinstance(value, dict):
        labels = value.get("labels")
        return [*(labels if isinstance(labels, list) else []), *filter(None, [text_in(value, "other")])]
    return name_in_address(value) if kind == "file_url" else value
