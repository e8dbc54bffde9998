"""A plain HTML form, posted by a browser (or by a plugin that posts like one).

Names repeat for questions with several answers. There is no event id.
"""

from __future__ import annotations

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.post import Payload
from mknock.forms.reading import Field, read_fields

name = "html_form"


def recognises(payload: Payload) -> bool:
    return payload.html


def read(payload: Payload, reading: FormReading) -> Submission:
    fields = (Field(key, key, value, labels.is_metadata(key)) for key, value in payload.data.items())
    return read_fields(fields, reading, name)
