"""Nextcloud Forms: its webhook tells that a form was sent, and not what was answered.

https://github.com/nextcloud/forms; the answers would have to be fetched, and Knock calls
nobody whom its owner did not name.
"""

from __future__ import annotations

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.shapes import object_in, text_in

name = "nextcloud_forms"

_EVENT = "OCA\\Forms\\Events\\FormSubmittedEvent"
NO_ANSWERS = (
    "Nextcloud Forms does not send the answers with its webhook, so Knock cannot know who asks to come in: "
    "use another form, or a script that fetches the answers and posts them."
)


def recognises(payload: Payload) -> bool:
    return text_in(object_in(payload.data, "event"), "class") == _EVENT


def read(payload: Payload, reading: FormReading) -> Submission:  # noqa: ARG001 - as every platform's
    raise Unreadable(NO_ANSWERS)
