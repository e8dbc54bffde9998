"""The rules of policy lists follow their rooms, whatever happens on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.policy_room import KEEPER, SERVER_RULE, PolicyRoom, subscribed
from tests.kit.workshop import BOT, Process, Workshop

from mknock.domain.knocks import KnockState
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule
from mknock.ports import Entry, RulesChanged
from mknock.services.list_following import AGAIN, ListFollower, drop_rules
from mknock.services.sessions import OwnSession
from mknock.telemetry import configure_logging
from mknock.workers.watch import Watch

EVERY = 300.0
MALLORY = "@mallory:evil.example"
TRUDY = "@trudy:evil.example"


async def no_one(*_: object) -> None:
    return None


@dataclass
class Following:
    """A process that follows the lists, as it is after a restart."""

    shop: Workshop
    process: Process
    changes: list[RulesChanged] = field(default_factory=list)
    elsewhere: int = 0
    follower: ListFollower = field(init=False)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        process = self.process
        self.follower = ListFollower(
            process.store,
            process.homeserver,
            process.clock,
            every=EVERY,
            on_rooms=self._elsewhere,
            on_change=self._changed,
        )
        self.watch = Watch(
            process.store,
            process.homeserver,
            process.doors,
            process.room_watch,
            OwnSession(process.homeserver, signed_in=True),
            lists=self.follower,
            hurry=no_one,
            on_change=no_one,
        )

    async def tick(self) -> int:
        return await self.follower.tick(self.shop.clock())

    async def hear(self) -> None:
        await self.watch.tick(self.shop.clock())

    async def rules(self) -> set[str]:
        return {rule.entity for rule in await self.shop.store.rules()}

    async def _changed(self, done: RulesChanged) -> None:
        self.changes.append(done)
        await self.shop.moderation.restore(done.dropped, actor="knock")

    def _elsewhere(self) -> None:
        self.elsewhere += 1
        self.watch.listen_elsewhere()


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
def room(shop: Workshop) -> PolicyRoom:
    """A policy room with one rule, in which Knock is."""
    room = PolicyRoom.made(shop.fake, BOT)
    room.write(MALLORY)
    return room


@pytest.fixture
async def following(shop: Workshop, room: PolicyRoom) -> Following:
    """A follower that has compared the list and heard where it is."""
    await subscribed(shop.store, room)
    following = Following(shop, shop)
    await following.tick()
    await following.hear()  # for the first time, which leads to one comparison more
    await following.tick()
    return following


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing happens, nobody waits long for it."""
    monkeypatch.setattr("mknock.workers.watch.LONG_POLL", 0.05)


# The whole room


async def test_a_new_list_is_read_at_once(following: Following) -> None:
    assert await following.rules() == {MALLORY}
    assert [len(done.added) for done in following.changes] == [1]


async def test_rules_bear_the_name_of_their_list(following: Following) -> None:
    (rule,) = await following.shop.store.rules()

    assert (rule.source, rule.is_own, rule.look_alikes) == ("list:spam", False, False)


async def test_a_list_is_compared_again_after_a_while_only(following: Following, room: PolicyRoom) -> None:
    room.write(TRUDY)
    early = await following.tick()
    following.shop.clock.forward(EVERY)

    assert (early, await following.tick()) == (0, 1)


async def test_a_comparison_drops_what_is_no_longer_there(following: Following, room: PolicyRoom) -> None:
    room.empty(MALLORY)
    following.shop.clock.forward(EVERY)
    await following.tick()

    assert await following.rules() == set()


async def test_what_is_as_it_was_is_not_written_again(following: Following) -> None:
    revision = await following.shop.store.rules_revision()
    following.shop.clock.forward(EVERY)
    await following.tick()

    assert await following.shop.store.rules_revision() == revision


async def test_a_rule_that_says_something_else_now_is_replaced(
    following: Following, room: PolicyRoom
) -> None:
    room.write(TRUDY, key=f"rule:{MALLORY}")
    following.shop.clock.forward(EVERY)
    await following.tick()

    assert await following.rules() == {TRUDY}


