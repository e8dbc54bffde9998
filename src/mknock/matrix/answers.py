"""What an answer of the homeserver means: JSON, or one of the HomeserverErrors.

Everything here is untrusted input. Only a body with a Matrix ``errcode`` is the
homeserver's own word; an error page without one comes from something in
front of it and is never taken for a "no" (promise 7). No error text repeats
what the homeserver wrote, since that may hold a room ID (promise 5).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, Refused, TokenRefused

DEFAULT_WAIT: Final = 1.0
"""Seconds to wait when a 429 does not say how long."""
LONGEST_WAIT: Final = 3600.0
"""Seconds; no homeserver can silence Knock for longer with one answer."""

STALE_TOKEN: Final = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"})
STOPPED_ACCOUNT: Final = {"M_USER_LOCKED": "locked", "M_USER_SUSPENDED": "suspended"}
# The usual statuses of a proxy that cannot reach the server behind it; the last four are Cloudflare's.
OUT_OF_REACH: Final = frozenset({502, 503, 504, 521, 522, 523, 530})

_CODE = re.compile(r"[A-Z][A-Z0-9_.]{0,63}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""Maybe half a surrogate pair, which JSON can hold and UTF-8 cannot; whole pairs begin alike."""
_UNREADABLE: Final = object()


class StaleToken(TokenRefused):
    """The token was refused as such: signing in again may help."""


class NotUnderstood(HomeserverUnavailable):
    """A success that cannot be read, or is too large: asking the same again would bring the same."""

    def __init__(self, message: str) -> None:
        super().__init__(message, everywhere=False)


class ProofWanted(HomeserverUnavailable):
    """The homeserver does this only for somebody who proves who they are (user-interactive authentication).

    ``session`` is to be given back with the proof.
    """

    def __init__(self, message: str, *, session: str) -> None:
        super().__init__(message, everywhere=False)
        self.session = session


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came: its status, its body and its header lines."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()

    def header(self, name: str) -> str:
        """The header's value, or "" without one; whatever bytes it has, it is text."""
        wanted = name.lower().encode("ascii")
        values = [value for line, value in self.headers if line.lower() == wanted]
        return values[0].decode("latin-1") if values else ""


def judge(answer: Answer, what: str, now: float) -> Any:
    """Return the JSON of a success.

    ``what`` names the operation for the error texts; ``now`` is needed for a
    ``Retry-After`` that is a date.

    Raises:
        HomeserverError: anything else, as the kind of answer it is.
    """
    data = parsed(answer.body)
    if 200 <= answer.status < 300 and data is not _UNREADABLE:
        return data
    if answer.status == 429:
        wait = wait_asked_for(answer.header("Retry-After"), _field(data, "retry_after_ms"), now)
        raise RateLimited(f"{what} was rate limited: wait {wait:g} s", retry_after=wait)
    raise _failure(answer.status, data, what)


def _failure(status: int, data: Any, what: str) -> HomeserverError:
    code = _field(data, "errcode")
    if status == 401 and isinstance(_field(data, "flows"), list) and not _is_stale(code):
        session = _field(data, "session")
        message = f"{what} needs a proof of who we are, such as the password (401)"
        return ProofWanted(message, session=session if isinstance(session, str) else "")
    if not isinstance(code, str) or not code or status < 400:
        return _no_matrix_answer(status, what)
    if status >= 500 or code == "M_UNRECOGNIZED":  # unrecognized: a proxy sends us to the wrong place
        return HomeserverUnavailable(f"{what} failed: {_shown(code)} ({status})", everywhere=False)
    if status in (401, 403) and code in STOPPED_ACCOUNT:
        return TokenRefused(f"{what} was refused: the account Knock uses is {STOPPED_ACCOUNT[code]} ({code})")
    if status == 401 and _is_stale(code):
        return StaleToken(f"{what} was refused: {code} (401)", soft=_field(data, "soft_logout") is True)
    return Refused(f"{what} was refused: {_shown(code)} ({status})", status=status, code=_safe(code))


def _is_stale(code: Any) -> bool:
    return isinstance(code, str) and code in STALE_TOKEN


def _no_matrix_answer(status: int, what: str) -> HomeserverUnavailable:
    if 200 <= status < 300:
        return unreadable(what)
    if 300 <= status < 400:
        text = f"{what} was answered with a redirect ({status}), which Knock does not follow"
    else:
        text = f"{what} was answered with something that is not Matrix ({status})"
    return HomeserverUnavailable(text, everywhere=status in OUT_OF_REACH)


def wait_asked_for(header: str, milliseconds: Any, now: float) -> float:
    """Return the seconds a 429 asks to wait: more than 0, at most LONGEST_WAIT.

    ``Retry-After`` counts since version 1.10 of the specification; Synapse
    rounds it up to whole seconds and tells the exact time in the deprecated
    ``retry_after_ms``, which is taken when it is that same time. A
    wait of zero is an invitation to hammer, and becomes DEFAULT_WAIT.
    """
    told = _seconds_in(header, now)
    exact = number_in(milliseconds) / 1000
    if told <= 0 or told - 1 < exact <= told:
        told = exact
    return min(told, LONGEST_WAIT) if told > 0 else DEFAULT_WAIT


def _seconds_in(header: str, now: float) -> float:
    """Seconds in a Retry-After header, which holds a number or an HTTP date; 0.0 for anything else."""
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    at = moment_in(text)
    return 0.0 if at is None else at - now


def moment_in(header: str) -> float | None:
    """The time that an HTTP date names, in seconds since the epoch; None for anything else."""
    try:
        return parsedate_to_datetime(header.strip()).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def number_in(value: Any) -> float:
    """A finite number, or 0.0 for anything else that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def text_in(data: Mapping[str, Any], name: str, what: str) -> str:
    """A text that must be there.

    Raises:
        HomeserverUnavailable: it is not, or is empty, or something else.
    """
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise unreadable(what)
    return value


def unreadable(what: str) -> NotUnderstood:
    """The error for an answer of the wrong shape: it says neither yes nor no."""
    return NotUnderstood(f"{what} was answered with something Knock cannot read")


def parsed(body: bytes) -> Any:
    """The JSON of a body, or _UNREADABLE. Every text in it can be written as UTF-8, and so be stored."""
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(text)
        if _HALF_CHARACTER.search(text):
            data = json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):  # ValueError: also bad UTF-8 and numbers of a thousand digits
        return _UNREADABLE
    return data


def _field(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, dict) else None


def _safe(code: str) -> str:
    """The code if it looks like one, else "": it goes into logs and labels."""
    return code if _CODE.fullmatch(code) else ""


def _shown(code: str) -> str:
    return _safe(code) or "an unknown error code"
