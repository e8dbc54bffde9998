"""The ASGI application, and the life of the process it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from starlette.types import Receive, Scope, Send

from mknock.domain.doors import (
    Door,
)
from mknock.domain.errors import KnockError
from mknock.settings import (
    Settings,
    SettingsError,
    load_settings,
)
from mknock.telemetry import configure_logging, get_logger, keep_secret
from mknock.wiring.installation import Installation
from mknock.wiring.parts import parts_of

log = get_logger(__name__)

CANNOT_START = 3
"""The exit code that tells uvicorn's supervisor not to start this worker again."""
GARBAGE = 10_000
"""New objects between two collections; Python's 700 are made by two forms."""
CLOSING = 0.6
"""Seconds that connections have to close at the end, from the moment that nothing new is taken in."""


class Application:
    """The ASGI application: Knock's life between start-up and shut-down, and its endpoints."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.installation.stopping(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Speak the ASGI lifespan protocol; a failed start is one sentence, not a traceback."""
        await receive()
        try:
            settings = self.installation.parts.settings
            configure_logging(settings.log_level, settings.log_format)
            _say_what_is_odd(settings, self.installation.parts.doors.first)
            await self.installation.start()
        except (KnockError, SettingsError) as error:
            log.critical("Knock cannot start", why=str(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        _spare_the_collector()
        restore = _hear_signals(self.installation)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        restore()
        await self.installation.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _spare_the_collector() -> None:
    """Keep what lives as long as the process from being looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


def _hear_signals(installation: Installation) -> Callable[[], None]:
    """Notice SIGTERM and SIGINT before uvicorn waits for open requests, and SIGHUP; return what undoes it."""
    loop = asyncio.get_running_loop()
    former: dict[int, Any] = {}

    def ends(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(installation.stopping.stop)
        if callable(former[number]):
            former[number](number, frame)

    def hangs_up(*_: object) -> None:
        loop.call_soon_threadsafe(installation.read_doors_anew)

    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us handles signals
        for number in (signal.SIGTERM, signal.SIGINT):
            former[number] = signal.getsignal(number)
            signal.signal(number, ends)
            _set_patience(former[number])
        if hasattr(signal, "SIGHUP") and not _is_at_a_terminal():  # it would end the process
            former[signal.SIGHUP] = signal.signal(signal.SIGHUP, hangs_up)

    def restore() -> None:
        for number, earlier in former.items():
            signal.signal(number, earlier)

    return restore


def _is_at_a_terminal() -> bool:
    """Whether SIGHUP means that the terminal is gone, and Knock has to go with it."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _set_patience(handler: Any) -> None:
    """Let uvicorn, if ``handler`` is its own, wait for connections to close no longer than CLOSING.

    Unless it was told a time it waits for ever, so a client that does not
    read its answer could keep the process from ending.
    """
    config: Any = getattr(getattr(handler, "__self__", None), "config", None)
    if getattr(config, "timeout_graceful_shutdown", 0) is None:
        config.timeout_graceful_shutdown = CLOSING


def _say_what_is_odd(settings: Settings, first: Door) -> None:
    for warning in settings.warnings:
        log.warning(warning)
    if not first.secrets:
        log.warning(
            "no form secret is set: anybody who knows the address can post, and counts as an anonymous visitor;"
            f" set {first.secrets.setting('token')}, or the platform's signing secret"
        )
    if settings.allow_open_api:
        log.warning("ALLOW_OPEN_API is on: anybody can use the admin endpoints")


def application_of(settings: Settings) -> Application:
    """The application of these settings. Opens nothing yet."""
    for secret in settings.secret_values():
        keep_secret(secret)
    return Application(Installation(parts_of(settings)))


def application_from_environment() -> Application:
    """The application for ``uvicorn mknock:app``; a wrong setting ends the process with one sentence."""
    try:
        return application_of(load_settings(require_sign_in=False))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word before the end
        sys.exit(CANNOT_START)
