"""A door that wants a proof, on a real homeserver: from the page, over a chat with the bot, into the room."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import TOKEN
from tests.integration.house import House, Way, opened
from tests.kit.account import Account
from tests.kit.cast import new_name
from tests.kit.nio_reader import NioReader
from tests.kit.processes import wait_until
from tests.kit.synapse import Synapse

SETTINGS: dict[str, Any] = {"DOOR_POLICY": "prove-first", "PAGE_TITLE": "The Repair Café"}


@pytest.fixture
async def house(synapse: Synapse, tmp_path: Path) -> AsyncIterator[House]:
    async with opened(synapse, tmp_path, **SETTINGS) as house:
        yield house


async def code_for(house: House, person: Account) -> tuple[str, str]:
    """Somebody fills in the page; the code and the account that the page they land on shows."""
    async with house.server.client() as client:
        page = await client.get("/d/main")
        opened_at = re.search(r'name="opened" value="([^"]+)"', page.text)
        assert opened_at
        answer = await client.post("/d/main", data={"opened": opened_at[1], "matrix_id": person.user_id})
        assert answer.status_code == 303, answer.text
        status = await client.get(f"/d/{answer.headers['location']}")
    code = re.search(r'class="code">([^<]+)<', status.text)
    account = re.search(r'rel="noreferrer">([^<]+)<', status.text)
    assert code
    assert account
    return code[1], unescape(account[1])


async def chat(person: Account, account: str, **wishes: object) -> str:
    """Somebody begins a chat, as apps do it."""
    return await person.create_room(
        **{"preset": "trusted_private_chat", "is_direct": True, "invite": [account], **wishes}
    )


async def said(person: Account, room: str, account: str) -> list[str]:
    page = await person.must("GET", "rooms", room, "messages", params={"dir": "b", "limit": 50})
    return [
        event["content"]["body"]
        for event in reversed(page["chunk"])
        if event["sender"] == account and event["type"] == "m.room.message"
    ]


async def says(person: Account, room: str, account: str, words: str) -> bool:
    return any(words in text for text in await said(person, room, account))


async def is_invited(house: House, person: Account) -> bool:
    return await house.owner.membership(house.room, person.user_id) == "invite"


async def is_left(person: Account, room: str, account: str) -> bool:
    return await person.membership(room, account) == "leave"


async def test_whoever_sends_the_code_from_the_account_is_invited_and_joins(house: House) -> None:
    person = await house.somebody()
    code, account = await code_for(house, person)
    assert account == house.bot.user_id
    room = await chat(person, account)
    await wait_until(lambda: says(person, room, account, "send me the code"), within=15)
    assert not await is_invited(house, person)
    await person.send_text(room, f"here it is: {code.lower()}", transaction=new_name("t"))

    await wait_until(lambda: is_invited(house, person), within=10)
    assert await says(person, room, account, "You are let in")
    await person.join(house.room)
    await house.welcomed(person)
    await wait_until(lambda: is_left(person, room, account), within=5)


async def test_a_strangers_invitation_is_ignored(house: House) -> None:
    stranger, person = await house.somebody(), await house.somebody()
    ignored = await chat(stranger, house.bot.user_id)
    _, account = await code_for(house, person)
    room = await chat(person, account)
    await wait_until(lambda: says(person, room, account, "send me the code"), within=15)

    assert await stranger.membership(ignored, house.bot.user_id) == "invite"


async def test_the_right_code_from_a_wrong_account_does_not_count(house: House) -> None:
    person, mallory = await house.somebody(), await house.somebody()
    code, account = await code_for(house, person)
    await code_for(house, mallory)
    room = await chat(mallory, account)
    await mallory.send_text(room, code, transaction=new_name("t"))
    await wait_until(lambda: says(mallory, room, account, "does not fit"), within=15)

    assert await house.owner.membership(house.room, person.user_id) is None
    assert await house.owner.membership(house.room, mallory.user_id) is None


async def test_a_form_without_a_page_is_answered_for_in_the_chat(house: House) -> None:
    person = await house.somebody()
    async with house.server.client() as client:
        answer = await client.post(f"/invite_from_form?token={TOKEN}", json={"Matrix ID": person.user_id})
    assert answer.status_code == 200
    room = await chat(person, house.bot.user_id)
    await wait_until(lambda: says(person, room, house.bot.user_id, "yes"), within=15)
    await person.send_text(room, "Yes!", transaction=new_name("t"))

    await wait_until(lambda: is_invited(house, person), within=10)


async def test_a_chat_begun_before_the_knock_is_entered_all_the_same(house: House) -> None:
    person = await house.somebody()
    room = await chat(person, house.bot.user_id)
    await asyncio.sleep(1.0)
    code, account = await code_for(house, person)
    await person.send_text(room, code, transaction=new_name("t"))
    await wait_until(lambda: is_invited(house, person), within=20)
    assert account == house.bot.user_id


@pytest.mark.promise(1)
async def test_a_process_that_is_killed_leaves_the_talk_to_another(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, Way(workers=2), **SETTINGS) as house:
        person = await house.somebody()
        code, account = await code_for(house, person)
        room = await chat(person, account)
        await wait_until(lambda: says(person, room, account, "send me the code"), within=15)
        line = [line for line in house.output.splitlines() if "this process has the turn" in line][-1]
        turn = re.findall(r"pid\W+(\d+)", line)[0]
        await asyncio.create_subprocess_exec("kill", "-9", turn)
        await person.send_text(room, code, transaction=new_name("t"))

        await wait_until(lambda: is_invited(house, person), within=30)
        texts = await said(person, room, account)
        assert len([text for text in texts if "You are let in" in text]) == 1


# --- encrypted chats

ENCRYPTED: dict[str, Any] = {
    "initial_state": [{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
}


async def reads(reader: NioReader, room: str, words: str) -> bool:
    return any(text is not None and words in text for text in await reader.read(room))


async def test_in_an_encrypted_chat_the_code_is_read_and_the_answer_readable(
    house: House, tmp_path: Path
) -> None:
    person = await house.somebody()
    async with NioReader.opened(person, tmp_path / "app") as app:
        code, account = await code_for(house, person)
        room = await chat(person, account, **ENCRYPTED)
        await wait_until(lambda: reads(app, room, "send me the code"), within=20)
        await app.write(room, code)

        await wait_until(lambda: is_invited(house, person), within=15)
        await wait_until(lambda: reads(app, room, "You are let in"), within=5)
        assert await said(person, room, account) == []


async def test_a_code_that_is_written_before_the_bot_is_there_is_read(house: House, tmp_path: Path) -> None:
    person = await house.somebody()
    async with NioReader.opened(person, tmp_path / "app") as app:
        code, account = await code_for(house, person)
        room = await chat(person, account, **ENCRYPTED)
        await app.write(room, code)

        await wait_until(lambda: is_invited(house, person), within=20)


async def test_who_proves_a_second_account_in_another_encrypted_chat_is_read_too(
    house: House, tmp_path: Path
) -> None:
    """The app goes on with the session that it has with the bot."""
    person = await house.somebody()
    async with NioReader.opened(person, tmp_path / "app") as app:
        code, account = await code_for(house, person)
        first = await chat(person, account, **ENCRYPTED)
        await app.write(first, "AAAA-AAAA")
        await wait_until(lambda: reads(app, first, "does not fit"), within=20)
        second = await chat(person, account, **ENCRYPTED)
        await wait_until(lambda: reads(app, second, "send me the code"), within=20)
        await app.write(second, code)
        await wait_until(lambda: is_invited(house, person), within=20)
