"""Tally: https://tally.so/help/webhooks.

Choices come as option ids with the texts beside them. CHECKBOXES come twice:
as a list, and as one boolean field for each option, whose key is the
list's key, an underscore and the option's id. A label may be null, and so may
the value of any question that was not answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms.platforms import Signature
from mknock.forms.post import FormPost, Payload
from mknock.forms.reading import CHOICE, EMAIL, FILE, Field, read_fields
from mknock.forms.signatures import base64_mac, same
from mknock.forms.text import file_name

name = "tally"

_SUBMITTED = "FORM_RESPONSE"
_HIDDEN = frozenset({"HIDDEN_FIELDS", "CALCULATED_FIELDS"})
_KINDS: Mapping[str, str] = {
    "INPUT_EMAIL": EMAIL,
    "FILE_UPLOAD": FILE,
    "SIGNATURE": FILE,
    "MULTIPLE_CHOICE": CHOICE,
    "CHECKBOXES": CHOICE,
    "DROPDOWN": CHOICE,
    "MULTI_SELECT": CHOICE,
    "RANKING": CHOICE,
    "MATRIX": CHOICE,
}


def recognises(payload: Payload) -> bool:
    """Whether it is a Tally event; one that is no submission too, so that ``read`` can say so."""
    event = payload.data
    if payload.html or not isinstance(event, dict) or not isinstance(event.get("eventType"), str):
        return False
    data = event.get("data")
    return isinstance(data, dict) and isinstance(data.get("fields"), list)


def read(payload: Payload, reading: FormReading) -> Submission:
    event = payload.data
    if event["eventType"] != _SUBMITTED:
        raise Unreadable(f"This Tally event is not a submitted form; only {_SUBMITTED} events are.")
    items = [item for item in event["data"]["fields"] if isinstance(item, dict)]
    return read_fields(_fields(items), reading, name, event.get("eventId"))


def verifies(post: FormPost, secret: str, now: float) -> bool:  # noqa: ARG001 - its signature holds no time
    """Whether Tally-Signature is the base64 HMAC of the raw body."""
    given = post.headers.get("tally-signature", "").strip()
    return bool(secret and given) and same(given, base64_mac(secret, post.body))


SIGNATURE = Signature(("tally-signature",), verifies)


def _fields(items: list[dict[str, Any]]) -> Iterator[Field]:
    lists = {_text(item, "key") for item in items if _is_list_of_checkboxes(item)}
    for item in items:
        key, kind, value = _text(item, "key"), _text(item, "type"), item.get("value")
        if isinstance(value, bool) and key.rpartition("_")[0] in lists:
            continue  # an option of a list that is read as a whole
        answer = _readable(value, item) if value else value
        yield Field(key, _text(item, "label"), answer, kind in _HIDDEN, _KINDS.get(kind, kind))


def _is_list_of_checkboxes(item: dict[str, Any]) -> bool:
    return item.get("type") == "CHECKBOXES" and not isinstance(item.get("value"), bool)


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _readable(value: Any, item: dict[str, Any]) -> Any:
    """Return the answer with option ids replaced by what the person chose from, and files by their names."""
    if isinstance(value, list):
        texts = _texts_by_id(item, "options")
        return [file_name(one) or _chosen(one, texts) for one in value]
    if isinstance(value, dict):
        return file_name(value) or _grid(value, item)
    return _chosen(value, _texts_by_id(item, "options"))


def _grid(value: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of a grid (type MATRIX): row texts with the column texts ticked in them."""
    rows, columns = _texts_by_id(item, "rows"), _texts_by_id(item, "columns")
    return {
        rows.get(row, row): [_chosen(one, columns) for one in ticked] if isinstance(ticked, list) else ticked
        for row, ticked in value.items()
    }


def _chosen(value: Any, texts: Mapping[str, str]) -> Any:
    return texts.get(value, value) if isinstance(value, str) else value


def _texts_by_id(item: dict[str, Any], key: str) -> dict[str, str]:
    options = item.get(key)
    if not isinstance(options, list):
        return {}
    return {_text(one, "id"): _text(one, "text") for one in options if isinstance(one, dict)}
