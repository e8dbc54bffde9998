"""A stand-in for encryption: it seals nothing, and says what a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mknock.ports import News, Rotation


class Sealing:
    """An encryption that writes down what it was asked to encrypt, and can lack what real ones lack."""

    def __init__(self, *, problem: str = "", readers: Sequence[str] = ()) -> None:
        self.why, self.readers = problem, set(readers)
        self.openable: dict[tuple[str, str], Mapping[str, Any]] = {}
        """What can be decrypted, by its sender and its ciphertext."""
        self.sent_to_us: tuple[Mapping[str, Any], ...] = ()
        self.sealed: list[tuple[Sequence[str], Mapping[str, Any]]] = []

    async def start(self) -> None: ...

    async def problem(self) -> str:
        return self.why

    async def is_ours(self, device_keys: Mapping[str, Any]) -> bool:
        return not device_keys

    async def can_read(self, user_id: str) -> bool:
        return user_id in self.readers

    async def encrypt(
        self,
        room_id: str,
        members: Sequence[str],
        kind: str,
        content: Mapping[str, Any],
        *,
        rotation: Rotation,
    ) -> dict[str, Any]:
        del room_id, kind, rotation
        self.sealed.append((members, content))
        return {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "sealed"}

    async def decrypt(
        self, room_id: str, sender: str, content: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        del room_id
        opened: Mapping[str, Any] | None = self.openable.get((sender, str(content.get("ciphertext"))))
        return opened

    async def heard(self, news: News) -> None:
        self.sent_to_us += news.to_device
