"""A Knock that encrypts, on a store that outlives it, with a clock that a test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.kit.key_server import BOT, DEVICE, ROOM, KeyServer
from tests.kit.workshop import SetClock

from mknock.matrix.encryption.drawer import Secrets
from mknock.matrix.encryption.machine import Machine
from mknock.ports import Rotation, Secret

Json = dict[str, Any]
TEXT: Json = {"msgtype": "m.text", "body": "Welcome!"}


@dataclass
class Acting:
    """Who Knock acts as."""

    user_id: str = BOT
    device_id: str = DEVICE

    async def whoami(self) -> str:
        return self.user_id

    async def device(self) -> str:
        return self.device_id


class MemorySecrets:
    """The part of a store that encryption uses, for tests that need a fresh one many times over."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.ends: dict[str, float | None] = {}
        """When each may be forgotten; None: never."""

    async def secret(self, name: str) -> str | None:
        return self.kept.get(name)

    async def put_secret(self, name: str, value: str, *, expires_at: float | None = None) -> None:
        self.kept[name] = value
        self.ends[name] = expires_at

    async def settle_secret(self, name: str, value: str, *, expires_at: float | None = None) -> str:  # noqa: ARG002
        return self.kept.setdefault(name, value)

    async def put_secrets(self, secrets: Sequence[Secret], *, fence: str, seen: str) -> bool:
        if self.kept.get(fence, "") != seen:
            return False
        self.kept |= {each.name: each.value for each in secrets} | {fence: str(int(seen or 0) + 1)}
        self.ends |= {each.name: each.expires_at for each in secrets}
        return True


@dataclass
class Encrypting:
    """Makes processes of Knock that share a store, as before and after a restart."""

    store: Secrets
    server: KeyServer
    clock: SetClock = field(default_factory=SetClock)
    acting: Acting = field(default_factory=Acting)

    def knock(self, **settings: Any) -> Machine:
        return Machine(self.server.client(), self.acting, self.store, clock=self.clock, **settings)


async def sent(
    knock: Machine,
    *members: str,
    room: str = ROOM,
    content: Json = TEXT,
    rotation: Rotation = Rotation(),  # noqa: B008 - it cannot be changed
) -> Json:
    """What Knock would send into the room for these members and itself."""
    people: Sequence[str] = [*members, BOT]
    return await knock.encrypt(room, people, "m.room.message", content, rotation=rotation)
