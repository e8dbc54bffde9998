"""kill -9 while the homeserver limits, fails, hangs or is away: everything acknowledged is invited, once.

Long absences are simulated in tests/unit/test_delivery.py; here the processes, the kill and the HTTP are real.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import Knockers, environment, invited_once
from tests.chaos.launches import Launch, four_processes, one_process
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import wait_until

pytestmark = pytest.mark.xdist_group("processes")

PEOPLE = 120
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"operation": "invite", "status": 429, "retry_after": 0.5},
    "429, but it counted": {"operation": "invite", "status": 429, "retry_after": 0.5, "acts": True},
    "502 of its proxy": {"status": 502, "body": "<html>Bad Gateway</html>"},
    "502, but it counted": {"operation": "invite", "status": 502, "acts": True},
    "hangs": {"operation": "invite", "hang": True},
    "hangs, but it counted": {"operation": "invite", "hang": True, "acts": True},
    "drops connections": {"down": True, "acts": True},
}
RUNS = [
    *(pytest.param(one_process, fault, id=fault) for fault in FAULTS),
    pytest.param(four_processes, "429, but it counted", id="4 workers: 429, but it counted"),
    pytest.param(four_processes, "hangs", id="4 workers: hangs"),
]


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize(("launch", "fault"), RUNS)
async def test_everything_acknowledged_before_a_kill_is_invited_once(
    tmp_path: Path, launch: Launch, fault: str
) -> None:
    knockers = Knockers()
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(PEOPLE)]
        env = environment(fake.url, bot, room, BASE_BACKOFF_DELAY="0.2")
        with launch(tmp_path, env) as server:
            await server.wait_ready("/readyz")
            await fake.fail(**FAULTS[fault])
            await knockers.knock(server, people, stop_after=PEOPLE // 2)
        with launch(tmp_path, env) as server:
            await server.wait_ready()
            await fake.mend()
            await wait_until(lambda: invited_once(fake, room, knockers.acknowledged), within=40, every=0.1)

        counts = await fake.invite_counts(room)
        assert max(counts.values()) == 1
        assert len(knockers.acknowledged) >= PEOPLE // 2


@pytest.mark.promise(1)
async def test_a_homeserver_that_dies_and_comes_back_is_noticed_by_a_knock_that_was_killed(
    tmp_path: Path,
) -> None:
    knockers = Knockers()
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(PEOPLE)]
        env, port = environment(fake.url, bot, room), fake.port
        with one_process(tmp_path, env) as server:
            await server.wait_ready("/readyz")
            fake.stop()
            await knockers.knock(server, people, stop_after=PEOPLE // 2)
    with one_process(tmp_path, env) as server:
        await server.wait_ready()
        with FakeProcess.start(port=port) as fake:
            again, owner = await fake.user("knock"), await fake.user("alice")
            await fake.users(PEOPLE)
            assert (await fake.new_room(owner, bot=again), again.access_token) == (room, bot.access_token)
            await wait_until(lambda: invited_once(fake, room, knockers.acknowledged), within=20, every=0.1)
