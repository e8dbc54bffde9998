"""What every store on SQL does alike: which transaction or which question each method of ports.Store is.

A back-end adds how a transaction is run and how a question is asked; nothing
here knows of a driver.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, TypeVar

from mknock.domain.direct_rooms import DirectRoom, TalkLimits
from mknock.domain.doors import Door
from mknock.domain.knocks import Knock, KnockState
from mknock.domain.links import InviteLink, LinkStatistics
from mknock.domain.policy_lists import PolicyList
from mknock.domain.raids import Raid, Told
from mknock.domain.rules import Rule
from mknock.ports import (
    AskedToWait,
    Attempt,
    Claimed,
    Entry,
    Judge,
    Kept,
    LinkOver,
    OwnRule,
    Pace,
    Queue,
    RoomToLeave,
    RuleChange,
    RulesChanged,
    Secret,
)
from mknock.storage import sql, transactions
from mknock.storage.rows import (
    Row,
    direct_room_of,
    entry_of,
    knock_of,
    link_of,
    list_of,
    own_rule_of,
    raid_of,
    rule_of,
)
from mknock.storage.transactions import Steps
from mknock.storage.vault import Vault

T = TypeVar("T")

TIDIED_AT_ONCE = 1000
"""Rows of a kind that are forgotten in one transaction, so that nobody waits long behind it."""


OWN_PAGE = 500
"""Rules that are read at once where all of the owner's are wanted, so that nobody waits long behind it."""


