"""From a form to the room and out of it again: Knock as a process, on a real homeserver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import TOKEN, environment
from tests.kit.account import Account, Json
from tests.kit.cast import new_name, unlike_name
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse
from tests.samples.forms import SAMPLES

pytestmark = pytest.mark.xdist_group("whole way")

API_KEY = "api-key-of-the-whole-way"
FORM = f"/invite_from_form?token={TOKEN}"
TALLY = next(sample for sample in SAMPLES if sample.platform == "tally")


@dataclass(frozen=True)
class Ground:
    """A room on a homeserver, with its owner and a bot in it."""

    synapse: Synapse
    owner: Account
    bot: Account
    room: str

    @classmethod
    async def of(cls, synapse: Synapse) -> Ground:
        owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
        return cls(synapse, owner, bot, await synapse.new_room(owner, bot=bot))

    def build(self, directory: Path) -> Server:
        """Start Knock for it."""
        more = {"API_KEY": API_KEY, "KNOCK_COOLDOWN": "0"}
        return Server.uvicorn(directory, environment(self.synapse.url, self.bot, self.room, **more))


@dataclass(frozen=True)
class House:
    """A room and the Knock that its owner runs."""

    ground: Ground
    server: Server

    @property
    def room(self) -> str:
        return self.ground.room

    @property
    def owner(self) -> Account:
        return self.ground.owner

    async def somebody(self) -> Account:
        return await self.ground.synapse.user(unlike_name("v"))

    async def knock(self, user_id: str) -> tuple[str, str]:
        """Post a form and wait for what becomes of it: the outcome and the reason."""
        form = {"Matrix ID": user_id}
        async with self.server.client() as client:
            answer = await client.post(FORM, json=form, headers={"Prefer": "wait=10"})
        return answer.json()["outcome"], answer.json()["reason"]

    async def admin(self, method: str, path: str, **body: Any) -> Json:
        async with self.server.client(token=API_KEY) as client:
            answer = await client.request(method, path, json=body or None)
        assert answer.status_code == 200, answer.text
        said: Json = answer.json()
        return said

    async def invited(self) -> Account:
        """Somebody who knocked and has an open invite."""
        person = await self.somebody()
        assert await self.knock(person.user_id) == ("invited", "invited")
        return person

    async def membership(self, person: Account) -> str | None:
        return await self.owner.membership(self.room, person.user_id)


@pytest.fixture(scope="module")
def house(synapse: Synapse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    ground = asyncio.run(Ground.of(synapse))
    with ground.build(tmp_path_factory.mktemp("house")) as server:
        asyncio.run(server.wait_ready("/readyz"))
        yield House(ground, server)


# In


async def test_a_tally_form_becomes_an_invite_that_can_be_accepted(house: House) -> None:
    person = await house.somebody()
    post = TALLY.post(typed=person.user_id)
    async with house.server.client() as client:
        answer = await client.post(FORM, content=post.body, headers=dict(post.headers))
    await wait_until(lambda: _is(house, person, "invite"))
    await person.join(house.room)

    assert answer.status_code == 200
    assert await house.membership(person) == "join"


async def _is(house: House, person: Account, membership: str) -> bool:
    return await house.membership(person) == membership


async def test_the_invited_person_sees_the_invite_with_its_reason(house: House) -> None:
    person = await house.invited()
    state = (await person.sync())["rooms"]["invite"][house.room]["invite_state"]["events"]

    (own,) = [event for event in state if event.get("state_key") == person.user_id]
    assert own["content"]["reason"] == "You asked to join. Accept to come in."
    assert own["sender"] == house.ground.bot.user_id


async def test_a_name_with_a_capital_letter_finds_its_account(house: House) -> None:
    person = await house.somebody()
    outcome = await house.knock("@V" + person.user_id.removeprefix("@v"))

    assert outcome == ("invited", "invited")
    assert await house.membership(person) == "invite"


async def test_somebody_who_does_not_exist_fails(house: House) -> None:
    assert await house.knock("@nobodyofthatname:knock.test") == ("failed", "no_such_user")


async def test_a_member_is_already_a_member(house: House) -> None:
    person = await house.somebody()
    await house.owner.invite(house.room, person.user_id)
    await person.join(house.room)

    assert await house.knock(person.user_id) == ("already_member", "already_member")


async def test_somebody_who_has_joined_meanwhile_may_knock_again_without_harm(house: House) -> None:
    person = await house.invited()
    await person.join(house.room)

    assert (await house.knock(person.user_id))[0] in ("invited", "joined", "already_member")
    assert await house.membership(person) == "join"


async def test_somebody_banned_fails(house: House) -> None:
    person = await house.somebody()
    await house.owner.ban(house.room, person.user_id)

    assert await house.knock(person.user_id) == ("failed", "banned")


async def test_somebody_who_lets_nobody_invite_them_fails(house: House) -> None:
    person = await house.somebody()
    await person.set_invite_block()

    assert await house.knock(person.user_id) == ("failed", "invites_blocked")


async def test_a_knock_to_an_idle_house_is_an_invite_soon(house: House) -> None:
    times = []
    for _ in range(5):
        person = await house.somebody()
        since = (await person.sync())["next_batch"]
        waiting = asyncio.create_task(person.sync(since, timeout=10_000))
        await asyncio.sleep(0.2)
        begin = time.monotonic()
        async with house.server.client() as client:
            await client.post(FORM, json={"Matrix ID": person.user_id})
        assert house.room in (await waiting)["rooms"]["invite"]
        times.append(round(1000 * (time.monotonic() - begin)))

    print(f"knock to visible invite, milliseconds: {sorted(times)} (goal: under 150)")


# Out


async def test_blocking_withdraws_an_open_invite(house: House) -> None:
    person = await house.invited()
    said = await house.admin("POST", "/block_user", user_id=person.user_id, reason="spam")

    assert said["removal"] == "invite_withdrawn"
    assert await house.membership(person) == "leave"


async def test_blocking_kicks_a_member(house: House) -> None:
    person = await house.invited()
    await person.join(house.room)
    said = await house.admin("POST", "/block_user", user_id=person.user_id)

    assert said["removal"] == "kicked"
    assert await house.membership(person) == "leave"


@pytest.mark.promise(3)
async def test_somebody_blocked_is_not_invited_again(house: House) -> None:
    person = await house.somebody()
    await house.admin("POST", "/block_user", user_id=person.user_id)

    assert await house.knock(person.user_id) == ("refused", "blocked")
    assert await house.membership(person) is None


async def test_a_rescinded_invite_is_gone_from_the_persons_own_list(house: House) -> None:
    person = await house.invited()
    before = await person.sync()
    said = await house.admin("POST", "/rescind_invite", user_id=person.user_id)
    after = (await person.sync(before["next_batch"], timeout=5000))["rooms"]

    assert said["status"] == "rescinded"
    assert house.room in before["rooms"]["invite"]
    assert house.room in after["leave"]


async def test_a_held_knock_that_is_approved_becomes_an_invite(house: House) -> None:
    person = await house.invited()
    await house.admin("POST", "/rescind_invite", user_id=person.user_id)
    held = await house.knock(person.user_id)
    await house.admin("POST", "/approve", user_id=person.user_id)
    await wait_until(lambda: _is(house, person, "invite"))

    assert held == ("held", "before")


async def test_a_bot_that_loses_its_power_loses_no_knock(synapse: Synapse, tmp_path: Path) -> None:
    ground = await Ground.of(synapse)
    with ground.build(tmp_path) as server:
        house = House(ground, server)
        await house.server.wait_ready("/readyz")
        levels = await house.owner.state(house.room, "m.room.power_levels")
        await house.owner.put_state(house.room, "m.room.power_levels", {**levels, "users": {}, "invite": 50})
        person = await house.somebody()
        async with house.server.client() as client:
            await client.post(FORM, json={"Matrix ID": person.user_id})
        await wait_until(lambda: "make it a moderator" in house.server.output)
        waiting = await house.admin("GET", "/pending_invites")

        assert [knock["state"] for knock in waiting["pending_invites"]] == ["admitted"]


# A homeserver with its own limits, and one that is away

PEOPLE = [f"guest{number}" for number in range(12)]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver as it comes: ten invites at once into a room, then one in about three seconds."""
    directory = tmp_path_factory.mktemp("limited")
    with Synapse.start(directory, limits="default", seed_users=PEOPLE) as running:
        yield running


