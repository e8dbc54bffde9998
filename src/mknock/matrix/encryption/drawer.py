"""Where encryption keeps its state: named JSON values in the store's secrets, with one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from mknock.domain.errors import EncryptionUnavailable
from mknock.ports import Secret

FENCE: Final = "fence"


class Secrets(Protocol):
    """What encryption needs of the store; see ports.Store."""

    async def secret(self, name: str) -> str | None: ...

    async def put_secret(self, name: str, value: str, *, expires_at: float | None = None) -> None: ...

    async def settle_secret(self, name: str, value: str, *, expires_at: float | None = None) -> str: ...

    async def put_secrets(self, secrets: Sequence[Secret], *, fence: str, seen: str) -> bool: ...


class OutOfTurn(EncryptionUnavailable):
    """Another process has written this device's state since we read it; nothing of ours was kept."""

    def __init__(self) -> None:
        super().__init__(
            "another process encrypts with the same session; this one looks again at its next turn"
        )


class Drawer:
    """The state of one device of ours.

    ``begin`` comes before reading what is going to be written: the first write
    after somebody else's fails. So a process that was stopped in the middle, and
    wakes up when another has taken over, cannot use a message key twice.
    """

    def __init__(self, store: Secrets, user_id: str, device_id: str) -> None:
        self._store = store
        self._prefix = f"encryption:{user_id}:{device_id}:"
        self._seen = ""

    async def begin(self) -> None:
        """Begin a piece of work: what is read from now on is what the next ``put`` relies on."""
        self._seen = await self._store.secret(self._prefix + FENCE) or ""

    async def read(self, name: str) -> dict[str, Any] | None:
        """The value under that name; None if there is none, or none that can be read."""
        try:
            value = json.loads(await self._store.secret(self._prefix + name) or "null")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    async def put(
        self,
        values: Mapping[str, Mapping[str, Any]],
        *,
        until: float | None = None,
        lasting: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        """Write all values or none; when this returns, they are on disk.

        They may be forgotten after ``until``, but for those that are ``lasting``.

        Raises:
            OutOfTurn: somebody else has written since ``begin``.
        """
        secrets = [Secret(self._prefix + name, json.dumps(value), until) for name, value in values.items()]
        secrets += [Secret(self._prefix + name, json.dumps(value)) for name, value in lasting.items()]
        if not await self._store.put_secrets(secrets, fence=self._prefix + FENCE, seen=self._seen):
            raise OutOfTurn
        self._seen = str(int(self._seen or 0) + 1)

    async def mark(self, name: str, value: Mapping[str, Any], *, until: float) -> None:
        """Write one value at any time, in turn or not: of what is marked, only the newest counts."""
        await self._store.put_secret(self._prefix + name, json.dumps(value), expires_at=until)
