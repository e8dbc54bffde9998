"""Raids are told to moderators, and end when it has been calm."""

from __future__ import annotations

from collections.abc import Mapping

from mknock.domain.errors import HomeserverError, RateLimited
from mknock.domain.knocks import KnockState
from mknock.domain.raids import Cause, Raid, Told
from mknock.ports import Clock, Store
from mknock.services.doors import Doors
from mknock.services.notices import Notices
from mknock.telemetry import get_logger

log = get_logger(__name__)

EVERY = 1.0
"""Seconds between two looks for raids that began, or whose time is over."""
AGAIN = 15.0
"""Seconds between two tries to tell of something."""
GIVEN_UP = 86400.0
"""Seconds after a raid's end from which on nobody needs to hear of it any more."""
LONGEST_PAUSE = 60.0


class RaidWatch:
    """Looks after the raids of all doors, in one process. That a door holds does not depend on it."""

    def __init__(self, store: Store, doors: Doors, notices: Notices, clock: Clock) -> None:
        self._store = store
        self._doors = doors
        self._notices = notices
        self._clock = clock
        self._logged: dict[str, Told] = {}
        self._again: dict[str, float] = {}

    async def tick(self, now: float) -> int:
        """End what is over and tell what is new; return how much there was to tell."""
        raids = await self._store.untold_raids()
        if any(raid.ended_at is None and not raid.is_on(now) for raid in raids):
            await self._store.end_lapsed_raids(now)
            raids = await self._store.untold_raids()
        self._logged = {raid.id: self._logged[raid.id] for raid in raids if raid.id in self._logged}
        return sum([await self._look_at(raid, now) for raid in raids])

    async def _look_at(self, raid: Raid, now: float) -> bool:
        due = Told.BEGUN if raid.ended_at is None else Told.ENDED
        if raid.told >= due:
            return False
        self._log(raid, due)
        if now < self._again.get(raid.id, 0.0):
            return False
        if not await self._told(raid, due, now):
            self._again[raid.id] = now + AGAIN
            return False
        self._again.pop(raid.id, None)
        await self._store.tell_raid(raid.id, due)
        return True

    def _log(self, raid: Raid, due: Told) -> None:
        if self._logged.get(raid.id, Told.NOTHING) >= due:
            return
        self._logged[raid.id] = due
        if due is Told.BEGUN:
            log.warning(
                "a door is being raided: everybody is held", door=raid.door, cause=raid.cause, wave=raid.id
            )
        else:
            log.warning("a raid is over", door=raid.door, wave=raid.id, ended_by=raid.ended_by)

    async def _told(self, raid: Raid, due: Told, now: float) -> bool:
        """Tell the moderators' room; return whether there is nothing left to tell."""
        door = self._doors.get(raid.door)
        if door is None or not door.moderators_room or now > (raid.ended_at or now) + GIVEN_UP:
            return True
        counts = await self._store.wave_counts(raid.id)
        text = _begun(raid) if due is Told.BEGUN else _ended(raid, counts)
        since = raid.started_at if due is Told.BEGUN else raid.ended_at or now
        try:
            problem = await self._notices.send(
                door.moderators_room, f"{raid.id}-{due.name.lower()}", text, since=since
            )
        except HomeserverError as error:
            problem = str(error)
            if isinstance(error, RateLimited):
                await self._store.pause("send", now + min(error.retry_after, LONGEST_PAUSE))
        if problem:
            log.warning("moderators could not be told of a raid yet", door=raid.door, why=problem)
        return not problem


def _begun(raid: Raid) -> str:
    why = "a moderator said so" if raid.cause is Cause.MODERATOR else raid.detail
    until = "until somebody ends it" if raid.ends_at is None else "until it has been calm for a while"
    return (
        f"Door {raid.door} is being raided ({why}). Whoever knocks is held {until}; nobody is turned away.\n"
        f"Look at the wave: mknock held --wave {raid.id}\n"
        f"Let it in: mknock approve --wave {raid.id}\n"
        f"Refuse it: mknock refuse --wave {raid.id}\n"
        f"If it is none: mknock raid end {raid.door}"
    )


def _ended(raid: Raid, counts: Mapping[KnockState, int]) -> str:
    lasted = max((raid.ended_at or raid.started_at) - raid.started_at, 0.0) / 60
    how = "it has been calm" if raid.ended_by == "knock" else f"ended by {raid.ended_by}"
    held, waiting = sum(counts.values()), counts.get(KnockState.HELD, 0)
    text = (
        f"The raid at door {raid.door} is over: {how}. It lasted {lasted:.0f} minutes;"
        f" {held} knocks were held, and {waiting} of them still wait."
    )
    return f"{text}\nLook at them: mknock held --wave {raid.id}" if waiting else text
