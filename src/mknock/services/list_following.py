"""Follows the policy rooms that Knock is subscribed to, and keeps their rules in the store.

Rules are kept, so they count at once after a restart, and while the homeserver is
away. One process of all follows (the one with the turn). Two ways lead to one end: events as
/sync tells them, and a comparison of the whole room with the record: at first sight,
after a gap, from time to time, and wherever Knock may not use /sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

from mknock.domain.errors import HomeserverError, Refused
from mknock.domain.ids import MatrixID
from mknock.domain.policy_lists import KINDS, PolicyList, origin_of
from mknock.domain.rules import Rule
from mknock.ports import Clock, Entry, Homeserver, Membership, RoomNews, RulesChanged, StateEvent, Store
from mknock.services.list_survey import as_told, survey, usable
from mknock.telemetry import get_logger

log = get_logger(__name__)

PAGE = 500
"""Rules that are read or changed at once, so that nobody waits long behind it."""
AGAIN = 30.0
"""Seconds until a policy room that could not be read is tried again."""


class NotInTheRoom(HomeserverError):
    """Knock is not in a policy room, so it does not know what the list says by now."""


class ListFollower:
    """Brings the rules of policy lists up to date with their rooms.

    ``every`` is how often a whole room is compared. ``on_rooms`` is called when other rooms are
    to be heard of, and ``on_change`` once rules have come or gone.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        clock: Clock,
        *,
        every: float,
        on_rooms: Callable[[], None] = lambda: None,
        on_change: Callable[[RulesChanged], Awaitable[None]],
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._clock = clock
        self._every = every
        self._on_rooms = on_rooms
        self._on_change = on_change
        self._lists: dict[str, PolicyList] = {}
        """By the names, those that were removed included."""
        self._next: dict[str, float] = {}
        """When each is compared next."""
        self._troubled: dict[str, str] = {}
        self._writing = asyncio.Lock()

    @property
    def rooms(self) -> frozenset[str]:
        """The policy rooms to hear of."""
        return frozenset(each.room_id for each in self._lists.values() if not each.removed)

    async def tick(self, now: float) -> int:
        """Take in which lists there are, and compare those whose time has come; return how many rules changed."""
        self._take_over(await self._store.policy_lists())
        changed = 0
        for policy_list in list(self._lists.values()):
            if policy_list.removed:
                changed += await self._clear(policy_list)
            elif self._next[policy_list.name] <= now:
                changed += await self._look(policy_list, now)
        return changed

    def suspect(self) -> None:
        """Something may have been missed, in any of the rooms: compare them all."""
        self._next = dict.fromkeys(self._next, 0.0)

    async def heard(self, room_id: str, news: RoomNews) -> None:
        """Take in what /sync tells of a policy room."""
        policy_list = next((each for each in self._lists.values() if each.room_id == room_id), None)
        if policy_list is None or policy_list.removed:
            return
        if news.gap:
            self._next[policy_list.name] = 0.0
        events = [event for event in news.events if event.kind in KINDS]
        if events:
            async with self._writing:
                put, drop = await self._changes(policy_list, events)
                await self._write(policy_list, put, drop)

    # --- which lists there are

    def _take_over(self, lists: Iterable[PolicyList]) -> None:
        rooms, now = self.rooms, {each.name: each for each in lists}
        for name, policy_list in now.items():
            if self._lists.get(name) != policy_list:
                self._next[name] = 0.0
        self._lists = now
        if self.rooms != rooms:
            self._on_rooms()

    async def _clear(self, policy_list: PolicyList) -> int:
        """Drop what is left of a list that was removed, perhaps while its rules were being written."""
        if self._next[policy_list.name] > 0.0:
            return 0
        async with self._writing:
            dropped = await drop_rules(self._store, policy_list, self._entry(policy_list))
        if dropped:
            await self._on_change(RulesChanged(dropped=tuple(dropped)))
        self._next[policy_list.name] = float("inf")
        return len(dropped)

    # --- the whole room

    async def _look(self, policy_list: PolicyList, now: float) -> int:
        """Compare one room. What cannot be read changes nothing: its rules go on counting."""
        self._next[policy_list.name] = now + self._every
        try:
            changed = await self._compare(policy_list)
        except HomeserverError as error:
            self._next[policy_list.name] = now + min(AGAIN, self._every)
            self._say(policy_list, str(error))
            return 0
        self._say(policy_list, "")
        return changed

    def _say(self, policy_list: PolicyList, problem: str) -> None:
        """Report what is in the way, once."""
        if self._troubled.get(policy_list.name, "") != problem:
            if problem:
                log.warning(
                    "a policy list could not be read, its rules stay", list=policy_list.name, why=problem
                )
            else:
                log.info("a policy list is read again", list=policy_list.name)
        self._troubled[policy_list.name] = problem

    async def _compare(self, policy_list: PolicyList) -> int:
        async with self._writing:
            events = await read_room(self._homeserver, policy_list)
            # Beside the event loop: a list of thousands takes a while, and nobody else is to wait for it.
            found = await asyncio.to_thread(survey, events, policy_list, await self._own_server())
            there = {rule.id: rule async for page in rules_of(self._store, policy_list) for rule in page}
            put = [rule for rule_id, rule in found.rules.items() if there.get(rule_id) != rule]
            gone = [rule_id for rule_id in there if rule_id not in found.rules]
            if put or gone:
                log.info(
                    "a policy list was compared",
                    list=policy_list.name,
                    rules=len(found.rules),
                    changed=len(put),
                    gone=len(gone),
                    left_out=sum(found.left_out.values()),
                )
            # What is replaced is dropped as well: it may have named somebody else.
            return await self._write(
                policy_list, put, [*gone, *(rule.id for rule in put if rule.id in there)]
            )

    # --- changing the rules

    async def _changes(
        self, policy_list: PolicyList, events: Sequence[StateEvent]
    ) -> tuple[list[Rule], list[str]]:
        """What events make of the rules, and whatever stood in their places; of several the last counts."""
        server = await self._own_server()
        after: dict[str, Rule | None] = {}
        for event in events:
            found = usable(as_told(event), policy_list, server)
            rule_id = f"{policy_list.source}:{origin_of(event.kind, event.key)}"
            after[rule_id] = found if isinstance(found, Rule) else None
        put = [rule for rule in after.values() if rule is not None]
        return put, list(after)

    async def _write(self, policy_list: PolicyList, put: Sequence[Rule], drop: Sequence[str]) -> int:
        entry, changed = self._entry(policy_list), 0
        for some_put, some_drop in _pages(put, drop):
            done = await self._store.change_rules(some_put, some_drop, entry, replacing=True)
            changed += len({rule.id for rule in (*done.added, *done.dropped)})
            if done.added or done.dropped:
                await self._on_change(done)
        return changed

    def _entry(self, policy_list: PolicyList) -> Entry:
        return Entry(at=self._clock(), actor=policy_list.source, action="list")

    async def _own_server(self) -> str:
        return MatrixID.of(await self._homeserver.whoami()).server


