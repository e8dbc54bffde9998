"""What arrived, and its payload: bytes become a JSON value or named texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from mknock.domain.errors import Unreadable
from mknock.forms import multipart

MOST_FIELDS = multipart.MOST_FIELDS
_BOM = b"\xef\xbb\xbf"
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class FormPost:
    """A delivery as it came over the wire. Header names are in lower case; ``body`` is what was signed."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payload:
    """A delivery decoded: any JSON value, or for an HTML form each name with its text or texts.

    ``html`` says that it came as browsers send it; ``headers`` are those of the delivery.
    """

    data: Any
    html: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


def wants_page(post: FormPost) -> bool:
    """Whether a browser sent this and shows a page to a person; holds for unreadable deliveries too."""
    return _media_type(post) in (_URLENCODED, _MULTIPART) and not _starts_as_json(post.body)


def decode(post: FormPost) -> Payload:
    """Return what the body says.

    JSON is recognised by its first character as well, since some platforms send
    it without a Content-Type (Nextcloud) or as text/plain (Contact Form 7).

    Raises:
        Unreadable: the body is empty, malformed, or neither JSON nor an HTML form.
    """
    media_type = _media_type(post)
    if _starts_as_json(post.body) or _is_json(media_type):
        return Payload(json_value(post.body), headers=post.headers)
    if media_type == _URLENCODED:
        return Payload(_gathered(_urlencoded(post.body)), True, post.headers)
    if media_type == _MULTIPART:
        parts = multipart.parse(post.body, post.headers["content-type"])
        return Payload(_gathered(parts), True, post.headers)
    if not post.body.strip():
        raise Unreadable("The delivery is empty.")
    raise Unreadable("The delivery is neither JSON nor an HTML form.")


def _media_type(post: FormPost) -> str:
    return post.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _starts_as_json(body: bytes) -> bool:
    start = body[:1]
    if start not in b"{[":
        start = body.removeprefix(_BOM).lstrip(b" \t\r\n")[:1]
    return start in (b"{", b"[")


def _no_such_number(token: str) -> NoReturn:
    raise ValueError(token)


_DECODER = json.JSONDecoder(parse_constant=_no_such_number)


def json_value(body: bytes) -> Any:
    """Read JSON; NaN, numbers of 5,000 digits and nesting bombs are as unreadable as a typo."""
    try:
        return _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unreadable("The delivery is not valid JSON.") from error


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    text = body.removeprefix(_BOM).decode("utf-8", "replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Unreadable(f"The form has more than {MOST_FIELDS} fields.") from error


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return each name with its text, or with all of them when the name repeats."""
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    return {name: found[0] if len(found) == 1 else found for name, found in texts.items()}
