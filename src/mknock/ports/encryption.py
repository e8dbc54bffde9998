"""Encrypting what Knock sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from mknock.ports.homeserver import News


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a room's message session is replaced (content of m.room.encryption)."""

    messages: int = 100
    seconds: float = 7 * 86400.0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Read what the room asks for; never more than 100 messages or a week (design decision 5)."""
        messages, milliseconds = content.get("rotation_period_msgs"), content.get("rotation_period_ms")
        usual = cls()
        return cls(
            messages=min(max(messages, 1), usual.messages) if type(messages) is int else usual.messages,
            seconds=min(max(milliseconds / 1000, 60.0), usual.seconds)
            if type(milliseconds) is int
            else usual.seconds,
        )


class Encryption(Protocol):
    """Encrypts what Knock sends into encrypted rooms. One process at a time uses it: the one with the turn."""

    async def start(self) -> None:
        """Have our keys published and signed; what is done already is not done again.

        Raises:
            EncryptionUnavailable: the owner has to do something first.
        """

    async def problem(self) -> str:
        """Return "", or one sentence for the owner: what keeps us from encrypting."""

    async def is_ours(self, device_keys: Mapping[str, Any]) -> bool:
        """Whether these published device keys are those that we have made for our own device."""

    async def can_read(self, user_id: str) -> bool:
        """Whether the person has a device that could decrypt."""

    async def encrypt(
        self,
        room_id: str,
        members: Sequence[str],
        kind: str,
        content: Mapping[str, Any],
        *,
        rotation: Rotation,
    ) -> dict[str, Any]:
        """Return the content of an m.room.encrypted event; its key is on every member's devices by then.

        What was encrypted is not encrypted again with the same message key, whatever crashes.

        Raises:
            EncryptionUnavailable: see ``start``; or another process has taken over.
        """

    async def decrypt(
        self, room_id: str, sender: str, content: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Return the content of a message that this person sent encrypted; None if it cannot be read (yet)."""

    async def heard(self, news: News) -> None:
        """Take in what /sync says of devices, of our own keys, of people who left, and keys that were sent to us.

        Whose keys are taken in is for the caller to say: it leaves those of others out of ``to_device``.
        """
