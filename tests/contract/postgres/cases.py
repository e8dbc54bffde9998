"""PostgreSQL stores for tests of what only PostgreSQL can break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from mknock.storage.postgres import PostgresStore

KEY = "a secret key that is long enough"


@contextlib.asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, secret_key=KEY, **more)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def at_once(*acts: Awaitable[Any]) -> list[Any]:
    """Everything at once, within a time in which no deadlock would be noticed and no lock be waited out."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*acts)
