"""A process that lets people knock and says who is on record: ``backend place name first count``.

It writes ``ready``, waits for a line, admits the people ``name<first>`` and on, 16 at a time,
and writes each one's knock id as soon as, and not before, the store has acknowledged it.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.contract.store_cases import Shelf, attempt, kept

from mknock.telemetry import configure_logging


async def _knock(shelf: Shelf, name: str, numbers: range) -> None:
    people = iter(numbers)
    async with shelf.opened() as store:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def lane() -> None:
            for number in people:
                print((await kept(store, attempt(f"{name}{number}", time.time()))).knock.id, flush=True)

        await asyncio.gather(*(lane() for _ in range(16)))


if __name__ == "__main__":
    configure_logging("INFO", "console")  # to standard error: what we say is on standard output
    backend, place, name, first, count = sys.argv[1:]
    asyncio.run(_knock(Shelf(backend, place), name, range(int(first), int(first) + int(count))))
