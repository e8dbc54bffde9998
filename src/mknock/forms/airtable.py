"""Airtable: a webhook made by its API only rings; what has changed would have to be fetched.

A script of an Airtable automation sends whatever it likes, which ``plain`` reads.
"""

from __future__ import annotations

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms.post import Payload
from mknock.forms.shapes import object_in, text_in

name = "airtable"

NO_ANSWERS = (
    "Airtable's API webhooks do not send the answers, so Knock cannot know who asks to come in: "
    'use an automation with the action "Run script" that posts them.'
)


def recognises(payload: Payload) -> bool:
    base, webhook = (text_in(object_in(payload.data, key), "id") for key in ("base", "webhook"))
    return base.startswith("app") and webhook.startswith("ach")


def read(payload: Payload, reading: FormReading) -> Submission:  # noqa: ARG001 - as every platform's
    raise Unreadable(NO_ANSWERS)
