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
    "502": (one_process, {"status": 502, "body": "<html>Bad Gateway</html>"}),
    "hangs": (one_process, {"operation": "invite", "hang": True}),
    "drops connections": (one_process, {"down": True, "acts": True}),
    "429 although it counted, 4 workers": (
        four_processes,
        {"operation": "invite", "status": 429, "acts": True},
    ),
    "hangs although it counted, 4 workers": (
        four_processes,
        {"operation": "invite", "hang": True, "acts": True},
    ),
}


@dataclass(frozen=True)
class Run:
    """How often each person had been invited in the end, and who was acknowledged before the kill."""

    invites: dict[str, int]
    acknowledged: list[str]

    @property
    def forgotten(self) -> list[str]:
        return sorted(set(self.acknowledged) - self.invites.keys())

    @property
    def invited_again(self) -> list[str]:
        return [person for person, count in self.invites.items() if count > 1]


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


@pytest.mark.promise(2)
async def test_everything_acknowledged_before_a_kill_is_invited_once_after_it(tmp_path: Path) -> None:
    two_at_once = asyncio.Semaphore(2)  # so many start, while the others wait for claims to lapse
    directories = [tmp_path / str(number) for number in range(len(RUNS))]
    for directory in directories:
        directory.mkdir()
    runs = await asyncio.gather(
        *(
            _run(directory, *run, two_at_once)
            for directory, run in zip(directories, RUNS.values(), strict=True)
        )
    )

    nobody: dict[str, list[str]] = {fault: [] for fault in RUNS}
    assert {fault: run.forgotten for fault, run in zip(RUNS, runs, strict=True)} == nobody
    assert {fault: run.invited_again for fault, run in zip(RUNS, runs, strict=True)} == nobody
    assert min(len(run.acknowledged) for run in runs) >= ENOUGH


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
