"""What the files of the first mknock hold: bytes in, records out. Nothing is read or kept here.

Their shapes are known from what it was seen to write; whatever else they may
hold is passed over. A line or an entry that makes no sense is left out and
counted, so that the rest comes along; a file that is no such file at all is Damaged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MatrixID

T = TypeVar("T")

_TOKEN_NAMES = ("access_token", "matrix_access_token", "MATRIX_ACCESS_TOKEN", "matrix_token")
_USER_NAMES = ("user_id", "matrix_user_id", "MATRIX_USER_ID")
_DEVICE_NAMES = ("device_id", "matrix_device_id", "MATRIX_DEVICE_ID")
_TOKEN = re.compile(r"[!-~]+")
_MILLISECONDS = 1e11
"""No time of this kind in seconds is as large (it would be the year 5138): a larger one is in milliseconds."""


class Damaged(Exception):
    """A file is not what its name says. The text goes on a sentence that begins with that name."""


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """What a file lists, and the numbers (from 1) of the lines or entries that were left out."""

    found: tuple[T, ...]
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PendingInvite:
    """Somebody who was invited. ``invited_at`` is None when the file does not tell when."""

    user: MatrixID
    invited_at: float | None


@dataclass(frozen=True, slots=True)
class OldSession:
    """An access token, and whose it is ("" where the file does not tell)."""

    access_token: str = field(repr=False)
    user_id: str = ""
    device_id: str = ""


# --- pending_invites.json ------------------------------------------------------------------------


def pending_invites(data: bytes) -> Listed[PendingInvite]:
    """Read an object of invites by Matrix ID.

    Raises:
        Damaged: it breaks off (the first mknock rewrote the whole file for each knock), or is no such object.
    """
    return _each(enumerate(_object(data).items(), 1), lambda entry: _pending_invite(*entry))


def _pending_invite(user_id: str, about: Any) -> PendingInvite:
    if not isinstance(about, dict):
        raise ValueError("this entry is no object")  # noqa: TRY004 - of all that may be wrong, one kind of error
    return PendingInvite(MatrixID.of(user_id), time_in(about.get("invite_time")))


def time_in(value: Any) -> float | None:
    """Seconds since the epoch from a number of seconds or milliseconds, or ISO 8601 (UTC unless it says).

    None for anything that is no time after 1970.
    """
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("no time")  # noqa: TRY004 - as above
    if isinstance(value, str) and not re.fullmatch(r"\s*[0-9.]+\s*", value):
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    number = float(value)
    return number / 1000 if number > _MILLISECONDS else number


# --- tokens.json ---------------------------------------------------------------------------------


def old_session(data: bytes) -> OldSession | None:
    """Find the Matrix access token, under any name it may have, at the top or one level below; or None.

    Raises:
        Damaged: it breaks off, or is no object.
    """
    tokens = _object(data)
    for level in (tokens, *(inner for inner in tokens.values() if isinstance(inner, dict))):
        token = _first(level, _TOKEN_NAMES)
        if _TOKEN.fullmatch(token):
            user_id, device_id = (_first(level, names) for names in (_USER_NAMES, _DEVICE_NAMES))
            return OldSession(token, user_id, device_id)
    return None


def _first(level: Mapping[str, Any], names: Iterable[str]) -> str:
    texts = (level.get(name) for name in names)
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), "")


# --- all of them ---------------------------------------------------------------------------------


def _each(entries: Iterable[tuple[int, Any]], read: Callable[[Any], T]) -> Listed[T]:
    found: list[T] = []
    left_out: list[int] = []
    for number, entry in entries:
        try:
            found.append(read(entry))
        except (InvalidMatrixID, ValueError):
            left_out.append(number)
    return Listed(tuple(found), tuple(left_out))


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise Damaged("holds bytes that are no text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Damaged("is not UTF-8 text") from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(_text(data))
    except (ValueError, RecursionError) as error:
        raise Damaged("breaks off or is not JSON" if data.strip() else "is empty") from error
    if not isinstance(value, dict):
        raise Damaged("is JSON, but not an object")
    return value
