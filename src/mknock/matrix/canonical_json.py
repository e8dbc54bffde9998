"""Canonical JSON: the one byte sequence of a JSON value, which is what signatures are made of.

https://spec.matrix.org/v1.18/appendices/#canonical-json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

LARGEST: Final = 2**53 - 1
"""The largest whole number, in either direction."""


def canonical(value: Any) -> bytes:
    """Return the value's canonical JSON.

    Raises:
        ValueError: the value has none, as it holds a fraction, a number that
            is too large, half a surrogate pair or something else than JSON has.
    """
    try:
        _check(value)
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    return text.encode()


def signable(signed: Mapping[str, Any]) -> bytes:
    """Return the part of a JSON object that its signatures are about. Raises ValueError as ``canonical``."""
    return canonical({key: value for key, value in signed.items() if key not in ("signatures", "unsigned")})


def _check(value: Any) -> None:
    match value:
        case None | bool() | str():
            pass
        case int():
            if abs(value) > LARGEST:
                raise ValueError("the number is too large")
        case dict():
            for key, inner in value.items():
                _check_key(key)
                _check(inner)
        case list():
            for inner in value:
                _check(inner)
        case _:
            raise ValueError(f"canonical JSON has no {type(value).__name__}")


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise ValueError("a key is not text")  # noqa: TRY004 - one kind of error for all that has no canonical JSON