async def test_what_is_heard_and_what_is_compared_are_the_same(
    following: Following, room: PolicyRoom
) -> None:
    for number in range(20):
        room.write(f"@p{number}:evil.example")
    await following.hear()
    revision = await following.shop.store.rules_revision()
    following.shop.clock.forward(EVERY)

    assert await following.tick() == 0
    assert await following.shop.store.rules_revision() == revision


async def test_a_list_of_thousands_is_read(shop: Workshop, room: PolicyRoom) -> None:
    for number in range(1200):
        room.write(f"@p{number}:evil.example")
    await subscribed(shop.store, room)
    following = Following(shop, shop)

    assert await following.tick() == 1201
    assert len(await following.rules()) == 1201


# As it happens


async def test_a_new_rule_is_heard(following: Following, room: PolicyRoom) -> None:
    room.write(TRUDY)
    await following.hear()

    assert await following.rules() == {MALLORY, TRUDY}
    assert [rule.entity for rule in following.changes[-1].added] == [TRUDY]


async def test_a_rule_that_is_taken_back_is_heard(following: Following, room: PolicyRoom) -> None:
    room.empty(MALLORY)
    await following.hear()

    assert await following.rules() == set()


async def test_of_several_changes_of_one_rule_the_last_counts(following: Following, room: PolicyRoom) -> None:
    room.empty(MALLORY)
    room.write(TRUDY, key=f"rule:{MALLORY}")
    room.write("*.evil.example", kind=SERVER_RULE)
    room.empty("*.evil.example", kind=SERVER_RULE)
    await following.hear()

    assert await following.rules() == {TRUDY}


async def test_more_changes_than_an_answer_shows_lead_to_a_comparison(
    following: Following, room: PolicyRoom
) -> None:
    for number in range(150):
        room.write(f"@p{number}:evil.example")
    await following.hear()
    await following.tick()

    assert len(await following.rules()) == 151


async def test_a_forgotten_position_leads_to_a_comparison(following: Following, room: PolicyRoom) -> None:
    room.write(TRUDY)
    following.shop.fake.fail("sync", status=400, body={"errcode": "M_UNKNOWN"}, times=1)
    await following.hear()
    await following.tick()

    assert await following.rules() == {MALLORY, TRUDY}


async def test_what_happened_while_nobody_listened_is_heard_later(
    following: Following, room: PolicyRoom
) -> None:
    following.restart()
    room.write(TRUDY)
    await following.tick()

    assert await following.rules() == {MALLORY, TRUDY}


async def test_a_list_that_is_new_ends_the_waiting_for_news(following: Following) -> None:
    other = PolicyRoom.made(following.shop.fake, BOT)
    hearing = asyncio.create_task(following.hear())
    await asyncio.sleep(0.05)
    await subscribed(following.shop.store, other, "other")
    await following.tick()
    async with asyncio.timeout(2):
        await hearing
    other.write(TRUDY)
    await following.hear()

    assert TRUDY in await following.rules()


async def test_who_chats_in_a_policy_room_changes_nothing(following: Following, room: PolicyRoom) -> None:
    revision = await following.shop.store.rules_revision()
    room.room.join(BOT, {})
    room.room.write("m.room.name", {"name": "The list"})
    await following.hear()

    assert await following.shop.store.rules_revision() == revision


# Trouble


async def test_rules_stay_while_the_homeserver_is_away(following: Following) -> None:
    following.restart()
    following.shop.fake.fail(down=True)
    await following.tick()
    await following.hear()

    assert await following.rules() == {MALLORY}


async def test_rules_stay_when_knock_is_thrown_out(following: Following, room: PolicyRoom) -> None:
    room.room.kick(KEEPER, BOT, {})
    room.empty(MALLORY)
    await following.hear()
    following.shop.clock.forward(EVERY)
    await following.tick()

    assert await following.rules() == {MALLORY}


