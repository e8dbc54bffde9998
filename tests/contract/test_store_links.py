"""What every store promises (ports.Store): invite links."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.store_cases import (
    HOLD,
    MAIN,
    NARROW,
    NOW,
    OTHER_ROOM,
    REFUSE,
    Listening,
    Shelf,
    anonymous,
    attempt,
    claimed_one,
    entry,
    judged,
    kept,
    moved,
    person,
)

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.knocks import Knock, KnockState, Outcome, Reason
from mknock.domain.links import GIVEN_BACK, InviteLink, LinkStatistics
from mknock.ports import Judge, Kept, LinkOver, Store

S = KnockState
TOKEN = "a" * 64


def a_link(token_hash: str = TOKEN, **about: Any) -> InviteLink:
    values: dict[str, Any] = {"door": "main", "author": "cli", "created_at": NOW, "uses": 1} | about
    return InviteLink(id=new_id(NOW), token_hash=token_hash, **values)


async def made(store: Store, token_hash: str = TOKEN, **about: Any) -> InviteLink:
    link = a_link(token_hash, **about)
    await store.add_link(link, entry("make link"))
    return link


async def used(store: Store, token_hash: str = TOKEN) -> int:
    link = await store.link(token_hash)
    assert link is not None
    return link.used


async def by_link(store: Store, who: str | None = None, at: float = NOW, **more: Any) -> Kept | LinkOver:
    judge: Judge = more.pop("judge", decide)
    result = await store.admit(attempt(who, at, link=more.pop("link", TOKEN), **more), judge)
    assert isinstance(result, Kept | LinkOver)
    return result


# --- what is kept


async def test_a_link_is_there_after_closing_and_reopening(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        link = await made(
            store, label="for Tara", greeting="Hi *you*", expires_at=NOW + 60, skips_review=True
        )
    async with shelf.opened() as store:
        assert await store.link(TOKEN) == link


async def test_links_are_listed_by_their_ids_in_pages(store: Store) -> None:
    made_links = sorted([await made(store, str(n)) for n in range(3)], key=lambda link: link.id)
    assert await store.links() == made_links
    assert await store.links(limit=2) == made_links[:2]
    assert await store.links(after=made_links[1].id) == made_links[2:]


async def test_an_unknown_token_is_no_link(store: Store) -> None:
    await made(store)
    assert await store.link("b" * 64) is None


@pytest.mark.promise(8)
async def test_making_and_revoking_a_link_is_in_the_ledger(store: Store) -> None:
    link = await made(store, label="for Tara")
    await store.revoke_link(link.id, entry("revoke link", NOW + 1))
    revoked, new = await store.ledger(limit=2)
    assert (new.action, new.door, new.after, new.detail) == ("make link", "main", link.id, "for Tara")
    assert (revoked.action, revoked.door, revoked.before) == ("revoke link", "main", link.id)


@pytest.mark.promise(10)
async def test_the_ledger_holds_nothing_of_a_token(store: Store) -> None:
    link = await made(store)
    await by_link(store, "alice")
    await store.revoke_link(link.id, entry("revoke link"))
    assert not [line for line in await store.ledger() if TOKEN in repr(line)]


# --- uses


async def test_a_knock_by_a_link_takes_a_use_and_says_so(store: Store) -> None:
    link = await made(store, uses=2)
    result = await by_link(store, "alice")
    assert isinstance(result, Kept)
    knock = await store.knock(result.knock.id)
    assert knock is not None
    assert (knock.link, await used(store)) == (link.id, 1)
    assert (await store.ledger(knock_id=knock.id))[0].actor == f"link:{link.id}"


@pytest.mark.promise(6)
@pytest.mark.parametrize("judge", [decide, HOLD, REFUSE])
async def test_a_use_is_taken_whatever_is_decided(store: Store, judge: Judge) -> None:
    await made(store, uses=5)
    await by_link(store, "alice", judge=judge)
    assert await used(store) == 1


async def test_a_link_that_is_used_up_keeps_nothing(store: Store) -> None:
    await made(store)
    await by_link(store, "alice")
    assert await by_link(store, "bob") == LinkOver()
    assert await store.knocks_of(person("bob").key) == []
    assert await used(store) == 1


@pytest.mark.parametrize(
    "about", [{"expires_at": NOW}, {"revoked_at": NOW - 1}, {"uses": 0}, {"door": "other"}], ids=str
)
async def test_a_link_that_is_not_open_keeps_nothing(store: Store, about: dict[str, Any]) -> None:
    await made(store, **about)
    assert await by_link(store, "alice") == LinkOver()


async def test_a_token_of_no_link_keeps_nothing(store: Store) -> None:
    assert await by_link(store, "alice") == LinkOver()


async def test_a_link_without_a_number_is_good_for_any(store: Store) -> None:
    await made(store, uses=None)
    for number in range(5):
        assert isinstance(await by_link(store, f"somebody{number}"), Kept)
    assert await used(store) == 5


@pytest.mark.promise(6)
async def test_a_repeat_takes_a_use_like_any_other(store: Store) -> None:
    await made(store, uses=2)
    await by_link(store, "alice")
    again = await by_link(store, "alice", NOW + 1)
    assert isinstance(again, Kept)
    assert (again.repeat, await used(store)) == (True, 2)
    assert await by_link(store, "alice", NOW + 2) == LinkOver()


@pytest.mark.promise(6)
async def test_a_link_that_is_over_says_nothing_of_who_has_knocked(store: Store) -> None:
    await made(store)
    await by_link(store, "alice")
    assert await by_link(store, "alice", NOW + 1) == await by_link(store, "bob", NOW + 1) == LinkOver()


async def test_an_anonymous_sender_who_must_wait_takes_no_use(store: Store) -> None:
    await made(store, uses=None)
    for _ in range(5):
        await store.admit(anonymous(None, link=TOKEN, through=NARROW), decide)
    assert await used(store) == 2


async def test_the_judge_hears_of_the_link(store: Store) -> None:
    link, judge = await made(store, uses=3), Listening()
    await by_link(store, "alice", judge=judge)
    assert judge.heard.link is not None
    assert (judge.heard.link.id, judge.heard.link.used) == (link.id, 1)


async def test_who_comes_by_no_link_has_none(store: Store) -> None:
    await made(store)
    result = await kept(store, attempt("alice"))
    assert (result.knock.link, await used(store)) == ("", 0)


# --- who waits already


async def waiting(store: Store, reason: Reason = Reason.REVIEW) -> Knock:
    return (await kept(store, attempt("alice"), judged(Outcome.HOLD, reason))).knock


@pytest.mark.parametrize("reason", [Reason.REVIEW, Reason.DOOR_CLOSED])
async def test_a_link_that_skips_review_lets_in_who_waits_for_it(store: Store, reason: Reason) -> None:
    before, link = await waiting(store, reason), await made(store, skips_review=True)
    result = await by_link(store, "alice", NOW + 5)
    assert isinstance(result, Kept)
    after = await store.knock(before.id)
    assert after is not None
    assert (result.repeat, after.id, after.state, after.link) == (True, before.id, S.ADMITTED, link.id)
    assert (after.due_at, after.expires_at) == (NOW + 5, NOW + 5 + MAIN.lifetime)
    line = (await store.ledger(knock_id=before.id))[0]
    assert (line.actor, line.action, line.before, line.after) == (
        f"link:{link.id}",
        "let in",
        "held",
        "admitted",
    )


@pytest.mark.parametrize(
    ("reason", "skips_review"), [(Reason.REVIEW, False), (Reason.LOOK_ALIKE, True), (Reason.WAVE, True)]
)
async def test_who_waits_for_something_else_goes_on_waiting(
    store: Store, reason: Reason, skips_review: bool
) -> None:
    before = await waiting(store, reason)
    await made(store, skips_review=skips_review)
    await by_link(store, "alice", NOW + 5)
    after = await store.knock(before.id)
    assert after is not None
    assert (after.state, after.reason) == (S.HELD, reason)


async def test_who_waits_is_judged_anew(store: Store) -> None:
    before = await waiting(store)
    await made(store, skips_review=True)
    await by_link(store, "alice", NOW + 5, judge=judged(Outcome.HOLD, Reason.NO_PROOF_OF_WORK))
    after = await store.knock(before.id)
    assert after is not None
    assert (after.state, after.reason) == (S.HELD, Reason.REVIEW)


# --- given back


async def failed(store: Store, reason: Reason, state: KnockState = S.FAILED) -> None:
    """Let a knock by the link end like this."""
    await by_link(store, "alice")
    claim = await claimed_one(store)
    after = claim.moved_to(state, at=NOW, reason=reason, due_at=None)
    assert await store.record(claim, after, [])


@pytest.mark.parametrize("reason", sorted(GIVEN_BACK))
async def test_a_knock_that_fails_gives_its_use_back(store: Store, reason: Reason) -> None:
    await made(store)
    await failed(store, reason)
    assert await used(store) == 0
    assert isinstance(await by_link(store, "bob"), Kept)


@pytest.mark.promise(6)
@pytest.mark.parametrize("reason", [Reason.BANNED, Reason.INVITES_BLOCKED])
async def test_what_would_tell_of_the_person_gives_nothing_back(store: Store, reason: Reason) -> None:
    await made(store)
    await failed(store, reason)
    assert await used(store) == 1


async def test_an_invite_gives_nothing_back(store: Store) -> None:
    await made(store)
    await failed(store, Reason.INVITED, S.INVITED)
    assert await used(store) == 1


async def test_a_claim_that_was_taken_over_gives_nothing_back(store: Store) -> None:
    await made(store)
    await by_link(store, "alice")
    claim = await claimed_one(store)
    await store.change(claim.id, moved(S.RESCINDED), entry("rescind"))
    after = claim.moved_to(S.FAILED, at=NOW, reason=Reason.NO_SUCH_USER, due_at=None)
    assert not await store.record(claim, after, [])
    assert await used(store) == 1


# --- revoked


async def test_a_revoked_link_lets_nobody_in_any_more(store: Store) -> None:
    link = await made(store, uses=None)
    assert isinstance(await by_link(store, "alice"), Kept)
    revoked = await store.revoke_link(link.id, entry("revoke link", NOW + 1))
    assert revoked is not None
    assert revoked.revoked_at == NOW + 1
    assert await by_link(store, "bob", NOW + 2) == LinkOver()


async def test_revoking_twice_writes_once(store: Store) -> None:
    link = await made(store)
    await store.revoke_link(link.id, entry("revoke link", NOW + 1))
    again = await store.revoke_link(link.id, entry("revoke link", NOW + 2))
    assert again is not None
    assert again.revoked_at == NOW + 1
    assert len([line for line in await store.ledger() if line.action == "revoke link"]) == 1


@pytest.mark.promise(8)
async def test_of_many_who_revoke_at_once_one_is_in_the_ledger(store: Store, other: Store) -> None:
    link = await made(store)
    both = [each for _ in range(10) for each in (store, other)]
    await asyncio.gather(
        *(each.revoke_link(link.id, entry("revoke link", NOW + n)) for n, each in enumerate(both))
    )
    assert len([line for line in await store.ledger() if line.action == "revoke link"]) == 1


async def test_a_link_that_is_not_there_cannot_be_revoked(store: Store) -> None:
    assert await store.revoke_link("nothing", entry("revoke link")) is None


# --- statistics


async def test_statistics_count_the_knocks_of_each_link_by_state(store: Store) -> None:
    first, second = await made(store, "1", uses=None), await made(store, "2", uses=None, door="other")
    await by_link(store, "alice", link="1")
    await by_link(store, "bob", link="1", judge=HOLD)
    await by_link(store, "carol", link="2", judge=HOLD, through=OTHER_ROOM)
    await kept(store, attempt("dave"))
    assert await store.link_statistics() == {
        first.id: LinkStatistics({S.ADMITTED: 1, S.HELD: 1}),
        second.id: LinkStatistics({S.HELD: 1}),
    }


# --- many at once


@pytest.mark.parametrize("uses", [1, 7])
async def test_exactly_as_many_come_in_as_the_link_has_uses(store: Store, other: Store, uses: int) -> None:
    await made(store, uses=uses)
    results = await asyncio.gather(
        *(by_link(each, f"somebody{n}{i}") for n in range(20) for i, each in enumerate((store, other)))
    )
    assert sum(isinstance(result, Kept) for result in results) == uses
    assert await used(store) == uses


async def test_nobody_comes_in_once_revoking_has_returned(store: Store, other: Store) -> None:
    link = await made(store, uses=None)
    early = [asyncio.ensure_future(by_link(other, f"early{n}")) for n in range(20)]
    await asyncio.sleep(0)
    await store.revoke_link(link.id, entry("revoke link"))
    late = await asyncio.gather(*(by_link(other, f"late{n}") for n in range(20)))
    in_time = [result for result in await asyncio.gather(*early) if isinstance(result, Kept)]
    assert set(late) == {LinkOver()}
    assert await used(store) == len(in_time)


async def test_two_doors_with_links_of_their_own_do_not_wait_in_a_circle(store: Store, other: Store) -> None:
    await made(store, "1", uses=None)
    await made(store, "2", uses=None, door="other")
    doors = {"1": MAIN, "2": OTHER_ROOM}
    results = await asyncio.gather(
        *(
            by_link(each, f"somebody{n % 5}", link=token, through=doors[token])
            for n in range(15)
            for token in doors
            for each in (store, other)
        )
    )
    assert all(isinstance(result, Kept) for result in results)
