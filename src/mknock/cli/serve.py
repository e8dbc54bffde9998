"""``mknock serve``."""

from __future__ import annotations

import asyncio
import sys

import click
import uvicorn

from mknock.settings import load_settings
from mknock.telemetry import configure_logging, keep_secret
from mknock.wiring.parts import can_start


@click.command()
@click.option("--host", help="Network address to listen on (default: HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: PORT).")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes to start (default: WORKERS).")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Run Knock: receive forms, send invites.

    It serves even while the homeserver is away, and ends on Ctrl-C or SIGTERM.
    """
    settings = load_settings(require_sign_in=False)
    for secret in settings.secret_values():
        keep_secret(secret)
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(can_start(settings))  # here, so that what is wrong is said once and not by every process
    try:
        uvicorn.run(
            "mknock:app",
            host=host or settings.host,
            port=settings.port if port is None else port,
            workers=workers or settings.workers,
            log_level=settings.log_level.lower(),
            proxy_headers=False,  # TRUSTED_PROXIES alone says who is believed
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    except SystemExit as end:  # uvicorn has said why, with codes of its own
        sys.exit(1 if end.code else 0)
