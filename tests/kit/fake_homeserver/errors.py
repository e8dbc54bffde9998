"""How a homeserver says no: a status, a code, a sentence."""

from __future__ import annotations

from typing import Any


class MatrixError(Exception):
    """The answer to a call that was refused; ``extra`` are more fields of its body."""

    def __init__(self, status: int, code: str, text: str, **extra: Any) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"errcode": code, "error": text, **extra}


def forbidden(text: str) -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", text)


def bad_state(text: str) -> MatrixError:
    """The person's membership does not allow it; Synapse answers so about whoever is banned."""
    return MatrixError(403, "M_BAD_STATE", text)


def invalid(text: str) -> MatrixError:
    return MatrixError(400, "M_INVALID_PARAM", text)


def missing_token(text: str = "Missing access token") -> MatrixError:
    return MatrixError(401, "M_MISSING_TOKEN", text)


def unknown_token(text: str = "Invalid access token passed.", *, soft: bool = False) -> MatrixError:
    return MatrixError(401, "M_UNKNOWN_TOKEN", text, soft_logout=soft)


def not_found(text: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", text)


def unrecognised(status: int) -> MatrixError:
    return MatrixError(status, "M_UNRECOGNIZED", "Unrecognized request")


def unreachable(text: str) -> MatrixError:
    """Another homeserver was needed and did not answer; that says nothing about the person."""
    return MatrixError(502, "M_UNKNOWN", text)
