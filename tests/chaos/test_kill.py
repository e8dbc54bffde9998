"""kill -9 at any moment: everything acknowledged is invited, once (promises 1 and 2)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.chaos.knockers import Knockers, environment, invited_once
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, wait_until

ROUNDS = 10
PEOPLE = 200


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize("workers", [1, 2])
async def test_every_acknowledged_knock_is_invited_once_after_ten_kills(tmp_path: Path, workers: int) -> None:
    chance = random.Random(workers)  # noqa: S311 - repeatable, not secret
    knockers = Knockers()
    with FakeProcess.start(latency=0.01) as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        env = environment(fake.url, bot, room)
        for number in range(ROUNDS):
            people = [account.user_id for account in await fake.users(PEOPLE, prefix=f"r{number}p")]
            with Server.uvicorn(tmp_path, env, "--workers", str(workers)) as server:
                await server.wait_ready()
                await knockers.knock(server, people, stop_after=chance.randrange(20, 180))
        with Server.uvicorn(tmp_path, env, "--workers", str(workers)) as server:
            await server.wait_ready()
            await wait_until(lambda: invited_once(fake, room, knockers.acknowledged), within=60, every=0.2)

        counts = await fake.invite_counts(room)
        assert max(counts.values()) == 1
        assert len(knockers.acknowledged) >= ROUNDS * 20
