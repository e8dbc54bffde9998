"""What every store promises (ports.Store): what moderators decide, and what comes from elsewhere."""

from __future__ import annotations

import pytest
from tests.contract.store_cases import (
    HOLD,
    NOW,
    OTHER_ROOM,
    REFUSE,
    attempt,
    claimed_one,
    ended,
    entry,
    invited,
    kept,
    knocked,
    moved,
    person,
    rule,
)

from mknock.checks import decide
from mknock.domain.errors import IllegalMove, NotFound
from mknock.domain.knocks import WITHDRAW_AFTER, KnockState, Reason
from mknock.ports import Judge, Store

S = KnockState
ALICE = person("alice")

# --- decisions of moderators


@pytest.mark.parametrize("judge", [HOLD, decide])
@pytest.mark.promise(3)
async def test_blocking_refuses_what_waits(store: Store, judge: Judge) -> None:
    knock = await knocked(store, "mallory", judge=judge)
    await store.block(rule("mallory"), entry("block", NOW + 1))
    found = await store.knock(knock.id)
    assert found is not None
    assert (found.state, found.reason, found.rule) == (S.REFUSED, Reason.BLOCKED, "@mallory:example.org")
    assert found.due_at is None


@pytest.mark.promise(3)
async def test_a_blocked_knock_cannot_be_recorded_as_invited(store: Store) -> None:
    await knocked(store, "mallory")
    claim = await claimed_one(store)
    await store.block(rule("mallory"), entry("block"))
    assert not await store.record(claim, moved(S.INVITED)(claim), [])


async def test_blocking_leaves_an_open_invite_to_be_withdrawn(store: Store) -> None:
    knock = await invited(store, "mallory")
    new, waiting = await store.block(rule("mallory"), entry("block", NOW + 1))
    assert (new, waiting) == (True, [knock])
    claim = await claimed_one(store, NOW + 1 + WITHDRAW_AFTER)
    assert (claim.state, claim.reason) == (S.INVITED, Reason.BLOCKED)


async def test_blocking_does_not_change_what_is_settled(store: Store) -> None:
    knock = await ended(store, "mallory", S.DECLINED)
    await store.block(rule("mallory"), entry("block"))
    assert await store.knock(knock.id) == knock


@pytest.mark.promise(8)
async def test_blocking_is_in_the_ledger_rule_first(store: Store) -> None:
    held = await knocked(store, "mallory", judge=HOLD)
    await store.block(rule("mallory"), entry("block", NOW + 1, detail="spam"))
    line, of_rule = (await store.ledger())[:2]
    assert (of_rule.user_id, of_rule.rule, of_rule.after) == ("@mallory:example.org",) * 2 + ("blocked",)
    assert (line.knock_id, line.before, line.after, line.reason) == (held.id, "held", "refused", "blocked")
    assert (line.actor, line.rule, line.detail) == ("api", "@mallory:example.org", "spam")


@pytest.mark.promise(8)
async def test_leaving_an_invite_to_be_withdrawn_is_in_the_ledger(store: Store) -> None:
    knock = await invited(store, "mallory")
    await store.block(rule("mallory"), entry("block", NOW + 1))
    line = (await store.ledger(knock_id=knock.id))[0]
    assert (line.action, line.before, line.after) == ("block", "invited", "invited")


