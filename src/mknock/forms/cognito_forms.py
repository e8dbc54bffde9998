"""Cognito Forms: https://www.cognitoforms.com/support/66.

The answers stand on the top level, called by their labels without blanks; beside them the form and
the entry, with links that open it for editing. The shape is not documented in full and partly a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.post import Payload
from mknock.forms.reading import Field, read_fields
from mknock.forms.shapes import is_object_in, object_in, text_in

name = "cognito_forms"

_OF_ITS_OWN = frozenset({"Form", "Entry", "Id"})


def recognises(payload: Payload) -> bool:
    return bool(text_in(object_in(payload.data, "Form"), "InternalName")) and is_object_in(
        payload.data, "Entry"
    )


def read(payload: Payload, reading: FormReading) -> Submission:
    return read_fields(_fields(payload.data), reading, name, payload.data.get("Id"))


def _fields(data: dict[str, Any]) -> Iterator[Field]:
    for key, value in data.items():
        if key not in _OF_ITS_OWN:
            yield Field(key, key, value, labels.is_metadata(key))