async def test_what_was_missed_outside_is_made_up_for(following: Following, room: PolicyRoom) -> None:
    room.room.kick(KEEPER, BOT, {})
    await following.hear()
    await following.tick()
    room.write(TRUDY)
    room.room.invite(KEEPER, BOT, {}, reach=lambda: None)
    room.room.join(BOT, {})
    await following.hear()
    await following.tick()

    assert await following.rules() == {MALLORY, TRUDY}


async def test_a_room_that_cannot_be_read_is_tried_again_soon(following: Following, room: PolicyRoom) -> None:
    following.shop.clock.forward(EVERY)
    following.shop.fake.fail("state", status=500, times=1)
    room.write(TRUDY)
    await following.tick()
    following.shop.clock.forward(AGAIN)
    await following.tick()

    assert await following.rules() == {MALLORY, TRUDY}


async def test_a_room_that_shows_nothing_takes_no_rule_away(following: Following) -> None:
    following.shop.clock.forward(EVERY)
    following.shop.fake.fail("state", status=200, body=[])
    await following.tick()

    assert await following.rules() == {MALLORY}


async def test_one_room_that_cannot_be_read_does_not_hold_up_another(following: Following) -> None:
    outside = PolicyRoom.made(following.shop.fake)
    other = PolicyRoom.made(following.shop.fake, BOT)
    other.write(TRUDY)
    await subscribed(following.shop.store, outside, "outside", at=1.0)
    await subscribed(following.shop.store, other, "other", at=2.0)
    await following.tick()

    assert await following.rules() == {MALLORY, TRUDY}


