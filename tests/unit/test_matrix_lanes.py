"""Requests in lanes: one connection each, the last used first, none lost."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from tests.kit.fake_homeserver import FakeHomeserver

from mknock.matrix.lanes import Lanes


class Yard:
    """Makes lanes that end at a fake homeserver, and remembers which one carried what."""

    def __init__(self, *, broken: bool = False) -> None:
        self.fake, self.broken = FakeHomeserver(), broken
        self.made: list[Recorded] = []
        self.used: list[int] = []

    def new_lane(self) -> Recorded:
        self.made.append(Recorded(self, len(self.made)))
        return self.made[-1]

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=Lanes(self.new_lane), base_url=self.fake.url)


class Recorded(httpx2.AsyncBaseTransport):
    def __init__(self, yard: Yard, number: int) -> None:
        self._yard, self._number, self._inner = yard, number, yard.fake.transport()
        self.closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._yard.used.append(self._number)
        if self._yard.broken:
            raise httpx2.ConnectError("no way")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        self.closed = True


VERSIONS = "/_matrix/client/versions"


async def test_requests_one_after_the_other_share_a_lane() -> None:
    yard = Yard()
    async with yard.client() as client:
        for _ in range(3):
            await client.get(VERSIONS)

    assert yard.used == [0, 0, 0]


async def test_requests_at_once_have_a_lane_each() -> None:
    yard = Yard()
    yard.fake.latency = 0.01
    async with yard.client() as client:
        await asyncio.gather(*(client.get(VERSIONS) for _ in range(5)))

    assert sorted(yard.used) == [0, 1, 2, 3, 4]


async def test_an_answer_that_is_not_read_to_its_end_frees_its_lane_when_closed() -> None:
    yard = Yard()
    async with yard.client() as client:
        for _ in range(2):
            async with client.stream("GET", VERSIONS):
                pass

    assert yard.used == [0, 0]


async def test_a_failed_request_frees_its_lane() -> None:
    yard = Yard(broken=True)
    async with yard.client() as client:
        for _ in range(2):
            with pytest.raises(httpx2.ConnectError):
                await client.get(VERSIONS)

    assert yard.used == [0, 0]


async def test_closing_closes_every_lane() -> None:
    yard = Yard()
    async with yard.client() as client:
        await client.get(VERSIONS)

    assert [lane.closed for lane in yard.made] == [True]
