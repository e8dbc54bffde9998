"""A policy room on the fake homeserver, and a moderator elsewhere who writes into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room

from mknock.domain.policy_lists import PolicyList
from mknock.ports import Entry, Store

KEEPER = "@keeper:knock.test"
USER_RULE = "m.policy.rule.user"
SERVER_RULE = "m.policy.rule.server"


@dataclass(frozen=True)
class PolicyRoom:
    """Somebody else's list."""

    room: Room

    @classmethod
    def made(cls, fake: FakeHomeserver, member: str | None = None) -> PolicyRoom:
        """A policy room that ``member`` is in, without any power."""
        return cls(fake.add_room(fake.add_user("keeper").user_id, member, bot_power=0))

    def write(self, entity: str, key: str = "", kind: str = USER_RULE, **content: Any) -> None:
        """The keeper writes a rule; by default one that bans a person."""
        told = {"entity": entity, "recommendation": "m.ban", "reason": "spam"} | content
        self.room.write(kind, told, key or f"rule:{entity}")

    def empty(self, entity: str, kind: str = USER_RULE) -> None:
        """The keeper takes a rule back."""
        self.room.write(kind, {}, f"rule:{entity}")


async def subscribed(
    store: Store, room: PolicyRoom, name: str = "spam", at: float = 0.0, **about: Any
) -> PolicyList:
    facts: dict[str, Any] = {"alias": "", "look_alikes": False, "allow_wide": False, "author": "cli"}
    policy_list = PolicyList(name=name, room_id=room.room.room_id, at=at, **(facts | about))
    assert await store.add_list(policy_list, Entry(at=at, actor="cli", action="subscribe"))
    return policy_list