class SqlStore(ABC):
    """Everything Knock remembers, in tables. See ports.Store for what each method promises."""

    def __init__(self, secret_key: str | None = None) -> None:
        self._vault = Vault(secret_key)

    # --- the driver

    @abstractmethod
    def _run(self, steps: Callable[[], Steps[T]]) -> Awaitable[T]:
        """Run one transaction; once what is returned has been awaited, it is on disk.

        ``steps`` may be called again, for a transaction that has to be run anew.

        Raises:
            StoreUnavailable: nothing has changed.
        """

    @abstractmethod
    async def _read(self, statement: str, *parameters: Any) -> list[Row]:
        """Ask one question, outside of any transaction.

        Raises:
            StoreUnavailable: there is no answer.
        """

    async def _execute(self, statement: str, *parameters: Any) -> None:
        await self._run(lambda: transactions.one(statement, *parameters))

    async def ping(self) -> None:
        """Write, so that a full or read-only disk is noticed before a visitor notices it."""
        await self._execute(sql.PUT_SECRET, "ping", "pong", None)

    # --- knocks

    async def admit(self, attempt: Attempt, judge: Judge) -> Kept | AskedToWait | LinkOver:
        return await self._run(lambda: transactions.admit(attempt, judge))

    async def prove(self, attempt: Attempt, judge: Judge) -> Knock | None:
        return await self._run(lambda: transactions.prove(attempt, judge))

    async def count_request(self, door: Door, sender: str, at: float) -> float:
        return await self._run(lambda: transactions.count_request(door, sender, at))

    async def must_wait(self, sender: str, now: float) -> float:
        rows = await self._read(sql.BACKOFF, sender, now)
        return max(0.0, float(rows[0][1]) - now) if rows else 0.0

    async def claim(
        self,
        now: float,
        *,
        limit: int,
        lease: float,
        pace: Pace | None = None,
        queue: Queue = Queue.INVITES,
    ) -> Claimed:
        return await self._run(lambda: transactions.claim(now, limit, lease, pace, queue))

    async def renew(self, claims: Sequence[Knock], until: float) -> None:
        await self._run(lambda: transactions.renew(claims, until))

    async def put_back(self, claim: Knock, *, due_at: float, tried: bool = True) -> bool:
        return await self._run(lambda: transactions.put_back(claim, due_at, tried))

    async def record(self, claim: Knock, after: Knock, entries: Sequence[Entry]) -> bool:
        return await self._run(lambda: transactions.record(claim, after, entries))

    async def change(
        self, knock_id: str, how: Callable[[Knock], Knock], entry: Entry, *, rule: Rule | None = None
    ) -> Knock:
        return await self._run(lambda: transactions.change(knock_id, how, entry, rule))

    async def knock(self, knock_id: str) -> Knock | None:
        rows = await self._read(sql.KNOCK, knock_id)
        return knock_of(rows[0]) if rows else None

    async def knock_with_receipt(self, receipt: str) -> Knock | None:
        rows = await self._read(sql.KNOCK_OF_EVENT, transactions.receipt_name(receipt))
        return knock_of(rows[0]) if rows else None

    async def knocks_of(self, user_key: str, *, states: frozenset[KnockState] | None = None) -> list[Knock]:
        knocks = map(knock_of, await self._read(sql.OF_PERSON, user_key))
        return [knock for knock in knocks if states is None or knock.state in states]

    async def knocks_in(
        self, states: frozenset[KnockState], *, limit: int = 1000, after: str = ""
    ) -> list[Knock]:
        return [knock_of(row) for row in await self._read(sql.knocks_in(states), after, limit)]

    async def hurry(self, user_key: str, now: float) -> int:
        # Whoever enters a large room hears of thousands of people's devices; hardly any of them waits here.
        if not await self._read(sql.WAITS, user_key, now):
            return 0
        return await self._run(lambda: transactions.hurry(user_key, now))

    # --- block-list

    async def rules(self) -> list[Rule]:
        return [rule_of(row) for row in await self._read(sql.RULES)]

    async def rules_since(self, revision: int, after: str = "", *, limit: int = 1000) -> list[RuleChange]:
        rows = await self._read(sql.RULES_SINCE, revision, after, limit)
        return [RuleChange(int(row[0]), rule_of(row[2:]), removed=bool(row[1])) for row in rows]

    async def rules_revision(self) -> int:
        return int((await self._read(sql.REVISION))[0][0])

    async def block(self, rule: Rule, entry: Entry) -> tuple[bool, list[Knock]]:
        return await self._run(lambda: transactions.block(rule, entry))

    async def unblock(self, user_key: str, entry: Entry) -> Rule | None:
        return await self._run(lambda: transactions.unblock(user_key, entry))

    async def change_rules(
        self,
        put: Sequence[Rule],
        drop: Sequence[str],
        entry: Entry,
        *,
        replacing: bool = False,
        in_file: bool = False,
    ) -> RulesChanged:
        return await self._run(
            lambda: transactions.change_rules(put, drop, entry, replacing=replacing, in_file=in_file)
        )

    async def own_rules(self) -> list[OwnRule]:
        own: list[OwnRule] = []
        after = ""
        while rows := await self._read(sql.OWN_RULES, after, OWN_PAGE):
            own += map(own_rule_of, rows)
            after = rows[-1][2]
            await asyncio.sleep(0)
        return await asyncio.to_thread(sorted, own, key=_age)

    async def mark_in_file(self, rule_ids: Sequence[str], in_file: bool) -> None:
        await self._run(lambda: transactions.mark_in_file(rule_ids, in_file=in_file))

    async def knocks_by_rule(self, entity: str, *, after: str = "", limit: int = 1000) -> list[Knock]:
        return [knock_of(row) for row in await self._read(sql.BY_RULE, entity, after, limit)]

    async def rules_of(self, source: str, after: str = "", *, limit: int = 1000) -> list[Rule]:
        return [rule_of(row) for row in await self._read(sql.RULES_OF, source, after, limit)]

    async def add_link(self, link: InviteLink, entry: Entry) -> None:
        await self._run(lambda: transactions.add_link(link, entry))

    async def link(self, token_hash: str) -> InviteLink | None:
        rows = await self._read(sql.LINK, token_hash)
        return link_of(rows[0]) if rows else None

    async def links(self, *, after: str = "", limit: int = 1000) -> list[InviteLink]:
        return [link_of(row) for row in await self._read(sql.LINKS, after, limit)]

    async def link_statistics(self) -> Mapping[str, LinkStatistics]:
        knocks: dict[str, dict[KnockState, int]] = {}
        for link, state, count in await self._read(sql.LINK_STATISTICS):
            knocks.setdefault(link, {})[KnockState(state)] = int(count)
        return {link: LinkStatistics(counts) for link, counts in knocks.items()}

    async def revoke_link(self, link_id: str, entry: Entry) -> InviteLink | None:
        return await self._run(lambda: transactions.revoke_link(link_id, entry))

    async def policy_lists(self) -> list[PolicyList]:
        return [list_of(row) for row in await self._read(sql.LISTS)]

    async def add_list(self, policy_list: PolicyList, entry: Entry) -> bool:
        return await self._run(lambda: transactions.add_list(policy_list, entry))

    async def remove_list(self, name: str, entry: Entry) -> PolicyList | None:
        return await self._run(lambda: transactions.remove_list(name, entry))

    async def rooms_to_leave(self) -> list[RoomToLeave]:
        return [RoomToLeave(*row) for row in await self._read(sql.ROOMS_TO_LEAVE)]

    async def room_settled(self, room: RoomToLeave, entry: Entry) -> bool:
        return await self._run(lambda: transactions.room_settled(room, entry))

    async def add(self, knock: Knock, entry: Entry) -> None:
        await self._run(lambda: transactions.add(knock, entry))

    async def import_knocks(self, knocks: Sequence[Knock], entry: Entry) -> int:
        return await self._run(lambda: transactions.import_knocks(knocks, entry))

    # --- direct rooms

    async def begin_talk(self, room: DirectRoom, limits: TalkLimits, entry: Entry) -> bool:
        return await self._run(lambda: transactions.begin_talk(room, limits, entry))

    async def go_on_talking(self, before: DirectRoom, after: DirectRoom, entry: Entry) -> bool:
        return await self._run(lambda: transactions.go_on_talking(before, after, entry))

    async def direct_rooms(self, *, limit: int = 100) -> list[DirectRoom]:
        return [direct_room_of(row) for row in await self._read(sql.DIRECT_ROOMS, limit)]

    # --- raids

    async def start_raid(self, raid: Raid) -> Raid:
        return await self._run(lambda: transactions.start_raid(raid))

    async def end_raid(self, door: str, at: float, by: str, *, quiet_until: float) -> Raid | None:
        return await self._run(lambda: transactions.end_raid(door, at, by, quiet_until))

    async def end_lapsed_raids(self, at: float) -> list[Raid]:
        return await self._run(lambda: transactions.end_lapsed_raids(at))

    async def tell_raid(self, raid_id: str, told: Told) -> None:
        await self._execute(sql.TELL_RAID, raid_id, told.value)

    async def raid(self, raid_id: str) -> Raid | None:
        rows = await self._read(sql.RAID, raid_id)
        return raid_of(rows[0]) if rows else None

    async def raids(self, *, limit: int = 100) -> list[Raid]:
        return [raid_of(row) for row in await self._read(sql.RAIDS, limit)]

    async def untold_raids(self) -> list[Raid]:
        return [raid_of(row) for row in await self._read(sql.UNTOLD_RAIDS)]

    async def wave(self, raid_id: str, *, after: str = "", limit: int = 1000) -> list[Knock]:
        return [knock_of(row) for row in await self._read(sql.WAVE, raid_id, after, limit)]

    async def wave_counts(self, raid_id: str) -> Mapping[KnockState, int]:
        return {KnockState(row[0]): int(row[1]) for row in await self._read(sql.WAVE_COUNTS, raid_id)}

    # --- ledger

    async def write(self, entry: Entry) -> None:
        await self._run(lambda: transactions.write(entry))

    async def ledger(self, *, knock_id: str = "", user_id: str = "", limit: int = 100) -> list[Entry]:
        if knock_id:
            rows = await self._read(sql.LEDGER_OF_KNOCK, limit, knock_id)
        elif user_id:
            rows = await self._read(sql.LEDGER_OF_USER, limit, user_id, user_id.lower())
        else:
            rows = await self._read(sql.LEDGER, limit)
        return [entry_of(row) for row in rows]

    # --- shared between processes

    async def pause(self, what: str, until: float) -> None:
        await self._execute(sql.PAUSE, what, until)

    async def paused(self, what: str) -> float:
        rows = await self._read(sql.PAUSED, what)
        return float(rows[0][0]) if rows else 0.0

    async def resume(self, what: str) -> None:
        await self._execute(sql.RESUME, what)

    async def take_lease(self, name: str, holder: str, *, now: float, until: float) -> bool:
        return await self._run(lambda: transactions.take_lease(name, holder, now, until))

    async def drop_lease(self, name: str, holder: str) -> None:
        await self._execute(sql.DROP_LEASE, name, holder)

    async def secret(self, name: str) -> str | None:
        rows = await self._read(sql.SECRET, name)
        return self._vault.open(rows[0][0]) if rows else None

    async def put_secret(self, name: str, value: str, *, expires_at: float | None = None) -> None:
        await self._execute(sql.PUT_SECRET, name, self._vault.seal(value), expires_at)

    async def put_secrets(self, secrets: Sequence[Secret], *, fence: str, seen: str) -> bool:
        rows = [(each.name, self._vault.seal(each.value), each.expires_at) for each in secrets]
        return await self._run(lambda: transactions.put_secrets(rows, fence, seen))

    async def settle_secret(self, name: str, value: str, *, expires_at: float | None = None) -> str:
        sealed = self._vault.seal(value)
        kept = await self._run(lambda: transactions.settle_secret(name, sealed, expires_at))
        return self._vault.open(kept)

    async def drop_secret(self, name: str) -> None:
        await self._execute(sql.DROP_SECRET, name)

    async def tidy(self, now: float) -> int:
        gone = 0
        while some := await self._run(lambda: transactions.tidy(now, TIDIED_AT_ONCE)):
            gone += some
        return gone

    async def counts(self) -> Mapping[KnockState, int]:
        return {KnockState(state): int(number) for state, number in await self._read(sql.COUNTS)}


def migrations() -> list[tuple[int, str]]:
    """The numbered scripts, in order."""
    folder = resources.files("mknock.storage.migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return [(int(file.name.split("_")[0]), file.read_text("utf-8")) for file in files]


def _age(one: OwnRule) -> tuple[float, str]:
    return one.rule.at, one.rule.id
