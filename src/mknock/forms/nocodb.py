"""NocoDB: a form view makes a record, and a hook tells of it: https://nocodb.com/docs.

Its own pages call the records ``rows`` and ``records``. Hooks also tell of changed and deleted records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo, Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import labels
from mknock.forms.post import Payload
from mknock.forms.reading import Field, read_fields
from mknock.forms.shapes import object_in, objects_in, text_in

name = "nocodb"

_INSERTED = "records.after.insert"


def recognises(payload: Payload) -> bool:
    kind = text_in(payload.data, "type")
    return kind.startswith("records.") and bool(text_in(object_in(payload.data, "data"), "table_id"))


def read(payload: Payload, reading: FormReading) -> Submission:
    event = payload.data
    if event["type"] != _INSERTED:
        raise NothingToDo(f"This NocoDB hook is not about one new record; Knock acts on {_INSERTED} only.")
    records = objects_in(event["data"], "rows") or objects_in(event["data"], "records")
    if len(records) != 1:
        raise Unreadable(f"This NocoDB hook holds {len(records)} records; Knock takes one person at a time.")
    return read_fields(_fields(records[0]), reading, name, event.get("id"))


def _fields(record: dict[str, Any]) -> Iterator[Field]:
    for title, value in record.items():
        yield Field(title, title, value, labels.is_metadata(title))
