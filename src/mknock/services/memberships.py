"""What is seen in the doors' rooms, and what it makes of the knocks on record.

Seen in two ways with one meaning: events as /sync tells them, and a
comparison of the whole room with the record, after a gap and as a safety net.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
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
from mknock.services.native_knocks import NativeKnocks
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
    welcomed. ``natives`` takes in those who knock in the room itself, and
    ``note`` is told everybody who is in a room, as often as that is read.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        clock: Clock,
        *,
        guard: Guard,
        doors: Doors,
        natives: NativeKnocks,
        note: Callable[[Door, Collection[str]], Awaitable[None]],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._clock = clock
        self._guard = guard
        self._doors = doors
        self._natives = natives
        self._note = note
        self._wake = wake

    async def heard(self, door: Door, event: StateEvent) -> None:
        """Take in one m.room.member event. The same event again changes nothing."""
        membership = _membership(event.content)
        bot = await self._homeserver.whoami()
        if membership is None or membership is _membership(event.before) or event.key == bot:
            return  # a changed name or picture, or ourselves
        honouring = self._natives.door(door.room_id)
        if membership is Membership.KNOCK and honouring is not None:
            if door.slug == honouring.slug:
                await self._heard_knock(door, event)
            return  # whoever is on the block-list is refused as anybody is
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
        honouring = self._natives.door(door.room_id)
        knocking = await self._homeserver.members(door.room_id, Membership.KNOCK) if honouring else {}
        in_room = {**knocking, **invited, **joined}
        changed = 0
        for state in (S.HELD, S.INVITED, S.JOINED, S.ALREADY_MEMBER):
            async for knock in self._knocks(door, state):
                changed += await self._compare_one(door, knock, in_room)
        if honouring is not None and door.slug == honouring.slug:
            for user_id in knocking:
                await self._still_knocks(door, user_id)
            changed += await self._natives.found(door, knocking)
        await self._note(door, joined)
        return changed

    async def _compare_one(self, door: Door, knock: Knock, in_room: Mapping[str, Member]) -> bool:
        """Look closer at one person, if the lists do not say that all is as it was."""
        member = in_room.get(knock.user_id)
        if member is not None and member.membership is Membership.KNOCK:
            return False  # that is dealt with by itself
        if (member.membership if member else None) in _as_it_was(knock):
            return False
        member = await self._homeserver.member(door.room_id, knock.user_id)
        if member.sender == await self._homeserver.whoami() and member.membership is not Membership.JOIN:
            return False  # our own doing: whoever did it records it
        return await self._take_in(door, knock.user_id, member)

    async def _heard_knock(self, door: Door, event: StateEvent) -> None:
        """Take in a membership knock that stands. What came after one that does not is told next.

        A room that does not let us look keeps nobody from hearing of the others.
        """
        try:
            if await self._still_knocks(door, event.key, event.at):
                await self._natives.came(door, event.key, event.at, event.content)
        except Refused as error:
            log.warning("a membership knock could not be looked at", door=door.slug, why=str(error))

    async def _still_knocks(self, door: Door, user_id: str, since: float | None = None) -> bool:
        """Whether somebody knocks in the room now (since then). Records that say they are in it end.

        Those are read before the room is asked: read after, they might be newer
        than its answer. Whether such a person went or was removed is not
        known, so their next knock is left to a moderator.
        """
        known = await self._store.knocks_of(key_of(user_id), states=MEMBERS | {S.INVITED})
        inside = [knock for knock in known if knock.room_id == door.room_id]
        if since is None and not inside:
            return True
        member = await self._homeserver.member(door.room_id, user_id)
        if member.membership is not Membership.KNOCK or (since and member.since not in (since, 0.0)):
            return False
        for knock in inside:
            await self._change(door, knock, user_id, replace(member, sender="knock"), Seen.REMOVED)
        return True

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


def _as_it_was(knock: Knock) -> frozenset[Membership | None]:
    """The memberships (None: no longer, or never) that tell nothing new of a knock."""
    if knock.state in MEMBERS:
        return frozenset({Membership.JOIN})
    if knock.state is S.INVITED:
        return frozenset({Membership.INVITE})
    return frozenset() if knock.knocking else frozenset({None})


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
