"""Subscribing to policy lists: finding the room, going in, looking at what it would do, and ending it again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, NotAllowed, NotFound, Refused
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import OPEN
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Engine
from mknock.ports import Clock, Entry, Homeserver, Membership, PowerLevels, RoomAddress, Store
from mknock.services.doors import Doors
from mknock.services.list_following import drop_rules, read_room
from mknock.services.list_survey import survey
from mknock.telemetry import get_logger

log = get_logger(__name__)

PAGE = 500
PRESENT = (Membership.JOIN, Membership.INVITE, Membership.KNOCK)


class NotSubscribed(NotAllowed):
    """Knock will not subscribe to this room, or not under this name; the text says why."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody whom a list would hit right now."""

    user_id: str
    rule: Rule
    where: str
    """What they are: join, invite or knock in a room, or waiting."""
    spared: str = ""
    """Why they would be left alone all the same: Knock itself, or a moderator."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a list would do."""

    kinds: Mapping[str, int]
    """How many rules of each kind, those that let somebody in apart."""
    left_out: Mapping[str, int]
    hits: Sequence[Hit]
    unseen: Sequence[str] = ()
    """Doors whose rooms could not be looked at."""

    @property
    def rules(self) -> int:
        return sum(self.kinds.values())


class Subscriptions:
    """``published`` is the room of Knock's own list, if there is one: its ID or alias.

    ``restore`` undoes what rules did that are gone.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        clock: Clock,
        *,
        published: str = "",
        restore: Callable[[Sequence[Rule]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._published = published
        self._restore = restore

    async def find(self, room: str, via: Sequence[str] = ()) -> RoomAddress:
        """The room that an ID or alias means, with servers through which it can be entered.

        Raises:
            NotFound: there is no such room.
            NotSubscribed: it is Knock's own list, or the room of a door.
        """
        found = await address_of(self._homeserver, room)
        published = await address_of(self._homeserver, self._published) if self._published else None
        if published is not None and found.room_id == published.room_id:
            raise NotSubscribed("That is the room into which Knock writes its own rules (POLICY_LIST_ROOM).")
        if any(door.room_id == found.room_id for door in self._doors):
            raise NotSubscribed("That is the room that Knock invites to, not a policy list.")
        return RoomAddress(found.room_id, (*via, *found.servers))

    async def enter(self, room: RoomAddress) -> bool:
        """Be in the room: accept the invitation, or walk in. Returns whether Knock was outside before.

        Raises:
            NotSubscribed: it is not open; the text says what to do.
        """
        me = await self._homeserver.whoami()
        try:
            if (await self._homeserver.member(room.room_id, me)).membership is Membership.JOIN:
                return False
        except Refused:
            pass  # only members may ask
        try:
            await self._homeserver.join(room.room_id, room.servers)
        except Refused as error:
            message = f"Knock may not enter that room: invite {me} to it, then run this again ({error})."
            raise NotSubscribed(message) from None
        return True

    async def subscribe(self, policy_list: PolicyList, *, actor: str, via: Sequence[str] = ()) -> None:
        """Have the rules of a list count; a running Knock sees it within two seconds.

        The room may have been left since it was entered, because of a subscription that ended before.

        Raises:
            NotSubscribed: there is a list of that name, or of that room.
        """
        entry = Entry(at=policy_list.at, actor=actor, action="subscribe")
        if not await self._store.add_list(policy_list, entry):
            raise NotSubscribed("There is a list of that name, or of that room: see mknock lists.")
        with suppress(HomeserverError, NotSubscribed):  # whoever follows the list reports it
            await self.enter(RoomAddress(policy_list.room_id, tuple(via)))

    async def unsubscribe(self, name: str, *, actor: str) -> int:
        """End a subscription, and drop the list's rules; return how many those were. Its room is left afterwards.

        Raises:
            NotFound: there is no list of that name.
        """
        entry = Entry(at=self._clock(), actor=actor, action="unsubscribe")
        policy_list = await self._store.remove_list(name, entry)
        if policy_list is None:
            raise NotFound("There is no list of that name: see mknock lists.")
        dropped = await drop_rules(self._store, policy_list, entry)
        await self._restore(dropped)
        return len(dropped)

    # --- looking ahead

    async def preview(self, policy_list: PolicyList) -> Preview:
        """What the list would do, if Knock were subscribed to it as it is now.

        Raises:
            HomeserverError: the policy room cannot be read.
        """
        own_server = MatrixID.of(await self._homeserver.whoami()).server
        events = await read_room(self._homeserver, policy_list)
        found = await asyncio.to_thread(survey, events, policy_list, own_server)
        rules = list(found.rules.values())
        looked = _Looked(Engine(rules), self._clock())
        for door in self._doors:
            await self._look_into(door, looked)
        async for user in self._waiting():
            looked.at(user, "waiting")
        return Preview(_by_kind(rules), found.left_out, list(looked.hits.values()), looked.unseen)

    async def _look_into(self, door: Door, looked: _Looked) -> None:
        """Look at everybody in a door's room."""
        try:
            levels, me = await self._homeserver.power_levels(door.room_id), await self._homeserver.whoami()
            for membership in PRESENT:
                for user in await self._homeserver.members(door.room_id, membership):
                    looked.at(user, membership.value, _spared(user, me, levels))
        except HomeserverError as error:
            log.info("a room could not be looked at", door=door.slug, why=str(error))
            looked.unseen.append(door.slug)

    async def _waiting(self) -> AsyncIterator[str]:
        after = ""
        while page := await self._store.knocks_in(OPEN, limit=PAGE, after=after):
            for knock in page:
                yield knock.user_id
            after = page[-1].id


async def address_of(homeserver: Homeserver, room: str) -> RoomAddress:
    """The room that an ID or alias stands for.

    Raises:
        NotFound: there is no such room.
    """
    if room.startswith("!"):
        server = room.partition(":")[2]
        return RoomAddress(room, (server,) if server else ())
    address = await homeserver.resolve(room) if room.startswith("#") and ":" in room else None
    if address is None:
        raise NotFound("There is no such room: give its alias (#name:server) or its ID (begins with !).")
    return address


@dataclass(slots=True)
class _Looked:
    """Whom the rules hit, of those who were looked at; each once, as what they were first."""

    engine: Engine
    now: float
    hits: dict[str, Hit] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)

    def at(self, user: str, where: str, spared: str = "") -> None:
        rule = self.engine.naming(user, now=self.now)
        if rule is not None:
            self.hits.setdefault(user, Hit(user, rule, where, spared))


def _spared(user: str, me: str, levels: PowerLevels) -> str:
    if user == me:
        return "Knock itself"
    return "moderator" if levels.of(user) > levels.users_default else ""


NAMED: Mapping[RuleKind, str] = {
    RuleKind.USER: "people",
    RuleKind.USER_GLOB: "patterns of people",
    RuleKind.SERVER: "servers",
    RuleKind.SERVER_GLOB: "patterns of servers",
    RuleKind.USER_HASH: "people, by their hash",
    RuleKind.SERVER_HASH: "servers, by their hash",
}


def _by_kind(rules: Iterable[Rule]) -> Mapping[str, int]:
    return Counter(f"{NAMED[rule.kind]}{' to let in' if rule.allow else ''}" for rule in rules)
