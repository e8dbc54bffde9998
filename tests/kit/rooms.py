"""A room with an owner and a bot in it, made through the client-server API."""

from __future__ import annotations

from typing import TypedDict, Unpack

from tests.kit.account import Account, Json

ENCRYPTION: Json = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class RoomWishes(TypedDict, total=False):
    """How a room should be; whatever is not said is as in ``DEFAULTS``."""

    name: str
    bot: Account | None
    """Joins the room."""
    bot_power: int
    room_version: str
    """12 by default, whose room ids name no server and whose creator outranks everybody."""
    encrypted: bool
    join_rule: str


DEFAULTS = RoomWishes(
    name="The secret room",
    bot=None,
    bot_power=50,
    room_version="12",
    encrypted=False,
    join_rule="invite",
)


async def new_room(owner: Account, **wishes: Unpack[RoomWishes]) -> str:
    """Make a private room that belongs to ``owner`` and return its id."""
    wish = DEFAULTS | wishes
    bot = wish["bot"]
    room = await owner.create_room(**_creation(wish, owner.user_id, bot))
    if bot:
        await bot.join(room)
    return room


def creator_outranks(version: str) -> bool:
    """Tell whether a room of that version has a creator above all power levels, listed in none of them."""
    return int(version) >= 12


def _creation(wish: RoomWishes, owner: str, bot: Account | None) -> Json:
    rule: Json = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": wish["join_rule"]}}
    users = {} if creator_outranks(wish["room_version"]) else {owner: 100}
    return {
        "name": wish["name"],
        "room_version": wish["room_version"],
        "initial_state": [rule, *([ENCRYPTION] if wish["encrypted"] else [])],
        "invite": [bot.user_id] if bot else [],
        "power_level_content_override": {
            "users": {**users, **({bot.user_id: wish["bot_power"]} if bot else {})}
        },
    }
