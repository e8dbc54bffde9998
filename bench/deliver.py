"""Invites delivered per second against a bare loop of /invite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx2
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

from bench.servers import FORM_TOKEN, knock

CONNECTIONS = 16
"""Of the bare loop, and what Knock allows itself for changing calls."""


async def on_stub(folder: Path) -> dict[str, float]:
    """On a stub that answers every call after 50 ms."""
    with FakeProcess.start(latency=0.05) as fake:
        return await _compare(fake, folder, people=1500, rounds=3)


async def on_synapse(folder: Path) -> dict[str, float]:
    """On a real Synapse."""
    names = [f"s{number}p{person}" for number in range(6) for person in range(150)]
    with await asyncio.to_thread(Synapse.start, folder / "synapse", seed_users=names) as synapse:
        figures = await _compare(synapse, folder, people=150, rounds=3)
        return figures | await _idle(synapse, folder)


async def _compare(homeserver: Any, folder: Path, *, people: int, rounds: int) -> dict[str, float]:
    bare, ours = [], []
    bot, owner = await homeserver.user("knock"), await homeserver.user("alice")
    for number in range(rounds):
        room = await homeserver.new_room(owner, bot=bot)
        await _bare_loop(bot, room, await _people(homeserver, f"s{2 * number}p", people))
        bare.append(_rate(await _invite_times(homeserver, owner, room)))
        room = await homeserver.new_room(owner, bot=bot)
        some = await _people(homeserver, f"s{2 * number + 1}p", people)
        await _knock_delivers(homeserver, bot, owner, room, some, folder / f"k{number}")
        ours.append(_rate(await _invite_times(homeserver, owner, room)))
    ratio = median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    print(
        f"bare loop of {CONNECTIONS}: {median(bare):.1f} /s, Knock: {median(ours):.1f} /s, ratio {ratio:.2f}"
    )
    return {"ratio": round(ratio, 3)}


async def _people(homeserver: Any, prefix: str, count: int) -> list[str]:
    if isinstance(homeserver, FakeProcess):
        return [account.user_id for account in await homeserver.users(count, prefix=prefix)]
    return [f"@{prefix}{number}:{homeserver.server_name}" for number in range(count)]


async def _invite_times(homeserver: Any, owner: Account, room: str) -> list[float]:
    """When each invite arrived, in seconds."""
    if isinstance(homeserver, FakeProcess):
        return [call["at"] for call in await homeserver.calls_of("invite") if call["params"]["room"] == room]
    events = (await owner.must("GET", "rooms", room, "members", params={"membership": "invite"}))["chunk"]
    return [event["origin_server_ts"] / 1000 for event in events]


def _rate(times: Sequence[float]) -> float:
    return (len(times) - 1) / (max(times) - min(times))


async def _bare_loop(bot: Account, room: str, people: Sequence[str]) -> None:
    waiting = list(people)
    path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/invite"

    async def lane(client: httpx2.AsyncClient) -> None:
        while waiting:
            answer = await client.post(path, json={"user_id": waiting.pop(), "reason": "You asked to join."})
            assert answer.status_code == httpx2.codes.OK, answer.text

    async with bot.client() as client:
        await asyncio.gather(*(lane(client) for _ in range(CONNECTIONS)))


async def _knock_delivers(
    homeserver: Any, bot: Account, owner: Account, room: str, people: Sequence[str], folder: Path
) -> None:
    with _knock_at(homeserver.url, bot, room, folder) as ours:
        await ours.wait_ready("/readyz")
        async with ours.client() as client:
            await asyncio.gather(*(_post(client, person) for person in people))
        await wait_until(lambda: _all_invited(homeserver, owner, room, len(people)), within=120, every=0.5)


def _knock_at(url: str, bot: Account, room: str, folder: Path) -> Server:
    return knock(
        folder,
        MATRIX_BASE_URL=url,
        MATRIX_ACCESS_TOKEN=str(bot.access_token),
        NEW_ROOM_ID=room,
        REQUEST_DELAY="0",
    )


async def _post(client: httpx2.AsyncClient, person: str) -> None:
    answer = await client.post(f"/invite_from_form?token={FORM_TOKEN}", json={"matrix_id": person})
    assert answer.status_code == httpx2.codes.OK, answer.text


async def _all_invited(homeserver: Any, owner: Account, room: str, count: int) -> bool:
    return len(await _invite_times(homeserver, owner, room)) >= count


async def _idle(synapse: Synapse, folder: Path) -> dict[str, float]:
    """From the post to the invite being visible, one knock at a time."""
    bot, owner = await synapse.user("knock"), await synapse.user("alice")
    room = await synapse.new_room(owner, bot=bot)
    waits = []
    with _knock_at(synapse.url, bot, room, folder / "idle") as ours:
        await ours.wait_ready("/readyz")
        async with ours.client() as client:
            for number in range(20):
                visitor = await synapse.user(f"idle{number}")
                began = time.perf_counter()
                await _post(client, visitor.user_id)
                await wait_until(partial(_is_invited, owner, room, visitor.user_id), within=20, every=0.005)
                waits.append((time.perf_counter() - began) * 1000)
    print(f"knock to invite visible, idle: median {median(waits):.0f} ms (worst {max(waits):.0f})")
    return {"idle_median_ms": round(median(waits), 1), "idle_worst_ms": round(max(waits), 1)}


async def _is_invited(owner: Account, room: str, user_id: str) -> bool:
    return await owner.membership(room, user_id) == "invite"
