"""Knock: out-of-band invitations to private Matrix rooms.

Importing this package reads no environment and opens nothing. ``mknock.app``,
the ASGI application for ``uvicorn mknock:app``, is made when it is first
asked for.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mknock.wiring import application_from_environment

    globals()["app"] = made = application_from_environment()
    return made
