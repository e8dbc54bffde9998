"""Formbricks: https://formbricks.com/docs (xm-and-surveys/core-features/integrations/webhooks).

It tells of a response when it is begun, changed and finished; only the finished
one counts, however often it is told. Its keys are the questions' ids, there are no
labels: the owner gives the question the id ``matrix_id``. Hidden fields stand
beside the answers and can be told only by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo, Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import labels, standard_webhooks
from mknock.forms.platforms import Signature
from mknock.forms.post import Payload
from mknock.forms.reading import Field, read_fields
from mknock.forms.shapes import is_object_in, object_in, text_in

name = "formbricks"

_EVENTS = frozenset({"responseCreated", "responseUpdated", "responseFinished"})
_TEST = "testEndpoint"

SIGNATURE = Signature(("webhook-signature",), standard_webhooks.verifies)


def recognises(payload: Payload) -> bool:
    event = text_in(payload.data, "event")
    return event == _TEST or (
        event in _EVENTS and bool(text_in(payload.data, "webhookId")) and is_object_in(payload.data, "data")
    )


def read(payload: Payload, reading: FormReading) -> Submission:
    event = payload.data["event"]
    if event == _TEST:
        raise NothingToDo("This is the test of the endpoint by Formbricks: it has arrived, all is well.")
    response = payload.data["data"]
    if event != "responseFinished" and response.get("finished") is not True:
        raise NothingToDo("This Formbricks response is not finished; Knock waits for the finished one.")
    if not is_object_in(response, "data"):
        raise Unreadable("This Formbricks response holds no answers.")
    event_id = text_in(response, "id") or standard_webhooks.delivery_id(payload.headers)
    return read_fields(_fields(object_in(response, "data")), reading, name, event_id)


def _fields(answers: dict[str, Any]) -> Iterator[Field]:
    for key, value in answers.items():
        yield Field(key, key, value, labels.is_metadata(key))
