"""What is seen in the doors' rooms, and what it makes of the knocks on record.

Seen in two ways with one meaning: events as /sync tells them, and a
comparison of the whole room with the record, after a gap and as a safety net.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

from mknock.domain import lifecycle
from mknock.domain.chance import new_id
from mknock.domain.doors import Door
from mknock.domain.errors import Refused
from mknock.domain.ids import key_of
from mknock.domain.knocks import MEMBERS, OPEN, Knock, KnockState, Reason
from mknock.domain.lifecycle import Seen
from mknock.ports import Clock, Entry, Homeserver, Member, Membership, StateEvent, Store
from mknock.services.doors import Doors
from mknock.services.latecomers import seen_of
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = KnockState
CONCERNED = OPEN | MEMBERS
PRESENT = frozenset({Membership.INVITE, Membership.JOIN, Membership.KNOCK})

Guard = Callable[[Door, str, Membership, str], Awaitable[object]]
"""Looks at somebody who is in a room now, under a display name: are they on the block-list?"""


class Memberships:
    """Brings the record of a door's room up to date with what is seen there.

    Our own doings are not news: whoever did them records them. ``guard`` is
    asked about everybody who comes; ``wake`` is called when somebody is to be
    welcomed.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        clock: Clock,
        *,
        guard: Guard,
        doors: Doors,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._clock = clock
        self._guard = guard
        self._doors = doors
        self._wake = wake

    async def heard(self, door: Door, event: StateEvent) -> None:
        """Take in one m.room.member event. The same event again changes nothing."""
        membership = _membership(event.content)
        bot = await self._homeserver.whoami()
        if membership is None or membership is _membership(event.before) or event.key == bot:
            return  # a changed name or picture, or ourselves
        member = Member(membership, event.at, event.sender)
        if event.sender != bot:
            await self._take_in(door, event.key, member)
        if membership in PRESENT:
            await self._guard(door, event.key, membership, _called(event.content))

    async def compare_all(self) -> int:
        """Compare every door's room; one that cannot be read does not keep the others from it."""
        changed = 0
        for door in self._doors:
            try:
                changed += await self.compare(door)
            except Refused as error:
                log.warning("a room could not be compared with the record", door=door.slug, why=str(error))
        return changed

    async def compare(self, door: Door) -> int:
        """Compare the whole room with the record; return how many knocks went on."""
        joined = await self._homeserver.members(door.room_id, Membership.JOIN)
        invited = await self._homeserver.members(door.room_id, Membership.INVITE)
        changed = 0
        for state in (S.HELD, S.INVITED, S.JOINED, S.ALREADY_MEMBER):
            async for knock in self._knocks(door, state):
                changed += await self._compare_one(door, knock, joined, invited)
        return changed

    async def _compare_one(
        self, door: Door, knock: Knock, joined: Mapping[str, Member], invited: Mapping[str, Member]
    ) -> bool:
        """Look closer at one person, if the lists do not say that all is as it was."""
        is_there, was_there = knock.user_id in joined, knock.state in MEMBERS
        if is_there and was_there:
            return False
        if not is_there and (knock.user_id in invited) == (knock.state is S.INVITED) and not was_there:
            return False
        member = await self._homeserver.member(door.room_id, knock.user_id)
        if member.sender == await self._homeserver.whoami() and member.membership is not Membership.JOIN:
            return False  # our own doing: whoever did it records it
        return await self._take_in(door, knock.user_id, member)

    async def _knocks(self, door: Door, state: KnockState) -> AsyncIterator[Knock]:
        page = await self._store.knocks_in(frozenset({state}))
        while page:
            for knock in page:
                if knock.room_id == door.room_id:
                    yield knock
            page = await self._store.knocks_in(frozenset({state}), after=page[-1].id)

    async def _take_in(self, door: Door, user_id: str, member: Member) -> bool:
        """Bring the person's record up to date; say whether it changed."""
        what, key = seen_of(member, user_id), key_of(user_id)
        if what is None:
            return False
        known = await self._store.knocks_of(key, states=CONCERNED)
        concerned = [knock for knock in known if knock.room_id == door.room_id]
        if not concerned:
            return what is Seen.JOINED and await self._came_by_themselves(door, user_id, key)
        changed = [await self._change(door, knock, user_id, member, what) for knock in concerned]
        return any(changed)

    async def _change(self, door: Door, knock: Knock, user_id: str, member: Member, what: Seen) -> bool:
        now = self._clock()
        if knock.door != door.slug:  # two doors may lead to one room
            door = self._doors.of(knock)
        actor = member.sender or user_id

        def how(current: Knock) -> Knock:
            after = lifecycle.seen(current, what, door, now)
            return after if after is current else replace(after, user_id=user_id)

        after = await self._store.change(
            knock.id, how, Entry(at=now, actor=actor, action=f"seen:{what.value}")
        )
        if after.state is knock.state:
            return False
        log.info("knock went on", knock=knock.id, door=door.slug, state=after.state, reason=after.reason)
        if after.state is S.JOINED:
            self._wake()
        return True

    async def _came_by_themselves(self, door: Door, user_id: str, key: str) -> bool:
        """Put somebody on record who joined without a knock, if the owner wants them welcomed."""
        if not (door.welcoming.everyone and door.welcoming.text):
            return False
        now = self._clock()
        knock = Knock(
            id=new_id(now),
            door=door.slug,
            room_id=door.room_id,
            user_id=user_id,
            user_key=key,
            state=S.JOINED,
            reason=Reason.JOINED,
            platform="room",
            proven=True,
            created_at=now,
            updated_at=now,
            seen_at=now,
            expires_at=now + door.lifetime,
            joined_at=now,
            due_at=now + door.welcoming.delay,
        )
        await self._store.add(knock, Entry(at=now, actor=user_id, action="joined"))
        self._wake()
        return True


def _called(content: Mapping[str, object]) -> str:
    name = content.get("displayname")
    return name if isinstance(name, str) else ""


def _membership(content: Mapping[str, object]) -> Membership | None:
    """The membership in an event's content; without one before, somebody had left."""
    told = content.get("membership", "leave" if not content else None)
    try:
        return Membership(told)  # type: ignore[arg-type]
    except ValueError:
        return None
