"""Text from strangers, made fit to be stored and shown.

PostgreSQL stores no NUL and SQLite no lone surrogate; control and bidi
characters let an answer pretend to be something else in a terminal or a list.
All of them go. Line breaks stay in longer answers, as ``\\n`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNFIT = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
_MOST_ITEMS = 50
_MOST_LOOKED_AT = 1000
_DEEPEST = 3


def clean(text: str, longest: int) -> str:
    """Return the text without what cannot be stored or would deceive, at most ``longest`` characters."""
    if len(text) > 2 * longest:
        text = text[: 2 * longest]
    if not text.isprintable():
        text = _UNFIT.sub("", _BREAKS.sub("\n", text).replace("\t", " "))
    text = text.strip()
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def one_line(text: str, longest: int) -> str:
    """Return the text cleaned and on a single line."""
    return " ".join(clean(text, longest).split())


def shown(value: Any, depth: int = _DEEPEST) -> str:
    """Return any JSON value as a person would write it: yes, no, ``a, b``, ``row: a; row: b``, a file's name.

    Nothing of it is cleaned yet. Long lists and deep nesting end in ``…``.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return _shown_many(value, depth - 1) if value else ""
    return str(value)


def _shown_many(value: list[Any] | dict[str, Any], depth: int) -> str:
    if depth < 0:
        return "…"
    if isinstance(value, dict):
        return file_name(value) or "; ".join(_capped(_pairs(value, depth)))
    if len(value) == 1:
        return shown(value[0], depth)
    return ", ".join(_capped(text for item in value[:_MOST_LOOKED_AT] if (text := shown(item, depth))))


def _pairs(value: dict[str, Any], depth: int) -> Iterator[str]:
    items = islice(value.items(), _MOST_LOOKED_AT)
    return (f"{key}: {text}" for key, item in items if (text := shown(item, depth)))


def _capped(texts: Iterator[str]) -> Iterator[str]:
    yield from islice(texts, _MOST_ITEMS)
    if next(texts, None) is not None:
        yield "…"


def file_name(value: Any) -> str:
    """Return the name of an uploaded file, "" when the value is none."""
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        return ""
    name = value.get("name", value.get("filename"))
    return name if isinstance(name, str) else ""


def filled(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether somebody wrote or ticked something: any number counts, blanks and False do not."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list | dict):
        items = value.values() if isinstance(value, dict) else value
        return bool(value) and (depth <= 0 or any(filled(item, depth - 1) for item in items))
    return value is not None and value is not False
