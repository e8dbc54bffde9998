"""What Knock needs from the outside, as protocols.

Times are seconds since the epoch, UTC, and always come in by argument (design decision 8).
"""

from __future__ import annotations

from mknock.ports.admission import HISTORY, AskedToWait, Attempt, Facts, Judge, Kept, LinkOver
from mknock.ports.clock import Clock
from mknock.ports.encryption import Encryption, Rotation
from mknock.ports.homeserver import (
    Existence,
    Homeserver,
    Invitation,
    LostPosition,
    Member,
    Membership,
    Message,
    News,
    PowerLevels,
    RoomAddress,
    RoomNews,
    ServerFacts,
    StateEvent,
)
from mknock.ports.records import (
    LIMITS,
    PAUSES,
    Claimed,
    Entry,
    OwnRule,
    Pace,
    Queue,
    RoomToLeave,
    RuleChange,
    RulesChanged,
    Secret,
)
from mknock.ports.store import Store

__all__ = [
    "HISTORY",
    "LIMITS",
    "PAUSES",
    "AskedToWait",
    "Attempt",
    "Claimed",
    "Clock",
    "Encryption",
    "Entry",
    "Existence",
    "Facts",
    "Homeserver",
    "Invitation",
    "Judge",
    "Kept",
    "LinkOver",
    "LostPosition",
    "Member",
    "Membership",
    "Message",
    "News",
    "OwnRule",
    "Pace",
    "PowerLevels",
    "Queue",
    "RoomAddress",
    "RoomNews",
    "RoomToLeave",
    "Rotation",
    "RuleChange",
    "RulesChanged",
    "Secret",
    "ServerFacts",
    "StateEvent",
    "Store",
]