@pytest.mark.promise(5)
async def test_no_log_line_names_the_room(
    following: Following, room: PolicyRoom, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO", "json")
    room.room.kick(KEEPER, BOT, {})
    following.shop.clock.forward(EVERY)
    await following.tick()
    root.handlers[:] = handlers
    root.setLevel(level)
    out, err = capsys.readouterr()

    assert "spam" in out + err
    assert room.room.room_id.lstrip("!") not in out + err


# Removing


async def unsubscribe(following: Following) -> PolicyList:
    entry = Entry(at=0.0, actor="cli", action="unsubscribe")
    gone = await following.shop.store.remove_list("spam", entry)
    assert gone is not None
    return gone


async def test_the_rules_of_a_removed_list_go(following: Following) -> None:
    gone = await unsubscribe(following)
    dropped = await drop_rules(following.shop.store, gone, Entry(at=0.0, actor="cli", action="unsubscribe"))

    assert (len(dropped), await following.rules()) == (1, set())


async def test_what_was_being_written_while_the_list_was_removed_goes_as_well(following: Following) -> None:
    await unsubscribe(following)
    await following.tick()

    assert await following.rules() == set()


async def test_after_a_restart_too(following: Following) -> None:
    await unsubscribe(following)
    following.restart()
    await following.tick()

    assert await following.rules() == set()


async def removed_by_a_list(following: Following, room: PolicyRoom) -> str:
    """Somebody who was invited, came, and was put out for a rule of the list."""
    (person,) = following.shop.people(1)
    await following.shop.delivered(person)
    following.shop.room.join(person, {})
    await following.hear()
    room.write(person)
    await following.hear()
    await following.shop.watchdog.scan(following.shop.clock())
    assert following.shop.room.membership(person) == "leave"
    return person


@pytest.mark.usefixtures("impatient")
async def test_who_was_removed_for_a_rule_that_is_gone_may_knock_again(
    following: Following, room: PolicyRoom
) -> None:
    person = await removed_by_a_list(following, room)
    room.empty(person)
    await following.hear()

    assert await following.shop.outcome(person) is KnockState.ADMITTED


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("heard", [True, False])
async def test_who_was_removed_for_a_rule_that_names_another_now_may_knock_again(
    following: Following, room: PolicyRoom, heard: bool
) -> None:
    person = await removed_by_a_list(following, room)
    room.write(TRUDY, key=f"rule:{person}")
    if heard:
        await following.hear()
    else:
        following.shop.clock.forward(EVERY)
        await following.tick()

    assert await following.shop.outcome(person) is KnockState.ADMITTED


@pytest.mark.usefixtures("impatient")
async def test_who_was_removed_for_a_list_that_is_gone_may_knock_again(
    following: Following, room: PolicyRoom
) -> None:
    person = await removed_by_a_list(following, room)
    await unsubscribe(following)
    await following.tick()

    assert await following.shop.outcome(person) is KnockState.ADMITTED


@pytest.mark.usefixtures("impatient")
async def test_a_removed_list_is_not_followed(following: Following, room: PolicyRoom) -> None:
    await unsubscribe(following)
    await following.tick()
    room.write(TRUDY)
    await following.hear()

    assert await following.rules() == set()


async def test_a_list_under_the_name_of_another_takes_its_place(following: Following) -> None:
    await unsubscribe(following)
    other = PolicyRoom.made(following.shop.fake, BOT)
    other.write(TRUDY)
    await subscribed(following.shop.store, other, at=1.0)
    await following.tick()

    assert await following.rules() == {TRUDY}


async def test_the_owners_own_rules_are_left_alone(following: Following) -> None:
    await following.shop.add_rule(MALLORY)
    await unsubscribe(following)
    await following.tick()

    assert [rule.is_own for rule in await following.shop.store.rules()] == [True]


# Two processes


async def test_another_process_goes_on_where_one_has_died(following: Following, room: PolicyRoom) -> None:
    async with following.shop.another() as process:
        second = Following(following.shop, process)
        room.write(TRUDY)
        room.empty(MALLORY)
        await second.tick()
        await second.hear()

        assert await second.rules() == {TRUDY}


@pytest.mark.usefixtures("impatient")
async def test_two_at_once_and_changes_from_all_sides_lose_nothing(
    following: Following, room: PolicyRoom
) -> None:
    """For a moment two may have the turn; and moderators go on blocking."""
    shop = following.shop
    async with shop.another() as process:
        second = Following(shop, process)
        for number in range(30):
            room.write(f"@p{number}:evil.example")
            await asyncio.gather(
                following.hear() if number % 2 else second.hear(),
                second.tick() if number % 2 else following.tick(),
                shop.add_rule(f"@own{number}:evil.example"),
            )
        shop.clock.forward(EVERY)
        await asyncio.gather(following.tick(), second.tick())
        for each in (shop.book, process.book):
            await each.refresh()

        wanted = {f"@{who}{n}:evil.example" for n in range(30) for who in ("p", "own")} | {MALLORY}
        assert await following.rules() == wanted
        assert {rule.entity for rule in shop.book.rules()} == wanted
        assert {rule.entity for rule in process.book.rules()} == wanted


# Which rules


async def test_what_is_too_wide_is_left_out(shop: Workshop, room: PolicyRoom) -> None:
    room.write("*")
    room.write("*.test", kind=SERVER_RULE)
    await subscribed(shop.store, room)
    following = Following(shop, shop)
    await following.tick()

    assert await following.rules() == {MALLORY}


async def test_unless_the_owner_allows_it(shop: Workshop, room: PolicyRoom) -> None:
    room.write("@*:knock.test")
    await subscribed(shop.store, room, allow_wide=True)
    following = Following(shop, shop)
    await following.tick()

    assert await following.rules() == {MALLORY, "@*:knock.test"}


async def test_look_alikes_are_held_where_the_owner_wants_it(shop: Workshop, room: PolicyRoom) -> None:
    await subscribed(shop.store, room, look_alikes=True)
    following = Following(shop, shop)
    await following.tick()
    found: list[Rule] = await shop.store.rules()

    assert [rule.look_alikes for rule in found] == [True]
