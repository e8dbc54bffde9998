"""Knocking in a room again and again: each answer is an event in the room, and may be what a bot waits for."""

from __future__ import annotations

from collections.abc import Iterable

from mknock.domain.knocks import Knock

WINDOW = 3600.0
"""Seconds."""
MOST = 3
"""Knocks of one person's own account at one room that are answered in the room within the window."""


def lately(knocks: Iterable[Knock], room_id: str, at: float) -> int:
    """How many of a person's knocks at the room came from their own account within the window before."""
    return sum(
        knock.proven and knock.room_id == room_id and at - knock.created_at < WINDOW for knock in knocks
    )
