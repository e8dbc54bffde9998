"""What the homeserver's suite is written in: the port as some account, and an ear on one room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.kit.account import Account

from mknock import ports
from mknock.ports import Membership, News, RoomNews, StateEvent

Knocker = Callable[[Account], Awaitable[ports.Homeserver]]
"""Makes the port for an account."""


@dataclass
class Ear:
    """Follows /sync about one room, from where it was opened on."""

    knock: ports.Homeserver
    room: str
    position: str

    @classmethod
    async def opened(cls, knock: ports.Homeserver, room: str) -> Ear:
        return cls(knock, room, (await knock.sync(None, [room], timeout=0)).position)

    async def hears(self, *, timeout: float = 5.0) -> News:  # noqa: ASYNC109 - the long poll's
        """Return the next news, and go on from them."""
        news = await self.knock.sync(self.position, [self.room], timeout=timeout)
        self.position = news.position
        return news

    async def hears_of_room(self) -> RoomNews:
        return (await self.hears()).rooms.get(self.room, RoomNews())

    async def hears_of(self, person: Account) -> StateEvent:
        """Return the newest event that is about this person."""
        events = (await self.hears_of_room()).events
        return [event for event in events if event.key == person.user_id][-1]


def was_and_is(event: StateEvent) -> tuple[Membership, Membership]:
    """Return the membership before a member event, and after it; before the first, they had left."""
    was = event.before.get("membership", Membership.LEAVE)
    return Membership(was), Membership(event.content["membership"])
