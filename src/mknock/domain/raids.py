"""A raid: far more people at a door than usual, or far more alike.

What counts as one is decided from counts alone, never from who knocks or what is decided about them (promise 6).
Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from mknock.domain.doors import Alarm
from mknock.domain.ids import MatrixID

RECENT = 300.0
"""Seconds in which the arrivals at a door are compared with the usual. Shorter, and a few friends who come together
would matter; longer, and a raid would be over before it is noticed."""
HOUR = 3600.0
"""Seconds in which people of one name or homeserver are counted."""
DAY = 86400.0
"""Seconds over which the usual is taken: nights and evenings are in it, and a busy new door has one soon."""
FAR_ABOVE = 10.0
"""How many times the usual of the day: a door's busiest hour has two or three times that, a link that was
passed around some more."""
ALIKE_SHARE = 0.25
"""Of the arrivals of a usual hour, so many may be alike. The most common shape of names with digits has 3 %."""
SERVER_SHARE = 0.2
"""A homeserver that as much of the day came from is one of the large ones, of which many come any time."""
SERVER_HISTORY = 3.0
"""For each that came from a homeserver, so many others must have come in the day: else nobody can say which are
usual at the door."""
SENDER_SHARE = 3.0
"""Knocks that one network address can add to an alarm in an hour; so nobody alone can close a door for the others."""


class Cause(StrEnum):
    """Why a door is thought to be raided."""

    ARRIVALS = "arrivals"
    """Far more than usual."""
    NAMES = "names"
    """Many of one name, or of one shape of names."""
    HOMESERVER = "homeserver"
    """Many of a homeserver that hardly anybody comes from."""
    MODERATOR = "moderator"
    """A moderator said so."""


class Told(IntEnum):
    """What the moderators' room has been told of a raid."""

    NOTHING = 0
    BEGUN = 1
    ENDED = 2


class Arrivals(NamedTuple):
    """How many have come to the door lately, this knock included."""

    recent: float = 0.0
    """In the last RECENT seconds."""
    alike: float = 0.0
    """In the last hour, with a name like this one."""
    server: float = 0.0
    """In the last hour, from this homeserver."""
    usual: float = 0.0
    """In the last day, but for raids."""
    server_usual: float = 0.0
    """In the last day from this homeserver, but for raids."""


NOBODY = Arrivals()


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that only a raid explains."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Raid:
    """A time in which everybody at a door is held. Its id is also that of its wave: the knocks that were held."""

    id: str
    door: str
    cause: Cause
    detail: str = ""
    started_at: float
    started_by: str
    """``knock`` itself, or who did (``api``, ``cli``, a Matrix ID)."""
    ends_at: float | None = None
    """When it ends unless there are new signs; None: when somebody ends it."""
    ended_at: float | None = None
    ended_by: str = ""
    quiet_until: float = 0.0
    """Whoever ended it does not want to hear of new signs before."""
    told: Told = Told.NOTHING

    def is_on(self, at: float) -> bool:
        return self.ended_at is None and (self.ends_at is None or self.ends_at > at)


def sign_of(alarm: Alarm, arrivals: Arrivals, likeness: str, user: MatrixID) -> Sign | None:
    """The first sign of a raid that somebody's arrival gives; None if all is as usual."""
    return (
        _many(alarm, arrivals)
        or _alike(alarm, arrivals, likeness, user)
        or _from(alarm, arrivals, user.server)
    )


def _many(alarm: Alarm, arrivals: Arrivals) -> Sign | None:
    usual = max(arrivals.usual - arrivals.recent, 0.0) * RECENT / DAY
    if not alarm.arrivals or arrivals.recent <= max(alarm.arrivals, FAR_ABOVE * usual):
        return None
    return Sign(Cause.ARRIVALS, f"{arrivals.recent:.0f} in five minutes; usual are {usual:.1f}")


def many_alike(arrivals: Arrivals, few: float, share: float) -> bool:
    """Whether more are alike than chance brings: more than a few, and than a share of what a usual hour brings."""
    return arrivals.alike > max(few, share * arrivals.usual * HOUR / DAY)


def _alike(alarm: Alarm, arrivals: Arrivals, likeness: str, user: MatrixID) -> Sign | None:
    if not alarm.alike or not likeness or not many_alike(arrivals, alarm.alike, ALIKE_SHARE):
        return None
    return Sign(Cause.NAMES, f"{arrivals.alike:.0f} in an hour with names like {user.localpart[:40]}")


def _from(alarm: Alarm, arrivals: Arrivals, server: str) -> Sign | None:
    """A homeserver's sign: more of it in an hour than in the day before, at a door whose homeservers are known."""
    before = arrivals.usual - arrivals.server
    server_before = max(arrivals.server_usual - arrivals.server, 0.0)
    if not alarm.alike or arrivals.server <= max(alarm.alike, server_before):
        return None
    if before < SERVER_HISTORY * arrivals.server or server_before >= SERVER_SHARE * before:
        return None
    return Sign(
        Cause.HOMESERVER,
        f"{arrivals.server:.0f} in an hour from {server}; in the day before it was {server_before:.0f}",
    )
