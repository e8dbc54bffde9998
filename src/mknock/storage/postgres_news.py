"""Hearing from other processes that work is due (LISTEN and NOTIFY)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mknock.domain.errors import StoreUnavailable
from mknock.storage.postgres_connections import FAILED, Connection, check, connected, place, unavailable
from mknock.telemetry import get_logger

log = get_logger(__name__)

CHANNEL = "mknock_work"
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds until the listener connects anew; doubled as long as it fails."""
STILL_THERE = 30.0
"""Seconds after which a silent connection is asked whether it still stands."""


class Listener:
    """Calls ``wake`` when some process has made work due; connects anew by itself.

    While it cannot listen, the workers' own look twice a second has to do.
    """

    def __init__(self, url: str, wake: Callable[[], None]) -> None:
        self._url = url
        self._wake = wake
        self._wait = FIRST_WAIT
        self._task = asyncio.create_task(self._listen_always())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen_always(self) -> None:
        while True:
            try:
                async with connected(self._url) as connection:
                    if await check(connection, place(self._url)):
                        log.warning("a pooler passes on no news, so Knock looks for work twice a second")
                        return
                    await self._listen(connection)
            except (StoreUnavailable, *FAILED) as error:
                why = error if isinstance(error, StoreUnavailable) else unavailable(error)
                log.warning("not listening, so Knock looks for work twice a second", why=str(why))
            await asyncio.sleep(self._wait)
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    async def _listen(self, connection: Connection) -> None:
        """Listen until the connection ends."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        await connection.add_listener(CHANNEL, lambda *_: self._wake())
        self._wake()  # nobody knows what has happened until now
        self._wait = FIRST_WAIT
        while not ended.is_set():
            try:
                async with asyncio.timeout(STILL_THERE):
                    await ended.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
