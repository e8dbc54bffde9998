"""Other people's devices: who has which, as far as their keys are in order.

https://spec.matrix.org/v1.18/client-server-api/#post_matrixclientv3keysquery
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mknock.matrix.answers import unreadable
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.signatures import is_key, is_signed
from mknock.ports import Clock

T = TypeVar("T")

OLM: Final = "m.olm.v1.curve25519-aes-sha2"
MEGOLM: Final = "m.megolm.v1.aes-sha2"
REMOTE_TIMEOUT: Final = 5000
"""Milliseconds that our homeserver may wait for others."""
PEOPLE_AT_ONCE: Final = 250
"""People asked about in one request; a device takes about a kilobyte of the answer."""
MOST_DEVICES: Final = 200
"""Devices of one person that are looked at; nobody can have us encrypt thousands of times."""
LISTENING: Final = 90.0
"""Seconds for which we count as following /sync after hearing from it: several of its long polls."""
SILENT: Final = 60.0
"""Seconds until a homeserver that gave no answer is asked about again."""
SLICE: Final = 0.005
"""Seconds of work at a stretch, after which others have their turn."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device whose keys are signed by itself and are of whom they were asked of."""

    user_id: str
    device_id: str
    curve25519: str
    ed25519: str


Known = tuple[Device, ...] | None
"""Somebody's usable devices; None if their homeserver did not say."""


def device_in(user_id: str, device_id: str, keys: Any) -> Device | None:
    """Return the device, or None if it is unusable: no Olm, keys of somebody else, or not signed by itself."""
    if not isinstance(keys, dict) or (keys.get("user_id"), keys.get("device_id")) != (user_id, device_id):
        return None
    public, algorithms = keys.get("keys"), keys.get("algorithms")
    if not isinstance(public, dict) or not isinstance(algorithms, list) or OLM not in algorithms:
        return None
    curve25519, ed25519 = public.get(f"curve25519:{device_id}"), public.get(f"ed25519:{device_id}")
    if not is_key(curve25519) or not is_key(ed25519):
        return None
    if not is_signed(keys, user_id, device_id, ed25519):
        return None
    return Device(user_id, device_id, curve25519, ed25519)


async def unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let others run in between whenever they have taken some milliseconds."""
    since = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - since > SLICE:
            await asyncio.sleep(0)
            since = time.perf_counter()


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of that size; the last may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Devices:
    """Asks for devices, and remembers them for as long as /sync would tell us of changes."""

    def __init__(self, client: MatrixClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[str, tuple[Device, ...]] = {}
        self._silent: dict[str, float] = {}
        self._heard_at = float("-inf")
        self._changes = 0

    def heard(self, changed: Collection[str]) -> None:
        """/sync was heard, and says that these people's devices are others now."""
        now = self._clock()
        if now - self._heard_at > LISTENING:
            self._known.clear()
        self._heard_at = now
        self._changes += bool(changed)
        for user_id in changed:
            self._known.pop(user_id, None)

    def forget(self, user_id: str) -> None:
        """Ask anew for this person's devices: we share no room yet, so /sync may not tell of changes."""
        self._known.pop(user_id, None)

    async def of(self, people: Collection[str]) -> dict[str, Known]:
        """Everybody's devices. A homeserver that does not answer leaves only its own people unknown.

        Raises:
            HomeserverError: our own homeserver gave no usable answer.
        """
        if self._clock() - self._heard_at > LISTENING:
            self._known.clear()
        found: dict[str, Known] = {user: self._known.get(user) for user in people}
        asked = [user for user, known in found.items() if not known and not self._is_silent(user)]
        for some in in_parts(asked, PEOPLE_AT_ONCE):
            found.update(await self._ask(some))
        return found

    async def _ask(self, people: Collection[str]) -> dict[str, Known]:
        before = self._changes
        body = {"device_keys": {user: [] for user in people}, "timeout": REMOTE_TIMEOUT}
        what = "reading the devices"
        answer = await self._client.request("POST", ("v3", "keys", "query"), what=what, json=body)
        devices, failures = answer.get("device_keys"), answer.get("failures")
        if not isinstance(devices, dict):
            raise unreadable(what)
        self._note_silent(failures)
        found: dict[str, Known] = {}
        async for user in unhurried(people):
            given = user in devices or not self._is_silent(user)
            found[user] = await _usable(user, devices.get(user)) if given else None
        if before == self._changes:  # else the answer may be older than the change
            self._known.update({user: known for user, known in found.items() if known})
        return found

    def _note_silent(self, failures: Any) -> None:
        now = self._clock()
        self._silent = {server: until for server, until in self._silent.items() if until > now}
        if isinstance(failures, dict):
            self._silent.update({server.lower(): now + SILENT for server in failures})

    def _is_silent(self, user_id: str) -> bool:
        return self._silent.get(server_of(user_id), 0.0) > self._clock()


def server_of(user_id: str) -> str:
    """The name of a person's homeserver; it has no case."""
    return user_id.partition(":")[2].lower()


async def _usable(user_id: str, devices: Any) -> tuple[Device, ...]:
    if not isinstance(devices, dict):
        return ()
    some = sorted(devices)[:MOST_DEVICES]
    found = [device_in(user_id, device_id, devices[device_id]) async for device_id in unhurried(some)]
    return tuple(device for device in found if device is not None)


def keys_of(devices: Iterable[Device]) -> Mapping[str, str]:
    """The Curve25519 key of each device."""
    return {device.device_id: device.curve25519 for device in devices}
