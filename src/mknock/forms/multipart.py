"""multipart/form-data (RFC 7578), read from memory within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from mknock.domain.errors import Unreadable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # which exists for type checkers only

MOST_FIELDS = 1000
_LONGEST_CONTENT_TYPE = 1000
_MOST_PARAMETERS = 20
"""Of one header; a file name may hold semicolons. The parser is slow with many."""


def parse(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Yield each named part as (name, text), in order; of a file only its name.

    Raises:
        Unreadable: it has no boundary, more than 1,000 parts, oversized
            headers, or breaks off before its end.
    """
    parts = _Parts()
    boundary = _boundary(content_type)
    if body.count(b"--" + boundary) > MOST_FIELDS + 1:
        raise Unreadable(f"The form has more than {MOST_FIELDS} fields.")
    try:
        MultipartParser(boundary, parts.callbacks()).write(body)
    except FormParserError as error:
        raise Unreadable(f"The multipart form is malformed: {error}.") from error
    if not parts.complete:
        raise Unreadable("The multipart form breaks off before its end.")
    return iter(parts.found)


def _boundary(content_type: str) -> bytes:
    try:
        _, options = parse_options_header(content_type[:_LONGEST_CONTENT_TYPE])
    except UnicodeEncodeError:
        options = {}
    boundary = options.get(b"boundary")
    if not boundary:
        raise Unreadable("The multipart form names no boundary in its Content-Type.")
    return boundary


class _Parts:
    """Collects what the parser calls back with."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.complete = False
        self._begin()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._options: dict[bytes, bytes] = {}
        self._text = bytearray()
        self._header_begin()

    def _header_begin(self) -> None:
        self._header = bytearray()
        self._value = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            if self._value.count(b";") > _MOST_PARAMETERS:
                raise Unreadable("The multipart form is malformed: a header has too many parameters.")
            _, self._options = parse_options_header(bytes(self._value))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if b"filename" not in self._options:
            self._text += data[start:end]

    def _end(self) -> None:
        name = self._options.get(b"name")
        if name is not None:
            text = self._options.get(b"filename", self._text)
            self.found.append((name.decode("utf-8", "replace"), text.decode("utf-8", "replace")))

    def _complete(self) -> None:
        self.complete = True