@pytest.mark.synapse
@pytest.mark.promise(1)
async def test_a_homeserver_that_is_away_at_the_start_is_found_when_it_comes(
    limited: Synapse, tmp_path: Path
) -> None:
    ground = await Ground.of(limited)
    with ground.build(tmp_path) as server:
        house = House(ground, server)
        person = f"@{PEOPLE[-1]}:knock.test"
        limited.stop()
        await house.server.wait_ready("/healthz")
        async with house.server.client() as client:
            stored = await client.post(FORM, json={"Matrix ID": person})
            not_ready = await client.get("/readyz")
        await asyncio.to_thread(limited.start_again)
        await house.server.wait_ready("/readyz", within=10)
        await wait_until(lambda: _invited(house, [person]), within=10)

        assert (stored.status_code, not_ready.status_code) == (200, 503)


@pytest.mark.synapse
@pytest.mark.promise(1)
async def test_twelve_at_once_outlast_the_limits_of_a_homeserver(limited: Synapse, tmp_path: Path) -> None:
    ground = await Ground.of(limited)
    with ground.build(tmp_path) as server:
        house = House(ground, server)
        await house.server.wait_ready("/readyz")
        people = [f"@{name}:knock.test" for name in PEOPLE]
        async with house.server.client() as client:
            await asyncio.gather(*(client.post(FORM, json={"Matrix ID": person}) for person in people))
        await wait_until(lambda: _invited(house, people), within=30, every=0.2)

        assert "was rate limited" in house.server.output
        assert '"state": "failed"' not in house.server.output


async def _invited(house: House, people: list[str]) -> bool:
    return all([await house.owner.membership(house.room, person) == "invite" for person in people])
