"""What encrypts: our device, its keys, and the rooms' sessions, all kept in the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from mknock.domain.errors import EncryptionUnavailable, HomeserverError, Refused
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption import inbox
from mknock.matrix.encryption.cross_signing import CrossSigning, Published, published
from mknock.matrix.encryption.devices import Devices, Known
from mknock.matrix.encryption.drawer import Drawer, OutOfTurn, Secrets
from mknock.matrix.encryption.hearing import Hearing, has_news
from mknock.matrix.encryption.megolm import RoomKeys, begin_era
from mknock.matrix.encryption.own_device import (
    ONE_TIME_KEYS,
    SIGNED_KEY,
    KeyUpload,
    OwnDevice,
    new_device,
)
from mknock.ports import Clock, News, RoomNews, Rotation
from mknock.telemetry import get_logger

log = get_logger(__name__)

SETTLED_FOR: Final = 3600.0
"""Seconds until we look again whether our account still vouches for us, unless /sync tells earlier."""
LOOK_AGAIN: Final = 60.0
"""Seconds until we look again whether a problem is solved, or upload more keys."""
TRIES: Final = 5
"""How often we begin anew when other processes, which start at the same moment, do the same."""

NO_DEVICE: Final = (
    "the access token belongs to no session, so nothing can be encrypted: sign Knock in by `mknock login`"
)
NOT_OURS: Final = (
    "this session has encryption keys that Knock did not make, so it belongs to another program:"
    " sign Knock in by itself with `mknock login`"
)

NOT_YET: Final = "the keys of this session are being published"


class Acting(Protocol):
    """Who we act as; HomeserverGateway knows."""

    async def whoami(self) -> str: ...

    async def device(self) -> str: ...


class Machine:
    """Keeps the contract of ports.Encryption.

    Every piece of work reads the state it changes, and only one process's write
    succeeds (see Drawer), so it may be made in all processes and used in whichever has the turn.
    """

    def __init__(
        self,
        client: MatrixClient,
        acting: Acting,
        store: Secrets,
        *,
        clock: Clock,
        password: str = "",
        recovery_key: str = "",
    ) -> None:
        self._client = client
        self._acting = acting
        self._store = store
        self._clock = clock
        self._devices = Devices(client, clock)
        self._cross_signing = CrossSigning(client, store, password=password, recovery_key=recovery_key)
        self._working = asyncio.Lock()
        self._us: OwnDevice | None = None
        self._problem = ""
        self._settled: tuple[str, str] = ("", "")
        self._settled_until = 0.0
        self._topped_up_at = float("-inf")

    async def start(self) -> None:
        """Have our keys published and signed.

        Raises:
            EncryptionUnavailable: the owner has to do something first; the text says what.
            HomeserverError: the homeserver gave no usable answer.
        """
        if problem := await self.problem():
            raise EncryptionUnavailable(problem)

    async def problem(self) -> str:
        """What keeps us from encrypting, or "". Looks, and mends what it can, if it has not lately."""
        me = await self._me()
        if not self._is_settled(me):
            async with self._working:
                if not self._is_settled(me):
                    await self._settle_for_a_while(me)
        return self._problem

    async def _settle_for_a_while(self, me: tuple[str, str]) -> None:
        """Settle, and remember for how long the outcome holds. What another process did meanwhile is seen at once."""
        for _ in range(TRIES):
            try:
                self._problem = await self._settle(*me)
                break
            except OutOfTurn as overtaken:
                self._problem = str(overtaken)
        else:
            self._settled_until = 0.0
            return
        wait = LOOK_AGAIN if self._problem else SETTLED_FOR
        self._settled, self._settled_until = me, self._clock() + wait

    async def is_ours(self, device_keys: Mapping[str, Any]) -> bool:
        """Whether these published device keys are those of our own account in the store."""
        us = await OwnDevice.kept(self._drawer(*await self._me()), *await self._me())
        return us is not None and us.owns(device_keys)

    async def can_read(self, user_id: str) -> bool:
        """Whether the person has a usable device, as far as their homeserver tells."""
        return bool((await self._devices.of([user_id]))[user_id])

    async def encrypt(
        self,
        room_id: str,
        members: Sequence[str],
        kind: str,
        content: Mapping[str, Any],
        *,
        rotation: Rotation,
    ) -> dict[str, Any]:
        """Encrypt an event for all devices of these members.

        Raises:
            EncryptionUnavailable: see ``start``; OutOfTurn if another process has taken over.
            HomeserverError: the homeserver gave no usable answer; nothing is lost by trying again.
        """
        await self.start()
        async with self._working:
            us = self._us
            if us is None:
                raise EncryptionUnavailable(self._problem or NOT_YET)
            drawer = self._drawer(us.user_id, us.device_id)
            await drawer.begin()
            devices = await self._devices.of(members)
            rooms = RoomKeys(self._client, drawer, us, self._clock)
            return await rooms.encrypt(room_id, devices, kind, content, rotation)

    async def decrypt(
        self, room_id: str, sender: str, content: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Decrypt a message of somebody in a direct room, with the keys that their devices have sent us."""
        if await self.problem() or (us := self._us) is None:
            return None
        drawer = self._drawer(us.user_id, us.device_id)
        devices: Known = ()
        if await has_news(drawer, sender):
            self._devices.forget(sender)
            devices = (await self._devices.of([sender]))[sender]
        async with self._working:
            await drawer.begin()
            hearing = Hearing(drawer, us, self._clock)
            if devices:  # else their homeserver did not say, and is asked again
                await hearing.take_in(sender, devices)
            return await hearing.read(room_id, sender, content)

    async def heard(self, news: News) -> None:
        """Take in what /sync says of devices, of our own keys, and of people who left."""
        me = await self._me()
        self._devices.heard(news.devices_changed)
        if me[0] in news.devices_changed:
            self._settled_until = 0.0
        drawer = self._drawer(*me)
        await inbox.keep(drawer, news.to_device, self._clock())
        for room_id, room in news.rooms.items():
            if _somebody_left(room):
                await begin_era(drawer, room_id, secrets.token_hex(8), self._clock())
        if (
            me == self._settled and not self._working.locked()
        ):  # else at the next answer of /sync, which says it again
            await self._top_up(drawer, news)

    async def _me(self) -> tuple[str, str]:
        return await self._acting.whoami(), await self._acting.device()

    def _drawer(self, user_id: str, device_id: str) -> Drawer:
        return Drawer(self._store, user_id, device_id)

    def _is_settled(self, me: tuple[str, str]) -> bool:
        return me == self._settled and self._clock() < self._settled_until

    async def _settle(self, user_id: str, device_id: str) -> str:
        self._us = None
        try:
            self._us = await self._published(user_id, device_id)
        except OutOfTurn:
            raise
        except EncryptionUnavailable as problem:
            log.warning("nothing can be encrypted", why=str(problem))
            return str(problem)
        except Refused as refused:
            log.warning("nothing can be encrypted", why=str(refused))
            return f"the homeserver does not take Knock's encryption keys: {refused}"
        return ""

    async def _published(self, user_id: str, device_id: str) -> OwnDevice:
        """Our device, with its keys published and signed."""
        if not device_id:
            raise EncryptionUnavailable(NO_DEVICE)
        drawer = self._drawer(user_id, device_id)
        await drawer.begin()
        shown = await published(self._client, user_id, device_id)
        us = await self._device(drawer, shown, user_id, device_id)
        upload = KeyUpload(self._client, drawer)
        if shown.device is None:
            await upload.device_keys(us)
        await upload.unpublished(us)
        await self._cross_signing.settle(us, shown)
        return us

    async def _device(self, drawer: Drawer, shown: Published, user_id: str, device_id: str) -> OwnDevice:
        """Our device. Whoever else has put keys there first owns the session."""
        us = await OwnDevice.kept(drawer, user_id, device_id)
        if shown.device is not None and (us is None or not us.owns(shown.device)):
            raise EncryptionUnavailable(NOT_OURS)
        return us or await new_device(drawer, user_id, device_id)

    async def _top_up(self, drawer: Drawer, news: News) -> None:
        """Publish more keys if others have used ours up. That it does not work now is no reason not to listen."""
        left = news.one_time_keys.get(SIGNED_KEY, ONE_TIME_KEYS)
        fallback = news.fallback_keys is not None and SIGNED_KEY not in news.fallback_keys
        now = self._clock()
        if self._us is None or now < self._topped_up_at + LOOK_AGAIN:
            return
        if left > ONE_TIME_KEYS // 2 and not fallback:
            return
        self._topped_up_at = now
        async with self._working:
            await self._upload_more(drawer, ONE_TIME_KEYS - left, fallback=fallback)

    async def _upload_more(self, drawer: Drawer, count: int, *, fallback: bool) -> None:
        await drawer.begin()
        us = await OwnDevice.kept(drawer, *self._settled)
        if us is None:
            return
        try:
            await KeyUpload(self._client, drawer).more(us, count, fallback=fallback)
        except (HomeserverError, EncryptionUnavailable) as error:
            log.info("one-time keys could not be uploaded", why=str(error))


def _somebody_left(room: RoomNews) -> bool:
    """Whether somebody may have left who could read what was written so far."""
    return room.gap or any(
        event.kind == "m.room.member"
        and event.content.get("membership") in ("leave", "ban")
        and event.before.get("membership", "join") == "join"
        for event in room.events
    )
