"""Matrix's own knocks: a membership knock at a door's room becomes a knock like any other.

Its sender is proven by the homeserver. What they wrote is a stranger's text: cleaned,
bounded, shown to moderators, never logged and never sent anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.doors import Door
from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MatrixID, key_of
from mknock.domain.knocks import OPEN, Answer, Knock, KnockState, Reason, Submission
from mknock.forms.text import clean, one_line
from mknock.matching.likeness import likeness
from mknock.ports import Attempt, Clock, Entry, Homeserver, Kept, Member, Store
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook, stance_of
from mknock.telemetry import get_logger

log = get_logger(__name__)

PLATFORM: Final = "matrix"
"""Where such knocks come from, beside the names of form platforms."""
LONGEST_REASON = 1000
LONGEST_NAME = 100
"""Characters that are kept."""
REPORTED_FOR = 86400.0
"""Seconds until somebody who goes on and on is reported again."""

Name = tuple[str, str, float]
"""A membership knock that stands: the room, the person, and since when by their server."""


class NativeKnocks:
    """Takes membership knocks in, each once, whether /sync tells of them or a comparison finds them.

    Of several doors to one room the first one that honours them is knocked at.
    ``wake`` is called when there is something to deliver.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._clock = clock
        self._wake = wake
        self._looked_at: frozenset[Name] = frozenset()
        """What stands, by a comparison, and was submitted by this process: that was all there is to do about it."""

    def door(self, room_id: str) -> Door | None:
        """The door that membership knocks at this room are for; None if no door honours them."""
        doors = (door for door in self._doors if door.room_id == room_id and door.native_knocks)
        return next(doors, None)

    async def came(self, door: Door, user_id: str, since: float, content: Mapping[str, Any]) -> bool:
        """Somebody knocks; say whether that made or changed a record. ``since`` is when they did, by their server."""
        try:
            user = MatrixID.of(user_id)
        except InvalidMatrixID:
            log.info("a membership knock of an impossible ID was passed over", door=door.slug)
            return False
        await self._book.refresh()
        kept = await self._store.admit(self._attempt(door, user, since, content), decide)
        if not isinstance(kept, Kept):  # only anonymous senders wait, and nobody comes by a link
            return False
        await self._took_in(door, kept)
        return not kept.repeat

    async def found(self, door: Door, standing: Mapping[str, Member]) -> int:
        """Take in what a comparison found: membership knocks that stand in the room, by person.

        Those that are known already cost no call and write nothing.
        """
        names = {user_id: (door.room_id, user_id, member.since) for user_id, member in standing.items()}
        still = frozenset(names.values())
        self._looked_at = frozenset(
            name for name in self._looked_at if name[0] != door.room_id or name in still
        )
        taken = 0
        for user_id, member in standing.items():
            if await self._is_news(door, names[user_id]):
                content = await self._homeserver.state(door.room_id, "m.room.member", user_id) or {}
                if content.get("membership") == "knock":
                    taken += await self.came(door, user_id, member.since, content)
        return taken

    async def _is_news(self, door: Door, name: Name) -> bool:
        """Whether there is anything to decide about a membership knock that stands."""
        knocks = await self._store.knocks_of(key_of(name[1]))
        there = [knock for knock in knocks if knock.room_id == door.room_id]
        if any(knock.knocking for knock in there):
            return False
        if any(knock.state in OPEN for knock in there):
            return True
        if there and self._clock() - there[0].created_at < door.cooldown:
            return False
        new = name not in self._looked_at
        self._looked_at |= {name}
        return new

    def _attempt(self, door: Door, user: MatrixID, since: float, content: Mapping[str, Any]) -> Attempt:
        now, name = self._clock(), _text(content.get("displayname"))
        return Attempt(
            knock_id=new_id(now),
            door=door,
            user=user,
            submission=Submission(
                PLATFORM,
                user,
                event_id=f"knock:{since}" if since else "",  # told alike by /sync and by the list of members
                answers=_answers(name, _text(content.get("reason"))),
            ),
            at=now,
            trusted=True,
            likeness=likeness(user.localpart),
            proven=True,
            knocking=True,
            listed=self._book.decide(user, stance_of(door), name[: 10 * LONGEST_NAME]),
        )

    async def _took_in(self, door: Door, kept: Kept) -> None:
        knock = kept.knock
        if kept.repeat and knock.state not in OPEN and not knock.knocking:
            await self._report(door, knock)
            return
        if not kept.repeat:
            log.info("knock decided", knock=knock.id, door=door.slug, state=knock.state, reason=knock.reason)
        if knock.state is not KnockState.HELD:
            self._wake()

    async def _report(self, door: Door, knock: Knock) -> None:
        """Tell moderators, once a day, of somebody who goes on knocking although it was dealt with just now."""
        name = (
            "flapping:" + sha256(f"{door.slug}\0{knock.user_key}".encode(errors="replace")).hexdigest()[:32]
        )
        now = self._clock()
        if await self._store.paused(name) > now:
            return
        await self._store.pause(name, now + REPORTED_FOR)
        await self._store.write(
            Entry(
                at=now,
                actor="knock",
                action="left knocking",
                door=door.slug,
                knock_id=knock.id,
                user_id=knock.user_id,
                reason=Reason.FLAPPING.value,
                before=knock.state.value,
                after=knock.state.value,
                detail="knocks in the room again; looked at when the cooldown is over",
            )
        )
        log.warning("moderators should look at somebody", door=door.slug, was="knock", why=Reason.FLAPPING)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _answers(name: str, reason: str) -> tuple[Answer, ...]:
    """What the person said, for moderators."""
    said = (
        Answer("Display name", one_line(name, LONGEST_NAME)),
        Answer("Reason", clean(reason, LONGEST_REASON)),
    )
    return tuple(answer for answer in said if answer.value)
