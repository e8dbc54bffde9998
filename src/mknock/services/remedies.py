"""What to do about an error that does not say so itself."""

from __future__ import annotations

from mknock.domain.errors import HomeserverUnavailable, KnockError, RateLimited


def remedy(error: KnockError) -> str:
    """The end of a sentence that begins with the error; "" if it needs none."""
    match error:
        case HomeserverUnavailable():
            return ": check MATRIX_BASE_URL, and that the homeserver is up"
        case RateLimited():
            return ", then run this again"
        case _:
            return ""
