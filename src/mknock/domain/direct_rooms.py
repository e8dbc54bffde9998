"""A direct room: the bot and one person, who proves there that an account is theirs.

The record is also the job, as a knock is: whoever has the turn goes on with every room that is not left yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self


class TalkState(StrEnum):
    """How far the talk in a direct room is."""

    JOINING = "joining"
    """The invitation is to be accepted."""
    OPEN = "open"
    """The bot is there, and reads what the person writes."""
    LEAVING = "leaving"
    """All is said: the room is to be left and forgotten."""
    LEFT = "left"
    """Over. Kept for a while, so that it is known how much somebody has tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRoom:
    """One talk. A room that is entered again later makes another."""

    id: str
    room_id: str
    user_id: str
    user_key: str
    state: TalkState = TalkState.JOINING
    began_at: float
    wrong: int = 0
    """Wrong codes so far, those of the person's earlier talks within the hour included."""
    heard: str = ""
    """The ID of the last event that was dealt with."""
    fence: int = 0
    """Counts the changes, so that of two processes only one makes the next."""

    def __repr__(self) -> str:
        return f"DirectRoom({self.id!r}, {self.state.value})"

    def now(self, state: TalkState, **changes: Any) -> Self:
        return replace(self, state=state, **changes)


@dataclass(frozen=True, slots=True)
class TalkLimits:
    """How much may be talked, over the whole installation and with one person, so that nobody can keep the bot busy."""

    at_once: int = 20
    an_hour: int = 120
    of_person: int = 6
    """Rooms of one person in a day."""
    wrong: int = 5
    """Wrong codes of one person in an hour."""


HOUR = 3600.0
REMEMBERED = 86400.0
"""Seconds that a talk which is over is remembered."""
