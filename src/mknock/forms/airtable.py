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
    webhook, base = object_in(payload.data, "webhook"), object_in(payload.data, "base")
    return text_in(webhook, "id").startswith("ach") and text_in(base, "id").startswith("app")


def read(payload: Payload, reading: FormReading) -> Submission:  # noqa: ARG001 - as every platform's
    raise Unreadable(NO_ANSWERS)
