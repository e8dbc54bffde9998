"""Proving an account in a direct room: who is talked with, what counts as a proof, and what the bot lets be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.proving import Proving, talks_of
from tests.kit.sealing import Sealing
from tests.kit.workshop import BOT

from mknock.domain.doors import Policy
from mknock.domain.knocks import MEMBERS, Knock, KnockState, Reason
from mknock.ports import Invitation, Membership, News
from mknock.services import proof_texts as texts
from mknock.services.open_invitations import LIST_EVERY, MOST
from mknock.services.proof_codes import shown
from mknock.services.proof_talks import (
    JOIN_PATIENCE,
    KEY_PATIENCE,
    TALK_PATIENCE,
    TRY_AGAIN,
)
from mknock.services.sessions import OwnSession
from mknock.workers.watch import Watch

S = KnockState
DAY = 86400.0


@pytest.fixture
async def proving(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Proving]:
    async with Proving.opened(fake, tmp_path) as proving:
        yield proving


async def opened(proving: Proving, name: str = "carol", **wishes: object) -> tuple[Account, Knock, str, str]:
    """Somebody knocks and begins a chat, which the bot has entered; with the code and the room."""
    person = proving.person(name)
    knock, code = await proving.knock(person.user_id, **wishes)  # type: ignore[arg-type]
    room = await proving.chat(person)
    await proving.work()
    return person, knock, code, room


async def sent(proving: Proving, person: Account, room: str, *said: str) -> list[str]:
    """Somebody says something; what the bot has said by then."""
    for text in said:
        await proving.say(person, room, text)
    await proving.work()
    return proving.said(room)


# --- the way


async def test_whoever_sends_the_code_is_admitted_and_invited(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    assert (knock.state, knock.reason) == (S.HELD, Reason.UNPROVEN)
    said = await sent(proving, person, room, shown(code))

    after = await proving.record(knock)
    assert (after.state, after.proven) == (S.ADMITTED, True)
    assert said == [texts.SEND_CODE[0], texts.LET_IN[0]]
    await proving.shop.work()
    assert proving.shop.room.membership(person.user_id) == "invite"


async def test_the_direct_room_is_left_and_forgotten(proving: Proving) -> None:
    person, _, code, room = await opened(proving)
    assert proving.bot_is(room) == "join"
    await sent(proving, person, room, code)

    assert proving.bot_is(room) == "leave"
    assert await proving.rooms() == []
    assert len(proving.shop.fake.calls_of("forget")) == 1


@pytest.mark.parametrize(
    "dress", ["{low}", "{a} {b}", " {a}–{b}. ", "my code is: {a} {b}", "{spaced}", "{low}\n"]
)
async def test_the_code_is_taken_in_any_dress(proving: Proving, dress: str) -> None:
    person, knock, code, room = await opened(proving)
    text = dress.format(low=code.lower(), a=code[:4].lower(), b=code[4:], spaced=" ".join(code))
    await sent(proving, person, room, text)

    assert (await proving.record(knock)).proven


async def test_a_form_that_shows_no_code_is_answered_for_by_a_word(proving: Proving) -> None:
    person, knock, _, room = await opened(proving, platform="tally")
    said = await sent(proving, person, room, "hello?", "yes")

    assert said == [texts.SAY_YES[0], texts.LET_IN[0]]
    assert (await proving.record(knock)).state is S.ADMITTED


async def test_a_word_is_no_code(proving: Proving) -> None:
    person, knock, _, room = await opened(proving)
    assert await sent(proving, person, room, "yes", "ja") == [texts.SEND_CODE[0]]
    assert not (await proving.record(knock)).proven


async def test_every_code_of_somebody_who_knocked_more_than_once_is_good(proving: Proving) -> None:
    person, knock, first, room = await opened(proving)
    _, second = await proving.knock(person.user_id)
    assert first != second
    await sent(proving, person, room, first)
    assert (await proving.record(knock)).proven


async def test_a_code_is_good_once(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    await sent(proving, person, room, code)
    before = await proving.record(knock)
    again = await proving.chat(person)
    await proving.work()
    said = await sent(proving, person, again, code)

    assert said[-1] == texts.LET_IN[0]
    assert await proving.record(knock) == before


async def test_a_chat_that_was_begun_before_the_knock_is_entered_after_it(proving: Proving) -> None:
    person = proving.person()
    room = await proving.chat(person)
    await proving.work()
    assert proving.bot_is(room) == "invite"
    await proving.knock(person.user_id)
    await proving.after(TRY_AGAIN)
    assert proving.bot_is(room) == "join"


# --- who is not meant


@pytest.mark.promise(11)
async def test_a_strangers_invitation_is_left_alone(proving: Proving) -> None:
    await proving.knock("@carol:knock.test")
    room = await proving.chat(proving.person("mallory"))
    await proving.work()
    await proving.after(LIST_EVERY)

    assert proving.bot_is(room) == "invite"
    assert proving.shop.fake.calls_of("join") == []


@pytest.mark.promise(4)
async def test_the_right_code_from_another_account_counts_for_nobody(proving: Proving) -> None:
    _, knock, code, _ = await opened(proving)
    mallory, other, _, room = await opened(proving, "mallory")
    said = await sent(proving, mallory, room, code)

    assert said[-1] == texts.WRONG[0]
    assert not (await proving.record(knock)).proven
    assert not (await proving.record(other)).proven


async def test_somebody_else_in_the_room_is_not_heard(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    mallory = proving.person("mallory")
    await person.invite(room, mallory.user_id)
    await mallory.join(room)
    await sent(proving, mallory, room, code)

    assert not (await proving.record(knock)).proven


async def test_a_crowd_is_left_without_a_word(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await person.create_room(invite=[BOT, proving.person("mallory").user_id], is_direct=True)
    await proving.person("mallory").join(room)
    await proving.work()

    assert (proving.bot_is(room), proving.said(room)) == ("leave", [])


@pytest.mark.parametrize(
    "wishes",
    [{"is_direct": False, "name": "A big room"}, {"is_direct": False, "name": "\N{ZERO WIDTH SPACE}"}],
)
async def test_a_room_with_a_name_is_no_chat(proving: Proving, wishes: dict[str, object]) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person, **wishes)
    await proving.work()
    assert proving.bot_is(room) == "invite"


async def test_the_room_of_a_door_is_no_place_to_talk(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person)
    shop = proving.shop
    shop.doors.describe([*shop.doors.as_described, replace(shop.door, slug="new", room_id=room)])
    await proving.work()
    assert proving.bot_is(room) == "invite"


async def test_strangers_invitations_are_not_looked_up_again_and_again(
    proving: Proving, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    knocks_of = proving.shop.store.knocks_of

    async def noted(user_key: str, **more: object) -> list[Knock]:
        asked.append(user_key)
        return await knocks_of(user_key, **more)  # type: ignore[arg-type]

    await proving.chat(proving.person("mallory"))
    monkeypatch.setattr(proving.shop.store, "knocks_of", noted)
    await proving.work(20)
    assert asked == ["@mallory:knock.test"]


async def test_a_room_that_takes_long_to_enter_keeps_nobody_else_waiting(
    proving: Proving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mknock.services.proof_talks.ENTER_PATIENCE", 0.05)
    slow = proving.person("slow")
    await proving.knock(slow.user_id)
    stuck = await proving.chat(slow)
    proving.shop.fake.fail("join", hang=True, times=1)
    await proving.work(1)
    _, _, _, room = await opened(proving)
    assert (proving.bot_is(stuck), proving.bot_is(room)) == ("invite", "join")


async def test_a_chat_that_its_app_does_not_call_direct_is_entered(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person, is_direct=False)
    await proving.work()
    assert proving.bot_is(room) == "join"


async def test_without_a_door_that_wants_a_proof_nobody_is_talked_with(proving: Proving) -> None:
    shop = proving.shop
    shop.doors.describe([replace(shop.door, policy=Policy.REVIEW)])
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person)
    await proving.work()
    assert proving.bot_is(room) == "invite"
    assert shop.fake.calls_of("sync") != []


async def test_only_text_is_read(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    for number, content in enumerate(
        (
            {"msgtype": "m.notice", "body": code},
            {"msgtype": "m.text", "body": code and ["x"]},
            {"msgtype": 7, "body": code},
        )
    ):
        await person.must("PUT", "rooms", room, "send", "m.room.message", f"odd{number}", json=content)
    await proving.work()
    assert not (await proving.record(knock)).proven


# --- nothing is told


@pytest.mark.promise(6)
async def test_who_is_blocked_hears_exactly_what_who_is_held_hears(proving: Proving) -> None:
    heard = []
    await proving.shop.add_rule("@martin:knock.test")
    for name, state in (("martin77", S.HELD), ("martin", S.REFUSED)):
        person, knock, code, room = await opened(proving, name)
        assert knock.state is state
        said = await sent(proving, person, room, "AAAA-AAAA", code)
        heard.append((said, proving.bot_is(room)))

    assert heard[0] == heard[1]
    assert heard[0] == ([texts.SEND_CODE[0], texts.WRONG[0], texts.WAITS[0]], "leave")


@pytest.mark.promise(3)
async def test_a_code_of_somebody_blocked_since_lets_nobody_in(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    await proving.shop.add_rule(person.user_id)
    said = await sent(proving, person, room, code)

    assert said[-1] == texts.WAITS[0]
    assert (await proving.record(knock)).state is S.REFUSED


async def test_who_is_held_for_another_reason_waits_for_a_moderator_as_proven(proving: Proving) -> None:
    await proving.shop.add_rule("@martin:knock.test")
    person, knock, code, room = await opened(proving, "martin77")
    await proving.after(60)
    assert (await sent(proving, person, room, code))[-1] == texts.WAITS[0]
    after = await proving.record(knock)
    assert (after.state, after.reason, after.proven) == (S.HELD, Reason.LOOK_ALIKE, True)
    assert after.due_at == knock.due_at


async def test_who_turns_out_to_be_held_waits_as_long_as_others_do(proving: Proving) -> None:
    person, knock, code, room = await opened(proving, "martin77")
    assert knock.reason is Reason.UNPROVEN
    await proving.shop.add_rule("@martin:knock.test")
    await sent(proving, person, room, code)
    after = await proving.record(knock)
    assert after.reason is Reason.LOOK_ALIKE
    assert after.due_at == proving.shop.clock() + proving.shop.door.hold_lifetime


async def test_members_learn_that_they_are_in(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    proving.shop.room.set_membership("@owner:knock.test", person.user_id, "join")
    await sent(proving, person, room, code)
    await proving.shop.work()
    assert (await proving.record(knock)).state in MEMBERS
    again = await proving.chat(person)
    await proving.work()
    assert (await sent(proving, person, again, code))[-1] == texts.IS_IN[0]


# --- bounds


@pytest.mark.promise(4)
async def test_five_wrong_codes_an_hour_and_no_more(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    wrong = [f"WRNG{number:04}" for number in range(8)]
    said = await sent(proving, person, room, *wrong[:7], code)
    assert said[1:] == [texts.WRONG[0]] * 4 + [texts.TOO_MANY[0]]
    assert proving.bot_is(room) == "leave"

    again = await proving.chat(person)
    await proving.work()
    assert proving.bot_is(again) == "invite"
    await proving.after(3601)
    assert proving.bot_is(again) == "join"
    await sent(proving, person, again, code)
    assert (await proving.record(knock)).proven


@pytest.mark.promise(4)
async def test_another_chat_brings_no_other_five(proving: Proving) -> None:
    person, _, _, room = await opened(proving)
    await sent(proving, person, room, *(f"WRNG{number:04}" for number in range(4)))
    second = await proving.chat(person)
    await proving.work(6)
    said = await sent(proving, person, second, "WRNG7777")
    assert said == [texts.SEND_CODE[0], texts.TOO_MANY[0]]


async def test_ten_thousand_wrong_codes_get_five_answers(proving: Proving) -> None:
    person, _, _, room = await opened(proving)
    timeline = proving.shop.fake.rooms[room]
    for number in range(10_000):
        content = {"msgtype": "m.text", "body": f"{number:08}"}
        timeline.send(person.user_id, person.device_id, "m.room.message", f"w{number}", content)
    await proving.work(20)

    assert len(proving.said(room)) == 6
    assert proving.bot_is(room) == "leave"


async def test_a_huge_message_is_read_no_further_than_a_code_reaches(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    said = await sent(proving, person, room, "x" * 60_000 + f" {code}", "\0" * 100, " " * 300 + code)
    assert said == [texts.SEND_CODE[0]]
    assert not (await proving.record(knock)).proven
    await sent(proving, person, room, code)
    assert (await proving.record(knock)).proven


async def test_somebody_has_one_room_at_a_time_and_the_newest_counts(proving: Proving) -> None:
    person, _, _, room = await opened(proving)
    second = await proving.chat(person)
    await proving.work(6)
    assert (proving.bot_is(room), proving.bot_is(second)) == ("leave", "join")


async def test_somebody_has_six_rooms_a_day(proving: Proving) -> None:
    person, _, _, room = await opened(proving)
    rooms = [room]
    for _ in range(8):
        rooms.append(await proving.chat(person))
        await proving.work(6)
    assert [proving.bot_is(each) for each in rooms] == ["leave"] * 6 + ["invite"] * 3


async def test_only_so_many_rooms_at_once_and_others_wait(fake: FakeHomeserver, tmp_path: Path) -> None:
    async with Proving.opened(fake, tmp_path, limits={"at_once": 1}) as proving:
        _, _, _, first = await opened(proving)
        _, _, _, second = await opened(proving, "dora")
        assert proving.bot_is(second) == "invite"
        await proving.after(TALK_PATIENCE)
        await proving.work()
        assert (proving.bot_is(first), proving.bot_is(second)) == ("leave", "join")


def test_invitations_of_strangers_take_little_room(proving: Proving) -> None:
    proving.talks.heard(
        [Invitation(f"!{number}", f"@s{number}:x", direct=True) for number in range(3 * MOST)]
    )
    proving.talks.heard([Invitation(f"!more{number}", "@one:x", direct=True) for number in range(1000)])
    assert len(proving.talks.invitations) == MOST


async def test_a_room_in_which_nothing_comes_is_left(proving: Proving) -> None:
    _, knock, _, room = await opened(proving)
    await proving.after(TALK_PATIENCE)
    assert proving.bot_is(room) == "leave"
    assert (await proving.record(knock)).state is S.HELD


async def test_a_code_is_good_as_long_as_the_page_says(proving: Proving) -> None:
    person = proving.person()
    knock, code = await proving.knock(person.user_id)
    proving.shop.clock.forward(DAY - 60)
    room = await proving.chat(person)
    await proving.work()
    await proving.after(120)
    assert (await sent(proving, person, room, code))[-1] == texts.TOO_OLD[0]
    assert not (await proving.record(knock)).proven


async def test_a_proof_that_never_comes_ends_the_knock_and_stands_in_nobodys_way(proving: Proving) -> None:
    knock, _ = await proving.knock("@carol:knock.test")
    await proving.shop.work_for(DAY + 1)
    after = await proving.record(knock)
    assert (after.state, after.reason) == (S.EXPIRED, Reason.UNPROVEN)
    anew, _ = await proving.knock("@carol:knock.test")
    assert (anew.id != knock.id, anew.state, anew.reason) == (True, S.HELD, Reason.UNPROVEN)


async def test_knocking_again_gives_as_much_time_again(proving: Proving) -> None:
    knock, _ = await proving.knock("@carol:knock.test")
    await proving.shop.work_for(DAY / 2)
    await proving.knock("@carol:knock.test")
    await proving.shop.work_for(DAY * 0.75)
    assert (await proving.record(knock)).state is S.HELD
    await proving.shop.work_for(DAY / 2)
    assert (await proving.record(knock)).state is S.EXPIRED


# --- faults


class Dies(BaseException):
    """The process ends."""


@pytest.mark.promise(1)
@pytest.mark.parametrize("dies_at", ["join", "send", "leave", "forget"])
async def test_a_process_that_dies_is_replaced_by_one_that_goes_on(proving: Proving, dies_at: str) -> None:
    person = proving.person()
    knock, code = await proving.knock(person.user_id)
    room = await proving.chat(person)
    await proving.say(person, room, code)
    with pytest.MonkeyPatch.context() as patch:
        method = "leave" if dies_at == "forget" else dies_at
        original = getattr(proving.shop.homeserver, method)

        async def dies(*args: object) -> None:
            if dies_at in ("send", "forget"):  # done, and not on record
                await original(*args)
            raise Dies

        patch.setattr(proving.shop.homeserver, method, dies)
        await proving.hear()
        for _ in range(6):
            await proving.talks.tick(proving.shop.clock())
            await _quietly(proving)
            proving.restart()
    await proving.work(8)

    assert (await proving.record(knock)).state is S.ADMITTED
    assert proving.said(room) == [texts.SEND_CODE[0], texts.LET_IN[0]]
    assert proving.bot_is(room) == "leave"
    assert await proving.rooms() == []


async def _quietly(proving: Proving) -> None:
    """Wait for steps that end a process."""
    tasks = list(proving.talks._working.values())
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.promise(1)
async def test_an_invitation_heard_by_a_process_that_died_is_found(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person)
    await proving.hear()
    proving.restart()
    await proving.work()
    assert proving.bot_is(room) == "join"


async def test_an_outage_loses_nothing(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    await proving.say(person, room, code)
    proving.shop.fake.fail(down=True)
    for _ in range(3):
        await proving.talks.tick(proving.shop.clock())
        await proving.talks.drain()
        proving.shop.clock.forward(TRY_AGAIN)
    proving.shop.fake.mend()
    await proving.work()
    assert (await proving.record(knock)).proven
    assert proving.said(room) == [texts.SEND_CODE[0], texts.LET_IN[0]]


async def test_an_invitation_that_was_taken_back_is_let_go(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person)
    await proving.hear()
    await person.kick(room, BOT)
    await proving.work()
    assert await proving.rooms() == []
    assert proving.bot_is(room) == "leave"


async def test_a_room_that_cannot_be_entered_is_given_up(proving: Proving) -> None:
    person = proving.person()
    await proving.knock(person.user_id)
    room = await proving.chat(person)
    proving.shop.fake.fail("join", status=502)
    await proving.work()
    assert len(await proving.rooms()) == 1
    await proving.after(JOIN_PATIENCE)
    await proving.work()
    assert (await proving.rooms(), proving.bot_is(room)) == ([], "leave")


async def test_who_puts_the_bot_out_can_ask_it_in_again(proving: Proving) -> None:
    person, knock, code, room = await opened(proving)
    await person.kick(room, BOT)
    await proving.work()
    await person.invite(room, BOT)
    await proving.work(6)
    assert proving.bot_is(room) == "join"
    await sent(proving, person, room, code)
    assert (await proving.record(knock)).proven


@pytest.mark.promise(9)
async def test_two_processes_at_once_say_and_do_everything_once(proving: Proving) -> None:
    person = proving.person()
    knock, code = await proving.knock(person.user_id)
    room = await proving.chat(person)
    await proving.say(person, room, code)
    async with proving.shop.another() as second:
        second.doors.describe(proving.shop.doors.as_described)
        others = talks_of(second)
        await proving.hear()
        for _ in range(6):
            for talks in (proving.talks, others):
                await talks.tick(proving.shop.clock())
            for talks in (proving.talks, others):
                await talks.drain()
    assert proving.said(room) == [texts.SEND_CODE[0], texts.LET_IN[0]]
    assert (await proving.record(knock)).state is S.ADMITTED
    assert await proving.rooms() == []


@pytest.mark.promise(8)
async def test_talks_are_in_the_ledger(proving: Proving) -> None:
    person, _, code, room = await opened(proving)
    await sent(proving, person, room, code)
    lines = {
        (line.before, line.after)
        for line in await proving.shop.store.ledger(user_id=person.user_id)
        if line.action == "direct room"
    }
    assert lines == {("", "joining"), ("joining", "open"), ("open", "leaving"), ("leaving", "left")}


@pytest.mark.promise(5)
async def test_nothing_the_bot_says_names_a_room(proving: Proving) -> None:
    person, _, code, room = await opened(proving)
    said = " ".join(await sent(proving, person, room, code))
    assert "!" not in said.replace("Hello!", "")
    assert "Café" not in said


# --- encrypted rooms


async def encrypted(proving: Proving, person: Account) -> str:
    settings = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    return await proving.chat(person, initial_state=[settings])


async def say_sealed(person: Account, room: str, ciphertext: str) -> None:
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": ciphertext}
    await person.must("PUT", "rooms", room, "send", "m.room.encrypted", ciphertext, json=content)


async def test_a_code_in_an_encrypted_room_is_read_once_its_key_is_there(
    fake: FakeHomeserver, tmp_path: Path
) -> None:
    sealing = Sealing()
    async with Proving.opened(fake, tmp_path, encryption=sealing) as proving:
        person = proving.person()
        knock, code = await proving.knock(person.user_id)
        room = await encrypted(proving, person)
        await proving.work()
        await say_sealed(person, room, "1")
        await proving.work()
        assert not (await proving.record(knock)).proven
        sealing.openable[person.user_id, "1"] = {"msgtype": "m.text", "body": code}
        await proving.after(1)

        assert (await proving.record(knock)).proven
        assert [content["body"].partition("\n")[0] for _, content in sealing.sealed] == [
            texts.SEND_CODE[0],
            texts.LET_IN[0],
        ]
        assert sealing.sealed[0][0] == [person.user_id, BOT]


async def test_what_cannot_be_read_is_said_so_once(fake: FakeHomeserver, tmp_path: Path) -> None:
    async with Proving.opened(fake, tmp_path) as proving:
        person = proving.person()
        await proving.knock(person.user_id)
        room = await encrypted(proving, person)
        await proving.work()
        for ciphertext in "12":
            await say_sealed(person, room, ciphertext)
            await proving.after(KEY_PATIENCE)
        assert proving.said(room) == [texts.SEND_CODE[0], texts.UNREADABLE[0]]
        assert (await proving.shop.homeserver.member(room, BOT)).membership is Membership.JOIN


async def test_what_was_written_behind_something_unreadable_is_read(
    fake: FakeHomeserver, tmp_path: Path
) -> None:
    async with Proving.opened(fake, tmp_path, encryption=Sealing()) as proving:
        person = proving.person()
        knock, code = await proving.knock(person.user_id)
        room = await encrypted(proving, person)
        await proving.work()
        await say_sealed(person, room, "1")
        await proving.say(person, room, code)
        await proving.work()
        await proving.after(KEY_PATIENCE)
        assert (await proving.record(knock)).proven


async def test_what_strangers_devices_send_is_left_out(
    fake: FakeHomeserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing = Sealing()
    async with Proving.opened(fake, tmp_path, encryption=sealing) as proving:
        shop, person = proving.shop, proving.person()
        await proving.knock(person.user_id)
        room = await proving.chat(person)
        wanted: dict[str, object] = {"sender": person.user_id, "content": {}}
        odd: dict[str, object] = {"sender": 7}
        sent_to_us: tuple[dict[str, object], ...] = (
            {"sender": "@mallory:knock.test", "content": {}},
            wanted,
            odd,
            {},
        )
        invitation = Invitation(room, person.user_id, direct=True)

        async def sync(*_: object, **__: object) -> News:
            return News("s1", invitations=(invitation,), to_device=sent_to_us)

        monkeypatch.setattr(shop.homeserver, "sync", sync)
        await watch_of(proving, sealing).tick(shop.clock())
        assert sealing.sent_to_us == (wanted,)
        await proving.talks.tick(shop.clock())
        await proving.talks.drain()
        assert proving.bot_is(room) == "join"


def watch_of(proving: Proving, sealing: Sealing) -> Watch:
    shop = proving.shop

    async def nothing(*_: object) -> None: ...

    session = OwnSession(shop.homeserver, signed_in=True)
    return Watch(
        shop.store,
        shop.homeserver,
        shop.doors,
        shop.room_watch,
        session,
        encryption=sealing,
        talks=proving.talks,
        hurry=nothing,
        on_change=nothing,
    )