def _pages(put: Sequence[Rule], drop: Sequence[str]) -> Iterator[tuple[Sequence[Rule], Sequence[str]]]:
    """In pages, so that what is dropped to be replaced is replaced in the same."""
    names = {rule.id for rule in put}
    gone = [rule_id for rule_id in drop if rule_id not in names]
    replaced = set(drop) - set(gone)
    for start in range(0, len(gone), PAGE):
        yield (), gone[start : start + PAGE]
    for start in range(0, len(put), PAGE):
        page = put[start : start + PAGE]
        yield page, [rule.id for rule in page if rule.id in replaced]


async def read_room(homeserver: Homeserver, policy_list: PolicyList) -> list[dict[str, object]]:
    """The state of a policy room as it is now.

    Raises:
        NotInTheRoom: Knock is not in it (any more); what it would be shown is old.
        HomeserverError: it cannot be read right now.
    """
    me = await homeserver.whoami()
    try:
        membership = (await homeserver.member(policy_list.room_id, me)).membership
    except Refused:
        membership = Membership.NONE
    if membership is not Membership.JOIN:
        raise NotInTheRoom(f"Knock is not in the room of policy list {policy_list.name!r}: let it in again")
    events = await homeserver.room_state(policy_list.room_id)
    if not any(event.get("type") == "m.room.create" for event in events):
        raise NotInTheRoom(f"the room of policy list {policy_list.name!r} was shown in part only")
    return events


async def rules_of(store: Store, policy_list: PolicyList) -> AsyncIterator[list[Rule]]:
    """All rules of a list, page by page."""
    after = ""
    while page := await store.rules_of(policy_list.source, after, limit=PAGE):
        yield page
        after = page[-1].id


async def drop_rules(store: Store, policy_list: PolicyList, entry: Entry) -> list[Rule]:
    """Drop every rule of a list, with its ledger line; return them."""
    dropped: list[Rule] = []
    while page := await store.rules_of(policy_list.source, limit=PAGE):
        dropped += (await store.change_rules((), [rule.id for rule in page], entry)).dropped
    return dropped
