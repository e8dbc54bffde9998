"""Policy lists on a real homeserver: as two processes on SQLite, as two replicas on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.chaos.knockers import TOKEN, environment
from tests.integration.command import Ended, mknock
from tests.integration.house import API_KEY, House, Way, opened
from tests.integration.test_after_the_invite import turns
from tests.kit.account import Account, Json
from tests.kit.cast import new_name
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, kill, wait_until
from tests.kit.synapse import Synapse

SOON = 10.0
"""Seconds within which a rule counts; it takes one or two."""


@pytest.fixture(params=["two processes on SQLite", "two replicas on PostgreSQL"])
def way(request: pytest.FixtureRequest) -> Way:
    if "SQLite" in request.param:
        return Way(workers=2)
    postgres: Postgres = request.getfixturevalue("postgres")
    return Way(replicas=2, postgres=postgres, database=postgres.wipe(request.getfixturevalue("database")))


@dataclass(frozen=True)
class Keeper:
    """A moderator elsewhere, and the list they keep."""

    account: Account
    room: str
    alias: str

    @classmethod
    async def hired(cls, synapse: Synapse) -> Keeper:
        account, name = await synapse.user(new_name("keeper")), new_name("list")
        room = await account.create_room(preset="public_chat", room_alias_name=name)
        return cls(account, room, f"#{name}:{synapse.server_name}")

    async def ban(self, entity: str, *, kind: str = "m.policy.rule.user", **content: Any) -> None:
        told = {"entity": entity, "recommendation": "m.ban", "reason": "spam"} | content
        await self.account.put_state(self.room, kind, told, state_key=f"rule:{entity}")

    async def pardon(self, entity: str, *, kind: str = "m.policy.rule.user") -> None:
        await self.account.put_state(self.room, kind, {}, state_key=f"rule:{entity}")

    async def rules(self) -> dict[str, Json]:
        """What is in force in the room, by state key."""
        answer = await self.account.call("GET", "rooms", self.room, "state")
        return {
            event["state_key"]: event["content"]
            for event in answer.json()
            if event["type"].startswith("m.policy.rule.") and event["content"]
        }


def settings(house: House, way: Way) -> dict[str, str]:
    return environment(house.synapse.url, house.bot, house.room, API_KEY=API_KEY, **way.settings())


async def command(house: House, way: Way, home: Path, *arguments: str) -> Ended:
    return await mknock(home / "replica0", settings(house, way), *arguments)


async def subscribed(house: House, way: Way, home: Path, keeper: Keeper, *more: str) -> Ended:
    ended = await command(house, way, home, "subscribe", keeper.alias, "--name", "spam", "--yes", *more)
    assert ended.code == 0, ended.err
    return ended


async def may_come(house: House, person: Account) -> bool:
    """Whether somebody who knocks is invited."""
    async with house.server.client() as client:
        answer = await client.post(
            f"/invite_from_form?token={TOKEN}",
            json={"Matrix ID": person.user_id},
            headers={"Prefer": "wait=10"},
        )
    return bool(answer.json()["outcome"] == "invited")


async def listed(house: House) -> list[str]:
    """Whom the rules of lists name, as Knock has them."""
    async with house.server.client(token=API_KEY) as client:
        there = (await client.get("/blocklist")).json()["blocklist"]
    return [rule["user_id"] for rule in there if rule["source"].startswith("list:")]


async def lists_are(house: House, *entities: str) -> bool:
    return sorted(await listed(house)) == sorted(entities)


@pytest.mark.promise(3)
async def test_a_rule_of_a_list_counts_within_seconds(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    keeper = await Keeper.hired(synapse)
    async with opened(synapse, tmp_path, way) as house:
        await subscribed(house, way, tmp_path, keeper)
        member, invited, outside = await house.joined(), await house.somebody(), await house.somebody()
        await house.knock(invited)
        began = time.monotonic()
        for person in (member, invited, outside):
            await keeper.ban(person.user_id)
        await wait_until(partial(house.is_gone, member), within=SOON)
        print(f"rule to removal of a member: {time.monotonic() - began:.2f} s")
        await wait_until(partial(house.is_gone, invited), within=SOON)
        everybody = [person.user_id for person in (member, invited, outside)]
        await wait_until(partial(lists_are, house, *everybody), within=SOON)

        assert not await may_come(house, outside)


async def test_when_the_rule_goes_people_may_knock_again(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    keeper = await Keeper.hired(synapse)
    async with opened(synapse, tmp_path, way) as house:
        member = await house.joined()
        await keeper.ban(member.user_id)
        await subscribed(house, way, tmp_path, keeper)
        await wait_until(partial(house.is_gone, member), within=SOON)
        await asyncio.sleep(1.0)  # every process reads the rules twice a second
        refused = not await may_come(house, member)
        await keeper.pardon(member.user_id)

        assert refused
        await wait_until(partial(may_come, house, member), within=SOON, every=0.5)


@pytest.mark.parametrize("kind", ["m.room.rule.user", "org.matrix.mjolnir.rule.user"])
async def test_legacy_types_are_followed(synapse: Synapse, tmp_path: Path, kind: str) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        before, later = await house.joined(), await house.joined()
        await keeper.ban(before.user_id, kind=kind, recommendation="org.matrix.mjolnir.ban")
        await subscribed(house, way, tmp_path, keeper)
        await wait_until(partial(house.is_gone, before), within=SOON)
        await keeper.ban(later.user_id, kind=kind, recommendation="org.matrix.mjolnir.ban")

        await wait_until(partial(house.is_gone, later), within=SOON)


async def test_the_end_of_a_subscription_ends_its_rules(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    keeper = await Keeper.hired(synapse)
    async with opened(synapse, tmp_path, way) as house:
        person = await house.somebody()
        await keeper.ban(person.user_id)
        await subscribed(house, way, tmp_path, keeper)
        await wait_until(partial(lists_are, house, person.user_id), within=SOON)
        ended = await command(house, way, tmp_path, "unsubscribe", "spam")

        assert "1 rules are gone" in ended.out
        await wait_until(partial(may_come, house, person), within=SOON, every=0.5)


async def test_the_room_of_a_list_that_is_no_longer_wanted_is_left(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    keeper = await Keeper.hired(synapse)
    async with opened(synapse, tmp_path, way) as house:
        await subscribed(house, way, tmp_path, keeper)
        was = await keeper.account.membership(keeper.room, house.bot.user_id)
        await command(house, way, tmp_path, "unsubscribe", "spam")

        await wait_until(partial(is_outside, keeper, house), within=SOON)
        assert was == "join"
        assert keeper.room not in house.output
        await subscribed(house, way, tmp_path, keeper)
        assert not await is_outside(keeper, house)


async def is_outside(keeper: Keeper, house: House) -> bool:
    return await keeper.account.membership(keeper.room, house.bot.user_id) == "leave"


@pytest.mark.promise(3)
async def test_after_a_restart_rules_count_though_the_homeserver_is_away(
    synapse: Synapse, tmp_path: Path
) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        person = await house.somebody()
        await keeper.ban(person.user_id)
        await subscribed(house, way, tmp_path, keeper)
        await wait_until(partial(lists_are, house, person.user_id), within=SOON)
        house.server.kill9()
    away = settings(house, way) | {"MATRIX_BASE_URL": "http://127.0.0.1:1"}
    with Server.uvicorn(tmp_path / "replica0", away) as server:
        await server.wait_ready("/healthz")
        async with server.client() as client:
            await client.post(f"/invite_from_form?token={TOKEN}", json={"Matrix ID": person.user_id})
        with contextlib.closing(sqlite3.connect(tmp_path / "replica0" / "data" / "knock.db")) as store:
            (knock,) = store.execute("SELECT state, reason FROM knocks WHERE user_id = ?", [person.user_id])

    assert knock == ("refused", "blocked")


async def test_with_the_token_of_somebodys_client_the_comparison_follows_alone(
    synapse: Synapse, tmp_path: Path
) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    room = await synapse.new_room(owner, bot=bot)
    await bot.publish_device()
    env = environment(synapse.url, bot, room, API_KEY=API_KEY, INVITE_CHECK_INTERVAL="5")
    (tmp_path / "replica0").mkdir()
    with Server.uvicorn(tmp_path / "replica0", env) as server:
        await server.wait_ready("/readyz")
        house = House(synapse, owner, bot, room, [server])
        await subscribed(house, way, tmp_path, keeper)
        member = await house.joined()
        await keeper.ban(member.user_id)

        await wait_until(partial(house.is_gone, member), within=15.0)


# Publishing


@pytest.mark.parametrize("by", ["alias", "id"])
async def test_what_knock_blocks_is_published(synapse: Synapse, tmp_path: Path, way: Way, by: str) -> None:
    keeper = await Keeper.hired(synapse)
    named = keeper.alias if by == "alias" else keeper.room
    async with opened(synapse, tmp_path, way, POLICY_LIST_ROOM=named) as house:
        await house.bot.join(keeper.room)
        await empower(keeper, house.bot)
        person = await house.somebody()
        began = time.monotonic()
        await house.admin("/block_user", user_id=person.user_id, reason="spam")
        await wait_until(keeper.rules, within=SOON)
        print(f"block to policy event: {time.monotonic() - began:.2f} s")
        there = await keeper.rules()
        await house.admin("/unblock_user", user_id=person.user_id)

        await wait_until(partial(is_empty, keeper), within=SOON)
        assert there == {
            f"knock:{person.user_id}": {
                "entity": person.user_id,
                "recommendation": "m.ban",
                "reason": "spam",
            }
        }
        assert keeper.room not in house.output


async def empower(keeper: Keeper, bot: Account) -> None:
    levels = await keeper.account.state(keeper.room, "m.room.power_levels")
    levels["users"][bot.user_id] = 50
    await keeper.account.put_state(keeper.room, "m.room.power_levels", levels)


async def is_empty(keeper: Keeper) -> bool:
    return not await keeper.rules()


async def test_two_knocks_share_their_blocks(synapse: Synapse, tmp_path: Path) -> None:
    """What one publishes the other is subscribed to."""
    keeper, way = await Keeper.hired(synapse), Way()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        opened(synapse, tmp_path / "one", way, POLICY_LIST_ROOM=keeper.alias) as one,
        opened(synapse, tmp_path / "two", way) as two,
    ):
        await one.bot.join(keeper.room)
        await empower(keeper, one.bot)
        await subscribed(two, way, tmp_path / "two", keeper)
        member = await two.joined()
        await one.admin("/block_user", user_id=member.user_id, reason="spam")

        await wait_until(partial(two.is_gone, member), within=SOON)


# By hand


async def test_the_preview_shows_whom_a_list_would_hit(synapse: Synapse, tmp_path: Path) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        member = await house.joined()
        for entity in (member.user_id, house.bot.user_id, "*", f"@*:{synapse.server_name}"):
            await keeper.ban(entity, reason="bad\x1b[2J\npeople")
        shown = await command(house, way, tmp_path, "subscribe", keeper.alias, "--preview")
        there = await command(house, way, tmp_path, "lists")

    assert shown.code == 0
    assert "The list has 2 rules that Knock can use: 2 people." in shown.out
    assert "left out: 2 rules that name everybody" in shown.out
    assert f"{member.user_id}, join: by {member.user_id} (bad [2J people)" in shown.out
    assert f"{house.bot.user_id}, join" in shown.out
    assert "Knock itself: would be spared" in shown.out
    assert "\x1b" not in shown.out
    assert keeper.room not in shown.out + shown.err
    assert there.out == "Knock is subscribed to no policy list.\n"


async def test_what_is_left_out_of_a_list_is_shown(synapse: Synapse, tmp_path: Path) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        for entity in ("@mallory:evil.example", "*", "@" + "a*" * 9 + ":b", "no\x1b[2Jbody"):
            await keeper.ban(entity)
        await keeper.ban("!secret:evil.example", kind="m.policy.rule.room")
        await subscribed(house, way, tmp_path, keeper)
        await wait_until(partial(lists_are, house, "@mallory:evil.example"), within=SOON)
        counted = await command(house, way, tmp_path, "lists")
        shown = await command(house, way, tmp_path, "lists", "spam")
        machine = await command(house, way, tmp_path, "lists", "spam", "--json")
        wrong = await command(house, way, tmp_path, "lists", "nothing")
        house.server.kill9()
        env = settings(house, way) | {"MATRIX_BASE_URL": "http://127.0.0.1:1"}
        away = await mknock(tmp_path / "replica0", env, "lists")

    assert "1 rules" in counted.out
    assert "left out: 1 patterns with too many wildcards" in counted.out
    assert "*: rules that name everybody" in shown.out
    assert f"by {keeper.account.user_id}" in shown.out
    assert "\x1b" not in shown.out + machine.out
    assert "secret" not in shown.out + machine.out
    assert len(json.loads(machine.out)[0]["entries_left_out"]) == 4
    assert (wrong.code, "There is no list of that name" in wrong.err) == (1, True)
    assert (away.code, "1 rules" in away.out, "not known" in away.out) == (0, True, True)


async def test_who_does_not_say_yes_is_not_subscribed(synapse: Synapse, tmp_path: Path) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        home = tmp_path / "replica0"
        arguments = ("subscribe", keeper.alias, "--name", "spam")
        no = await mknock(home, settings(house, way), *arguments, typed="n\n")
        none = await command(house, way, tmp_path, "lists")
        yes = await mknock(home, settings(house, way), *arguments, typed="y\n")
        one = await command(house, way, tmp_path, "lists")

    assert (no.code, "Nothing was changed" in no.out, "no policy list" in none.out) == (0, True, True)
    assert (yes.code, one.out.startswith(f"spam  {keeper.alias}\n")) == (0, True)


async def test_our_own_list_is_refused(synapse: Synapse, tmp_path: Path) -> None:
    keeper, way = await Keeper.hired(synapse), Way()
    async with opened(synapse, tmp_path, way) as house:
        env = settings(house, way) | {"POLICY_LIST_ROOM": keeper.room}
        ended = await mknock(tmp_path / "replica0", env, "subscribe", keeper.alias, "--name", "x", "--yes")

    assert ended.code != 0
    assert "POLICY_LIST_ROOM" in ended.err


async def test_whoever_is_killed_and_whoever_blocks_meanwhile_nothing_is_lost(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    keeper = await Keeper.hired(synapse)
    theirs = [f"@listed{number}:evil.example" for number in range(40)]
    ours = [f"@blocked{number}:evil.example" for number in range(40)]
    async with opened(synapse, tmp_path, way) as house:
        await subscribed(house, way, tmp_path, keeper)
        (leader,) = turns(house)
        for number, (listed_one, blocked_one) in enumerate(zip(theirs, ours, strict=True)):
            await asyncio.gather(keeper.ban(listed_one), house.admin("/block_user", user_id=blocked_one))
            if number == 20:
                kill(leader)
                await wait_until(partial(answers, house), within=15.0)
        await wait_until(partial(lists_are, house, *theirs), within=20.0)
        async with house.server.client(token=API_KEY) as client:
            there = (await client.get("/blocklist")).json()

    assert sorted(rule["user_id"] for rule in there["blocklist"]) == sorted(theirs + ours)


async def answers(house: House) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        async with house.server.client() as client:
            return (await client.get("/healthz")).status_code == 200
    return False
