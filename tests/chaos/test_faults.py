"""kill -9 while the homeserver limits, fails, hangs or is away: everything acknowledged is invited, once.

Long absences are simulated in tests/unit/test_delivery.py; here the processes, the kill and the HTTP are
real. After a kill a claim has to lapse, which takes ten seconds: so all runs go on at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import Knockers, environment, invited_once
from tests.chaos.launches import Launch, four_processes, one_process
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import wait_until

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.promise(1)]

PEOPLE = 120
ENOUGH = 60
"""Kill when so many were acknowledged."""
RUNS: Mapping[str, tuple[Launch, dict[str, Any]]] = {
    "429": (one_process, {"operation": "invite", "status": 429, "retry_after": 0.5}),
    "429 although it counted": (one_process, {"operation": "invite", "status": 429, "acts": True}),
    "502 of its proxy": (one_process, {"status": 502, "body": "<html>Bad Gateway</html>"}),
    "502 although it counted": (one_process, {"operation": "invite", "status": 502, "acts": True}),
    "hangs": (one_process, {"operation": "invite", "hang": True}),
    "hangs although it counted": (one_process, {"operation": "invite", "hang": True, "acts": True}),
    "drops connections": (one_process, {"down": True, "acts": True}),
    "429, four workers": (four_processes, {"operation": "invite", "status": 429, "acts": True}),
    "hangs, four workers": (four_processes, {"operation": "invite", "hang": True, "acts": True}),
}


@dataclass(frozen=True)
class Run:
    """How often each person had been invited in the end, and who was acknowledged before the kill."""

    invites: dict[str, int]
    acknowledged: list[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    async def all_at_once() -> dict[str, Run]:
        two_at_once = asyncio.Semaphore(2)  # so many start, the others wait for claims to lapse
        made = [
            _run(tmp_path_factory.mktemp("faults"), launch, fault, two_at_once)
            for launch, fault in RUNS.values()
        ]
        return dict(zip(RUNS, await asyncio.gather(*made), strict=True))

    return asyncio.run(all_at_once())


async def _run(directory: Path, launch: Launch, fault: dict[str, Any], turn: asyncio.Semaphore) -> Run:
    knockers = Knockers()
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(PEOPLE)]
        env = environment(fake.url, bot, room, BASE_BACKOFF_DELAY="0.2")
        with ExitStack() as running:
            async with turn:
                with launch(directory, env) as server:
                    await server.wait_ready("/readyz")
                    await fake.fail(**fault)
                    await knockers.knock(server, people, stop_after=ENOUGH)
                await running.enter_context(launch(directory, env)).wait_ready()
            await fake.mend()
            with suppress(TimeoutError):  # the tests say who is missing
                await wait_until(
                    lambda: invited_once(fake, room, knockers.acknowledged), within=40, every=0.2
                )
        return Run(await fake.invite_counts(room), knockers.acknowledged)


@pytest.mark.parametrize("fault", RUNS)
def test_everything_acknowledged_before_a_kill_is_invited(runs: dict[str, Run], fault: str) -> None:
    assert len(runs[fault].acknowledged) >= ENOUGH
    assert set(runs[fault].acknowledged) <= runs[fault].invites.keys()


@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", RUNS)
def test_nobody_is_invited_twice_by_a_kill(runs: dict[str, Run], fault: str) -> None:
    assert set(runs[fault].invites.values()) == {1}


async def test_a_homeserver_that_died_is_found_again_by_a_knock_that_was_killed(tmp_path: Path) -> None:
    knockers = Knockers()
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(PEOPLE)]
        env, port = environment(fake.url, bot, room), fake.port
        with one_process(tmp_path, env) as server:
            await server.wait_ready("/readyz")
            fake.stop()
            await knockers.knock(server, people, stop_after=ENOUGH)
    with one_process(tmp_path, env) as server:
        await server.wait_ready()
        with FakeProcess.start(port=port) as fake:  # begun anew, it gives the same ids and tokens
            again, owner = await fake.user("knock"), await fake.user("alice")
            assert (await fake.new_room(owner, bot=again), again.access_token) == (room, bot.access_token)
            await fake.users(PEOPLE)
            await wait_until(lambda: invited_once(fake, room, knockers.acknowledged), within=20, every=0.1)
