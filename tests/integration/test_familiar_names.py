"""Names that members of a real room bear: taken note of by the service, and known to whoever asks afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.command import mknock
from tests.integration.house import API_KEY, House, opened
from tests.kit.cast import unlike_name
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

from mknock.services.familiar_names import KEPT, SETTLING
from mknock.storage.sqlite import SqliteStore


async def test_who_bears_what_members_are_called_is_held_after_a_week(
    synapse: Synapse, tmp_path: Path
) -> None:
    name = unlike_name("kvothrandin")
    blocked = f"@{name.replace('r', 'x', 1)}:{synapse.server_name}"
    home = tmp_path / "replica0"
    async with opened(synapse, tmp_path, INVITE_CHECK_INTERVAL="5") as house:
        await house.admin("/block_user", user_id=blocked)
        for localpart in (f"{name}1", f"{name}.okafor", f"a_{name}"):
            await join(house, localpart)
        house.server.terminate()  # the next start looks at the room at once, not in an hour
    with Server.uvicorn(home, house.env) as again:
        await again.wait_ready("/readyz")
        store = SqliteStore(home / "data" / "knock.db")
        await store.open()

        async def noted() -> dict[str, Any]:
            kept: dict[str, Any] = json.loads(await store.secret(KEPT) or "{}")
            return kept

        kept = await wait_until(noted, within=20.0)
        newcomer = f"@{name}:{synapse.server_name}"
        assert kept["main"]["names"].keys() == {name}
        assert "would be refused" in (await mknock(home, house.env, "explain", newcomer)).out

        async with again.client(token=API_KEY) as client:
            await client.post("/block_user", json={"user_id": f"@{name}1:{synapse.server_name}"})

        async def forgotten() -> bool:
            return name not in str(await store.secret(KEPT))

        await wait_until(forgotten, within=20.0)  # a block has the room looked at again, not in an hour
        kept["main"]["names"][name] -= SETTLING
        await store.put_secret(KEPT, json.dumps(kept))
        assert "would be held" in (await mknock(home, house.env, "explain", newcomer)).out
        await store.close()


async def join(house: House, localpart: str) -> None:
    person = await house.synapse.user(localpart)
    await house.owner.invite(house.room, person.user_id)
    await person.join(house.room)
