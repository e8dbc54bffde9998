"""Who has invited the bot to a chat, and whose invitation may be accepted: a memory that strangers cannot fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mknock.domain.direct_rooms import DirectRoom
from mknock.ports import Homeserver, Invitation

LIST_EVERY: Final = 60.0
"""Seconds between two looks at all open invitations: the safety net behind /sync."""
STALE_LIST: Final = 180.0
"""Seconds in which such a list may still show an invitation that was dealt with."""
MOST: Final = 100
"""Invitations that are remembered, of people who may still knock; of each sender the newest."""
ASK_AGAIN: Final = 5.0
"""Seconds after which it is looked again whether somebody who has invited us has knocked."""


class OpenInvitations:
    """Lives as long as the process: what it has forgotten, the list of the homeserver still has.

    ``is_of_a_door`` says of a room that a door leads there: it is no place to talk, and is not to be left.
    """

    def __init__(self, homeserver: Homeserver, is_of_a_door: Callable[[str], bool]) -> None:
        self._homeserver = homeserver
        self._is_of_a_door = is_of_a_door
        self._waiting: dict[str, Invitation] = {}
        self._asked_at: dict[str, float] = {}
        self._dealt_with_at: dict[str, float] = {}
        self._listed_at = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, room_id: str) -> bool:
        return room_id in self._waiting

    def has_one_of(self, user_id: str) -> bool:
        return any(each.sender == user_id for each in self._waiting.values())

    def heard(self, invitations: Sequence[Invitation]) -> None:
        """Take note of new ones."""
        for invitation in invitations:
            self._asked_at.pop(invitation.room_id, None)
            self._note(invitation)

    def _note(self, invitation: Invitation) -> None:
        if not (invitation.direct and invitation.sender) or self._is_of_a_door(invitation.room_id):
            return
        earlier = [room for room, each in self._waiting.items() if each.sender == invitation.sender]
        for room in (*earlier, invitation.room_id):
            self._waiting.pop(room, None)
        self._waiting[invitation.room_id] = invitation
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    async def look_at_list(self, rooms: Sequence[DirectRoom], now: float) -> None:
        """Take note of what /sync told before we listened, or told a process that died.

        Raises:
            HomeserverError: it cannot be had now; the next look is a while later.
        """
        if now < self._listed_at + LIST_EVERY:
            return
        self._listed_at = now
        self._dealt_with_at = {room: at for room, at in self._dealt_with_at.items() if now < at + STALE_LIST}
        talking = {room.room_id for room in rooms}
        for invitation in await self._homeserver.invitations():
            if invitation.room_id not in {*talking, *self._dealt_with_at, *self._waiting}:
                self._note(invitation)

    def to_ask_about(self, now: float) -> Iterator[Invitation]:
        """Those of whose senders it is to be found out now whether they may be talked with."""
        self._asked_at = {room: at for room, at in self._asked_at.items() if now < at + ASK_AGAIN}
        for room_id, invitation in list(self._waiting.items()):
            if room_id not in self._asked_at:
                self._asked_at[room_id] = now
                yield invitation

    def accepted(self, room_id: str, now: float) -> None:
        self._waiting.pop(room_id, None)
        self._dealt_with_at[room_id] = now

    def left(self, room_id: str, now: float) -> None:
        """A talk is over: its invitation is none any more, and somebody may have waited for its end."""
        self._dealt_with_at[room_id] = now
        self._asked_at.clear()
