"""What every store promises (ports.Store): what it counts, and who has to wait."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.store_cases import (
    NARROW,
    NOW,
    WINDOW,
    Listening,
    Shelf,
    anonymous,
    asked_to_wait,
    door,
    kept,
    knocked,
    over_the_window,
    person,
    somebody,
)

from mknock.domain.knocks import KnockState, Reason
from mknock.ports import Store

S = KnockState
ALICE = person("alice")

# --- windows


@pytest.mark.parametrize("limit", ["door", "homeserver", "sender"])
async def test_what_is_over_a_window_is_kept_and_held(store: Store, limit: str) -> None:
    limits: dict[str, Any] = {limit: 3}
    narrow = door(**limits)
    states = [(await knocked(store, through=narrow, sender="home")).state for _ in range(4)]
    assert states == [S.ADMITTED] * 3 + [S.HELD]


async def test_who_is_held_by_a_window_is_held_as_a_wave(store: Store) -> None:
    narrow = door(door=0)
    assert (await knocked(store, through=narrow)).reason is Reason.WAVE


async def test_each_homeserver_has_a_window_of_its_own(store: Store) -> None:
    narrow = door(homeserver=1)
    await knocked(store, somebody("one.example"), through=narrow)
    assert (await knocked(store, somebody("two.example"), through=narrow)).state is S.ADMITTED


async def test_each_door_has_windows_of_its_own(store: Store) -> None:
    await knocked(store, through=door(door=1, homeserver=1))
    side = door("side", door=1, homeserver=1)
    assert (await knocked(store, through=side)).state is S.ADMITTED


async def test_each_sender_has_a_window_of_its_own(store: Store) -> None:
    narrow = door(sender=1)
    await knocked(store, through=narrow, sender="home")
    assert (await knocked(store, through=narrow, sender="work")).state is S.ADMITTED


@pytest.mark.parametrize(
    ("later", "expected"), [(0.0, 5.0), (30.0, 5.0), (60.0, 5.0), (75.0, 4.0), (90.0, 3.0), (120.0, 1.0)]
)
async def test_a_window_slides(store: Store, later: float, expected: float) -> None:
    """Of the slot before, so much counts as still lies within the last window: 4 knocks, and one later."""
    for _ in range(4):
        await knocked(store)
    listening = Listening()
    await knocked(store, None, NOW + later, judge=listening)
    assert listening.heard.door_count == expected
    assert listening.heard.homeserver_count == expected


async def test_a_knock_counts_itself(store: Store) -> None:
    listening = Listening()
    await knocked(store, sender="home", judge=listening)
    heard = listening.heard
    assert (heard.sender_count, heard.homeserver_count, heard.door_count) == (1.0, 1.0, 1.0)


async def test_a_repeat_counts_for_its_sender_only(store: Store) -> None:
    await knocked(store, ALICE, sender="home")
    await knocked(store, ALICE, NOW + 1, sender="home")
    listening = Listening()
    await knocked(store, None, NOW + 2, sender="home", judge=listening)
    assert (listening.heard.sender_count, listening.heard.door_count) == (3.0, 2.0)


async def test_a_late_comer_from_the_slot_before_takes_nothing_from_the_window(store: Store) -> None:
    """Two processes stamp their knocks before they stand in line: the line may not be in order."""
    for at in (NOW - 0.001, NOW, NOW, NOW - 0.001):
        await knocked(store, None, at)
    listening = Listening()
    await knocked(store, None, NOW, judge=listening)
    assert listening.heard.door_count == 5.0


async def test_windows_hold_over_processes(store: Store, other: Store) -> None:
    narrow = door(door=1)
    await knocked(store, through=narrow)
    assert (await knocked(other, through=narrow)).state is S.HELD


async def test_windows_hold_over_a_restart(shelf: Shelf) -> None:
    narrow = door(door=1)
    async with shelf.opened() as store:
        await knocked(store, through=narrow)
    async with shelf.opened() as store:
        assert (await knocked(store, through=narrow)).state is S.HELD


# --- anonymous senders wait


async def test_an_anonymous_sender_over_the_window_is_asked_to_wait(store: Store) -> None:
    assert await over_the_window(store) == WINDOW


@pytest.mark.promise(4)
async def test_nothing_is_kept_of_who_is_asked_to_wait(store: Store) -> None:
    await over_the_window(store)
    lines = await store.ledger()
    await asked_to_wait(store, anonymous(ALICE, NOW, through=NARROW))
    assert await store.knocks_of(ALICE.key) == []
    assert await store.ledger() == lines


async def test_waits_double_up_to_the_longest(store: Store) -> None:
    at, waits = NOW, []
    for _ in range(5):
        waits.append(await over_the_window(store, at))
        at += waits[-1]
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]


async def test_who_comes_back_when_told_to_is_served(store: Store) -> None:
    wait = await over_the_window(store)
    assert (await kept(store, anonymous(None, NOW + wait, through=NARROW))).knock.state is S.ADMITTED


async def test_knocking_while_waiting_does_not_make_it_longer(store: Store) -> None:
    await over_the_window(store)
    waits = [await asked_to_wait(store, anonymous(None, NOW + n, through=NARROW)) for n in range(1, 50)]
    assert waits == [WINDOW - n for n in range(1, 50)]


async def test_knocking_while_waiting_does_not_count(store: Store) -> None:
    wait = await over_the_window(store)
    for _ in range(5):
        await asked_to_wait(store, anonymous(None, NOW + wait - 1, through=NARROW))
    listening = Listening()
    await kept(store, anonymous(None, NOW + wait, through=NARROW), listening)
    assert listening.heard.sender_count == 1.0


async def test_waits_are_forgotten_after_a_calm_time(store: Store) -> None:
    first = await over_the_window(store)
    calm = NOW + first + 2 * NARROW.limits.backoff_longest
    assert await over_the_window(store, calm) == WINDOW


async def test_waits_are_not_forgotten_before_the_calm_time(store: Store) -> None:
    first = await over_the_window(store)
    calm = NOW + first + 2 * NARROW.limits.backoff_longest
    assert await over_the_window(store, calm - WINDOW) == 2 * WINDOW


@pytest.mark.promise(4)
async def test_nobody_waits_for_what_another_sender_did_in_their_name(store: Store) -> None:
    for _ in range(2):
        await kept(store, anonymous(ALICE, through=NARROW, sender="mallory"))
    await asked_to_wait(store, anonymous(ALICE, through=NARROW, sender="mallory"))
    assert await kept(store, anonymous(ALICE, NOW + 1, through=NARROW, sender="alice"))


async def test_who_waits_waits_at_every_door(store: Store) -> None:
    await over_the_window(store)
    assert await asked_to_wait(store, anonymous(through=door("side"))) == WINDOW


async def test_who_is_vouched_for_never_waits(store: Store) -> None:
    await over_the_window(store)
    assert (await knocked(store, sender="home", through=NARROW)).state is S.ADMITTED


async def test_waits_hold_over_processes(store: Store, other: Store) -> None:
    await over_the_window(store)
    assert await asked_to_wait(other, anonymous(through=NARROW)) == WINDOW


async def test_a_request_without_a_knock_counts_for_its_sender(store: Store) -> None:
    waits = [await store.count_request(NARROW, "home", NOW) for _ in range(3)]
    assert waits == [0.0, 0.0, WINDOW]


async def test_requests_and_knocks_count_together(store: Store) -> None:
    await kept(store, anonymous(through=NARROW))
    await store.count_request(NARROW, "home", NOW)
    assert await asked_to_wait(store, anonymous(through=NARROW)) == WINDOW


async def test_asking_whether_to_wait_counts_nothing(store: Store) -> None:
    for _ in range(5):
        assert await store.must_wait("home", NOW) == 0.0
    assert await over_the_window(store) == WINDOW


@pytest.mark.parametrize(("later", "wait"), [(0.0, 60.0), (59.0, 1.0), (60.0, 0.0), (61.0, 0.0)])
async def test_who_must_wait_is_told_what_is_left(store: Store, later: float, wait: float) -> None:
    await over_the_window(store)
    assert await store.must_wait("home", NOW + later) == wait
