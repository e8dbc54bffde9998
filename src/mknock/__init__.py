"""Knock: out-of-band invitations to private Matrix rooms.

Importing this package reads no environment and opens nothing. ``mknock.app``,
the ASGI application for ``uvicorn mknock:app``, is made when it is first
asked for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mknock.garbage import no_garbage

__version__ = "0.1.0"
__all__ = ["__version__", "app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _ending_at_once(), no_garbage():  # a tenth of a start went into looking
        from mknock.wiring.application import application_from_environment

        globals()["app"] = made = application_from_environment()
    return made


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let SIGTERM end the process while nothing is open yet.

    A worker of uvicorn notes the signal and goes on with its imports, which
    with several workers at once takes longer than anybody wants to wait. No exception
    tells the end: raised in the midst of an import, it may be swallowed, and the signal with it.
    """

    def end(*_: object) -> None:
        os._exit(0)

    try:
        former = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