async def test_blocking_twice_keeps_the_first_rule(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    lines = await store.ledger()
    assert await store.block(rule("Mallory", NOW + 9), entry("block")) == (False, [])
    assert await store.rules() == [rule("mallory")]
    assert await store.ledger() == lines


async def test_a_rule_is_found_however_the_name_is_written(store: Store) -> None:
    await store.block(rule("Mallory"), entry("block"))
    assert (await knocked(store, "MALLORY")).reason is Reason.BLOCKED


async def test_unblocking_returns_the_rule_that_was(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    assert await store.unblock(person("mallory").key, entry("unblock")) == rule("mallory")
    assert await store.rules() == []


@pytest.mark.promise(8)
async def test_unblocking_is_in_the_ledger(store: Store) -> None:
    await store.block(rule("mallory"), entry("block", NOW))
    await store.unblock(person("mallory").key, entry("unblock", NOW + 1))
    line = (await store.ledger())[0]
    assert (line.action, line.user_id, line.before, line.after) == (
        "unblock",
        "@mallory:example.org",
        "blocked",
        "",
    )


async def test_unblocking_somebody_who_is_not_blocked_writes_nothing(store: Store) -> None:
    assert await store.unblock(person("bob").key, entry("unblock")) is None
    assert await store.ledger() == []


async def test_a_blocked_person_is_refused(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    assert (await knocked(store, "mallory")).reason is Reason.BLOCKED


async def test_a_blocked_persons_cooldown_ends_with_the_block(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    await knocked(store, "mallory")
    await store.unblock(person("mallory").key, entry("unblock"))
    again = await kept(store, attempt("mallory", NOW + 1))
    assert (again.repeat, again.knock.state) == (False, S.ADMITTED)


async def test_while_blocked_a_person_cools_down_like_anybody(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    await knocked(store, "mallory")
    assert (await kept(store, attempt("mallory", NOW + 1))).repeat


async def test_rules_are_listed_oldest_first(store: Store) -> None:
    for name, at in (("c", 2.0), ("a", 3.0), ("b", 1.0)):
        await store.block(rule(name, at), entry("block"))
    assert [found.entity[1] for found in await store.rules()] == ["b", "c", "a"]


@pytest.mark.promise(8)
async def test_a_change_is_in_the_ledger_with_before_and_after(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=HOLD)
    await store.change(
        knock.id, moved(S.ADMITTED, NOW + 1, due_at=NOW + 1), entry("approve", NOW + 1, reason="moderator")
    )
    line = (await store.ledger(knock_id=knock.id))[0]
    assert (line.action, line.before, line.after, line.reason) == ("approve", "held", "admitted", "moderator")
    assert (line.door, line.user_id) == ("main", "@alice:example.org")


async def test_a_change_returns_what_is_on_record(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=HOLD)
    changed = await store.change(knock.id, moved(S.REFUSED, NOW + 1), entry("refuse"))
    assert changed == await store.knock(knock.id)


async def test_a_change_of_nothing_writes_nothing(store: Store) -> None:
    knock = await knocked(store, ALICE)
    lines = await store.ledger()
    assert await store.change(knock.id, lambda same: same, entry("look")) == knock
    assert (await store.knock(knock.id), await store.ledger()) == (knock, lines)


async def test_a_change_of_an_unknown_knock_is_an_error(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.change("nobody", moved(S.REFUSED), entry("refuse"))


async def test_an_illegal_move_leaves_nothing(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=REFUSE)
    lines = await store.ledger()
    with pytest.raises(IllegalMove):
        await store.change(knock.id, moved(S.ADMITTED), entry("approve"))
    assert (await store.knock(knock.id), await store.ledger()) == (knock, lines)


# --- coming from elsewhere


async def test_importing_rules_adds_what_is_not_there(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    new = await store.change_rules([rule("mallory"), rule("trudy"), rule("Trudy")], (), entry("import"))
    assert new.added == (rule("trudy"),)
    assert {found.entity for found in await store.rules()} == {"@mallory:example.org", "@trudy:example.org"}


async def test_importing_a_rule_twice_writes_one_ledger_line(store: Store) -> None:
    for _ in range(2):
        await store.change_rules([rule("mallory")], (), entry("import"))
    assert [line.action for line in await store.ledger()] == ["import"]


# --- lists


async def test_knocks_are_listed_oldest_first(store: Store) -> None:
    ids = [(await knocked(store, None, NOW + n, judge=HOLD)).id for n in range(5)]
    assert [knock.id for knock in await store.knocks_in(frozenset({S.HELD}))] == ids


async def test_a_list_goes_on_behind_the_last_page(store: Store) -> None:
    ids = [(await knocked(store, None, NOW + n, judge=HOLD)).id for n in range(5)]
    page = await store.knocks_in(frozenset({S.HELD}), limit=2, after=ids[1])
    assert [knock.id for knock in page] == ids[2:4]


@pytest.mark.parametrize("states", [{S.HELD}, {S.HELD, S.ADMITTED}, {S.REFUSED}, {S.REFUSED, S.HELD}, set(S)])
async def test_a_list_holds_the_wanted_states_only(store: Store, states: set[KnockState]) -> None:
    for n, judge in enumerate([HOLD, decide, REFUSE] * 2):
        await knocked(store, None, NOW + n, judge=judge)
    listed = await store.knocks_in(frozenset(states))
    assert {knock.state for knock in listed} == states & {S.HELD, S.ADMITTED, S.REFUSED}
    assert listed == sorted(listed, key=lambda knock: knock.id)


async def test_a_persons_knocks_are_listed_newest_first(store: Store) -> None:
    first = await knocked(store, ALICE, judge=REFUSE)
    second = await knocked(store, ALICE, NOW + 1, through=OTHER_ROOM)
    assert await store.knocks_of(ALICE.key) == [second, first]
    assert await store.knocks_of(ALICE.key, states=frozenset({S.REFUSED})) == [first]


async def test_open_knocks_are_counted_by_state(store: Store) -> None:
    for judge in (HOLD, HOLD, decide, REFUSE):
        await knocked(store, judge=judge)
    assert await store.counts() == {S.HELD: 2, S.ADMITTED: 1}


async def test_the_ledger_is_read_newest_first(store: Store) -> None:
    for n in range(5):
        await store.write(entry(f"line {n}", NOW + n))
    assert [line.action for line in await store.ledger(limit=2)] == ["line 4", "line 3"]


async def test_the_ledger_of_a_knock_holds_its_lines_only(store: Store) -> None:
    knock = await knocked(store, ALICE)
    await knocked(store, "bob")
    assert [line.user_id for line in await store.ledger(knock_id=knock.id)] == ["@alice:example.org"]


async def test_the_ledger_of_a_person_holds_knocks_and_rules(store: Store) -> None:
    await knocked(store, "mallory", NOW)
    await knocked(store, "bob", NOW)
    await store.block(rule("mallory"), entry("block", NOW + 1))
    lines = await store.ledger(user_id="@mallory:example.org")
    assert [line.action for line in lines] == ["block", "block", "knocked"]
