"""kill -9 between sending the welcome and recording it: one welcome (promise 2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.knockers import Knockers, environment
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, wait_until


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize(("workers", "place"), [(1, "sqlite"), (2, "sqlite"), (1, "postgres")])
async def test_a_welcome_that_was_sent_but_not_recorded_is_sent_once(
    request: pytest.FixtureRequest, tmp_path: Path, workers: int, place: str
) -> None:
    store = on_postgres(request) if place == "postgres" else {}
    with FakeProcess.start() as fake:
        bot, owner, carol = await fake.user("knock"), await fake.user("alice"), await fake.user("carol")
        room = await fake.new_room(owner, bot=bot)
        env = environment(fake.url, bot, room, **store)
        await fake.fail("send", acts=True, hang=True)
        with Server.uvicorn(tmp_path, env, "--workers", str(workers)) as server:
            await server.wait_ready("/readyz")
            await Knockers().knock(server, [carol.user_id])
            await wait_until(lambda: _is_invited(owner, room, carol))
            await carol.join(room)
            await wait_until(lambda: _sends(fake))
            server.kill9()
        await fake.mend()
        with Server.uvicorn(tmp_path, env, "--workers", str(workers)) as server:
            await server.wait_ready("/readyz")
            await wait_until(lambda: "welcomed" in server.output, within=30, every=0.2)

        assert len(await _messages(owner, room)) == 1


def on_postgres(request: pytest.FixtureRequest) -> dict[str, str]:
    server: Postgres = request.getfixturevalue("postgres")
    url = server.url(server.wipe(request.getfixturevalue("database")))
    return {"STORE_URL": url, "SECRET_KEY": "s" * 32}


async def _is_invited(owner: Account, room: str, person: Account) -> bool:
    return await owner.membership(room, person.user_id) == "invite"


async def _sends(fake: FakeProcess) -> bool:
    return bool(await fake.calls_of("send"))


async def _messages(owner: Account, room: str) -> list[str]:
    page = await owner.must("GET", "rooms", room, "messages", params={"dir": "b", "limit": "100"})
    return [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
