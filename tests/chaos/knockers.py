"""Many people knocking at once at a server that may die under them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server

TOKEN = "form-token-of-the-chaos-tests"


def environment(homeserver: str, bot: Account, room: str, **more: str) -> dict[str, str]:
    """The settings of a Knock that accepts and delivers as fast as it can."""
    assert bot.access_token
    return {
        "NEW_ROOM_ID": room,
        "MATRIX_BASE_URL": homeserver,
        "MATRIX_ACCESS_TOKEN": bot.access_token,
        "FORM_TOKEN": TOKEN,
        "MAX_REQUESTS_PER_WINDOW": "1000000",
        "REQUEST_DELAY": "0",
        "DATA_DIR": "data",
        **more,
    }


@dataclass
class Knockers:
    """Post forms, a number of them in flight at once, and remember who was acknowledged."""

    in_flight: int = 50
    acknowledged: list[str] = field(default_factory=list)

    async def knock(self, server: Server, people: Sequence[str], *, stop_after: int | None = None) -> None:
        """Post one form for each; return when all are done or so many were acknowledged."""
        waiting, enough = list(people), asyncio.Event()
        start = len(self.acknowledged)

        async def lane(client: httpx2.AsyncClient) -> None:
            while waiting and not enough.is_set():
                await self._post(client, waiting.pop())
                if stop_after is not None and len(self.acknowledged) - start >= stop_after:
                    enough.set()

        async with server.client(timeout=30) as client:
            lanes = asyncio.gather(*(lane(client) for _ in range(self.in_flight)))
            if stop_after is None:
                await lanes
            else:
                await enough.wait()
                server.kill9()
                await lanes

    async def _post(self, client: httpx2.AsyncClient, person: str) -> None:
        try:
            answer = await client.post(f"/invite_from_form?token={TOKEN}", json={"Matrix ID": person})
        except httpx2.TransportError:
            return
        if answer.status_code == httpx2.codes.OK:
            self.acknowledged.append(person)


async def invited_once(fake: FakeProcess, room: str, people: Sequence[str]) -> bool:
    """Whether each of these people was invited exactly once."""
    counts = await fake.invite_counts(room)
    return all(counts.get(person) == 1 for person in people)
