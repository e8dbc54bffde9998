"""Somebody's app that decrypts, with a cryptography of its own: matrix-nio (https://github.com/matrix-nio)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import nio  # type: ignore[import-untyped]
from tests.kit.account import Account


class NioReader:
    """An app on a device of this account. Its keys are on the homeserver from the first ``sync`` on."""

    def __init__(self, account: Account, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.account = account
        settings = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
        self._app = nio.AsyncClient(
            account.url,
            account.user_id,
            device_id=account.device_id,
            store_path=str(directory),
            config=settings,
        )
        self._app.restore_login(account.user_id, account.device_id, account.access_token or "")
        self._read: dict[str, list[str | None]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, account: Account, directory: Path) -> AsyncIterator[Self]:
        reader = cls(account, directory)
        try:
            await reader.sync()
            yield reader
        finally:
            await reader.close()

    async def close(self) -> None:
        await self._app.close()

    async def sync(self) -> None:
        """Fetch what is new, and publish the keys that are missing."""
        answer = await self._app.sync(timeout=0)
        assert isinstance(answer, nio.SyncResponse), answer
        if self._app.should_upload_keys:
            await self._app.keys_upload()
        if self._app.should_query_keys:
            await self._app.keys_query()
        for room, news in answer.rooms.join.items():
            found = [_text_of(event) for event in news.timeline.events if _is_message(event)]
            self._read.setdefault(room, []).extend(found)

    async def write(self, room: str, text: str) -> None:
        """Send a message, encrypted for every device of whoever is in the room or invited."""
        await self.sync()
        content = {"msgtype": "m.text", "body": text}
        answer = await self._app.room_send(room, "m.room.message", content, ignore_unverified_devices=True)
        assert isinstance(answer, nio.RoomSendResponse), answer

    async def read(self, room: str) -> list[str | None]:
        """The texts of all messages so far; None for one that it cannot decrypt."""
        await self.sync()
        return self._read.get(room, [])


def _is_message(event: Any) -> bool:
    return isinstance(event, nio.RoomMessageText | nio.RoomMessageNotice | nio.MegolmEvent)


def _text_of(event: Any) -> str | None:
    """The text of a message that was encrypted and could be decrypted."""
    return event.body if not isinstance(event, nio.MegolmEvent) and event.decrypted else None
