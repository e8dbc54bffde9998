"""What every endpoint shares: the table of statuses, the shape of an error, reading a body."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from mknock.domain import errors
from mknock.matching.glob import BadGlob
from mknock.matching.rule_lines import BadRuleLine

BODY_LIMIT = 256 * 1024
"""Bytes; no form platform sends more (Webflow's own limit is the same)."""
BODY_TIME = 30.0
"""Seconds that a sender may take over a body."""
RETRY_AFTER = 10

STATUSES: Mapping[type[errors.KnockError], int] = {
    errors.InvalidMatrixID: 422,
    errors.Unreadable: 422,
    errors.AmbiguousMatrixID: 422,
    errors.NothingToDo: 422,
    BadGlob: 422,
    BadRuleLine: 422,
    errors.Unauthenticated: 401,
    errors.TooLarge: 413,
    errors.InvalidRule: 422,
    errors.InvalidLink: 422,
    errors.IllegalMove: 409,
    errors.NotFound: 404,
    errors.NotAllowed: 403,
    errors.StoreUnavailable: 503,
    errors.EncryptionUnavailable: 503,
    errors.HomeserverError: 502,
    errors.HomeserverUnavailable: 503,
    errors.RateLimited: 503,
    errors.TokenRefused: 503,
    errors.Refused: 502,
}
"""The HTTP status of each of Knock's errors; a test fails for an error that neither it nor its parent has."""


def status_of(error: errors.KnockError) -> int:
    """The HTTP status of an error: its own, or that of its nearest parent in the table."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def headers_for(error: errors.KnockError) -> dict[str, str]:
    """The headers that go with an error's status."""
    status = status_of(error)
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status == 503:
        wait = error.retry_after if isinstance(error, errors.RateLimited) else RETRY_AFTER
        return {"Retry-After": str(math.ceil(wait))}
    return {}


async def error_response(_: Request, error: Exception) -> Response:
    """Answer one of Knock's errors: its sentence, under the key ``error``."""
    if not isinstance(error, errors.KnockError):
        raise error
    return JSONResponse({"error": str(error)}, status_of(error), headers_for(error))


async def read_body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """Read a body of at most ``limit`` bytes; stop reading as soon as it is longer.

    Raises:
        TooLarge: it is longer.
        StoreUnavailable: it did not arrive in BODY_TIME seconds.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(BODY_TIME):
            return await _read(request, limit)
    except TimeoutError:
        raise errors.StoreUnavailable("the body did not arrive in time, send it again") from None


async def _read(request: Request, limit: int) -> bytes:
    """The body, message by message: a form is usually one, and a generator for it would cost more than it."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"the body is larger than {limit // 1024} KiB")
