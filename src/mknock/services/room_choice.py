"""The rooms and spaces that an account could keep a door to, for the owner to choose from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mknock.domain.errors import HomeserverError
from mknock.ports import Homeserver

SPACE = "m.space"
LONGEST_NAME = 80
"""Characters of a name that are shown."""


@dataclass(frozen=True, slots=True)
class RoomChoice:
    """One room. ``problem`` says why it cannot be chosen yet; "" if it can."""

    room_id: str
    name: str
    is_space: bool = False
    is_encrypted: bool = False
    problem: str = ""


async def rooms_of(homeserver: Homeserver) -> list[RoomChoice]:
    """Every room the account is in: first those where it may invite, each kind by name.

    Raises:
        HomeserverError: the rooms cannot be listed.
    """
    account = await homeserver.whoami()
    rooms = await homeserver.rooms()
    choices = await asyncio.gather(*(_looked_at(homeserver, room_id, account) for room_id in rooms))
    return sorted(choices, key=lambda choice: (bool(choice.problem), choice.name.casefold(), choice.room_id))


async def _looked_at(homeserver: Homeserver, room_id: str, account: str) -> RoomChoice:
    try:
        levels = await homeserver.power_levels(room_id)
        made = await homeserver.state(room_id, "m.room.create") or {}
        replaced = await homeserver.state(room_id, "m.room.tombstone") is not None
        encrypted = await homeserver.state(room_id, "m.room.encryption") is not None
        name = await _name(homeserver, room_id)
    except HomeserverError as error:
        return RoomChoice(room_id, room_id, problem=f"could not be looked at: {error}")
    problem = ""
    if replaced:
        problem = "was replaced by a newer room"
    elif levels.of(account) < levels.invite:
        problem = f"{account} may not invite there: make it a moderator"
    return RoomChoice(room_id, name, made.get("type") == SPACE, encrypted, problem)


async def _name(homeserver: Homeserver, room_id: str) -> str:
    """The room's name, else its address, else its ID."""
    for kind, key in (("m.room.name", "name"), ("m.room.canonical_alias", "alias")):
        told = (await homeserver.state(room_id, kind) or {}).get(key)
        if isinstance(told, str) and told.strip():
            return told.strip()[:LONGEST_NAME]
    return room_id
