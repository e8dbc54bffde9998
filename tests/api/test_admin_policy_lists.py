"""Policy lists through the API: how much of each counts, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.running import Running
from tests.kit.policy_room import PolicyRoom, subscribed
from tests.kit.processes import wait_until
from tests.kit.workshop import BOT


@pytest.fixture
async def room(knock: Running) -> PolicyRoom:
    """The room of a list with one rule that counts and two entries that do not."""
    room = PolicyRoom.made(knock.fake, BOT)
    for entity in ("@mallory:evil.example", "*"):
        room.write(entity)
    room.write("!secret:knock.test", kind="m.policy.rule.room")
    await subscribed(knock.installation.parts.store, room, at=1.0, alias="#spam:knock.test")
    return room


async def of(knock: Running, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await knock.admin("GET", path)).json()
    return answer


async def is_read(knock: Running) -> bool:
    return bool((await of(knock, "/lists"))["lists"][0]["rules"])


async def test_lists_are_shown_with_what_counts_and_what_does_not(knock: Running, room: PolicyRoom) -> None:
    await wait_until(lambda: is_read(knock), 10)
    (listed,) = (await of(knock, "/lists"))["lists"]

    assert (listed["name"], listed["alias"], listed["rules"], listed["problem"]) == (
        "spam",
        "#spam:knock.test",
        1,
        "",
    )
    assert sorted(listed["left_out"].values()) == [1, 1]


async def test_of_one_list_the_entries_left_out_are_shown(knock: Running, room: PolicyRoom) -> None:
    told = await of(knock, "/lists/spam")

    assert {one["entity"] for one in told["entries_left_out"]} == {"*", ""}
    assert {one["author"] for one in told["entries_left_out"]} == {"@keeper:knock.test"}
    assert "!" not in str(told)


async def test_while_the_homeserver_is_away_lists_are_shown_all_the_same(
    knock: Running, room: PolicyRoom
) -> None:
    knock.fake.fail("state", status=404, body={"errcode": "M_UNKNOWN"})
    answer = await knock.admin("GET", "/lists")

    assert (answer.status_code, answer.json()["count"]) == (200, 1)
    assert answer.json()["lists"][0]["problem"]


@pytest.mark.parametrize("name", ["nothing", "a%00b", "%F0%9F%92%A9"])
async def test_a_list_that_there_is_not_is_not_found(knock: Running, name: str) -> None:
    answer = await knock.admin("GET", f"/lists/{name}")

    assert (answer.status_code, list(answer.json())) == (404, ["error"])


async def test_without_lists_there_are_none(knock: Running) -> None:
    assert await of(knock, "/lists") == {"lists": [], "count": 0}


@pytest.mark.parametrize("path", ["/lists", "/lists/spam"])
async def test_without_the_key_nothing_is_told(knock: Running, path: str) -> None:
    assert (await knock.call("GET", path)).status_code == 401
