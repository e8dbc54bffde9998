"""What every command does before and after its own work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from mknock.cli.terminal import complain
from mknock.settings import Settings, load_settings
from mknock.telemetry import configure_logging, keep_secret
from mknock.wiring.parts import Parts, parts_of

T = TypeVar("T")


def read_settings(instead: Mapping[str, str] | None = None, *, require_doors: bool = True) -> Settings:
    """Read the settings, say on standard error what is odd about them, and log only what matters.

    ``instead`` holds settings that count instead of the environment's;
    ``require_doors`` as in ``load_settings``.

    Raises:
        SettingsError: some are missing or wrong.
    """
    environ = {**os.environ, **(instead or {})}
    settings = load_settings(environ, require_sign_in=False, require_doors=require_doors)
    for secret in settings.secret_values():
        keep_secret(secret)
    configure_logging("DEBUG" if settings.log_level == "DEBUG" else "WARNING", "console")
    for warning in settings.warnings:
        complain(warning)
    return settings


def with_parts(
    work: Callable[[Parts], Awaitable[T]], settings: Settings | None = None, *, opened: bool = True
) -> T:
    """Do the work with the parts of Knock, then close them. ``opened`` says whether it needs the store open.

    Raises:
        StoreUnavailable: the store cannot be opened.
    """
    chosen = settings or read_settings()

    async def run() -> T:
        parts = parts_of(chosen)
        try:
            if opened:
                await parts.store.open()
            return await work(parts)
        finally:
            await parts.close()

    return asyncio.run(run())
