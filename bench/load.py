"""A load generator light enough not to be what is measured: plain sockets, keep-alive, one process.

``python -m bench.load URL-PORT CONNECTIONS SECONDS|COUNT BODY-FILE`` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

MARK = b"@somebody:example.org"
"""Stands for the Matrix ID in a body; replaced by a new one in every request."""


@dataclass
class Load:
    """Posts one body after the other over a number of connections."""

    port: int
    path: str
    body: bytes
    prefix: str
    headers: str = ""
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._numbers = itertools.count()

    def request(self) -> bytes:
        """One request, with a Matrix ID that was not there before."""
        user = f"@{self.prefix}{next(self._numbers)}:example.org".encode()
        body = self.body.replace(MARK, user)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"{self.headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def run(self, connections: int, *, seconds: float = 0.0, count: int = 0) -> float:
        """Post for so many seconds, or so many times; return how long it took."""
        began = time.perf_counter()
        end = began + seconds if seconds else None
        left = iter(range(count)) if count else itertools.repeat(0)
        await asyncio.gather(*(self._lane(left, end) for _ in range(connections)))
        return time.perf_counter() - began

    async def _lane(self, left: object, end: float | None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for _ in left:  # type: ignore[attr-defined]
            if end is not None and time.perf_counter() >= end:
                break
            began = time.perf_counter()
            writer.write(self.request())
            self.statuses[await _status(reader)] += 1
            self.slowest = max(self.slowest, time.perf_counter() - began)
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12])


def main() -> None:
    asked = json.loads(sys.argv[1])
    load = Load(
        asked["port"],
        asked["path"],
        Path(asked["body"]).read_bytes(),
        asked["prefix"],
        asked.get("headers", ""),
    )
    took = uvloop.run(
        load.run(asked["connections"], seconds=asked.get("seconds", 0.0), count=asked.get("count", 0))
    )
    done = sum(load.statuses.values())
    print(
        json.dumps(
            {
                "per_second": done / took,
                "took": took,
                "statuses": dict(load.statuses),
                "slowest_ms": load.slowest * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
