"""A room's message session: who has its key, when it is replaced, and encrypting with it.

https://spec.matrix.org/v1.18/client-server-api/#mmegolmv1aes-sha2
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import vodozemac

from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.devices import MEGOLM, Device, Known, in_parts, keys_of
from mknock.matrix.encryption.drawer import Drawer
from mknock.matrix.encryption.olm import LIFETIME, OlmSessions, post
from mknock.matrix.encryption.own_device import PICKLE_KEY, OwnDevice
from mknock.ports import Clock, Rotation

DEVICES_AT_ONCE: Final = 100
"""Devices that get the key in one request; a message takes about two kilobytes."""


@dataclass(slots=True)
class RoomSession:
    """The session that a room's messages are encrypted with.

    ``era`` is the room's mark when it was made: somebody who leaves begins a
    new era. ``shared`` holds the Curve25519 keys of the devices that have the
    session's key, by person and device ID.
    """

    group: vodozemac.GroupSession
    made_at: float
    era: str
    shared: dict[str, dict[str, str]] = field(default_factory=dict)

    def is_over(self, rotation: Rotation, now: float, era: str, devices: Mapping[str, Known]) -> bool:
        """Whether the next message needs another session."""
        return (
            self.era != era
            or self.group.message_index >= rotation.messages
            or not 0 <= now - self.made_at < rotation.seconds
            or self._somebody_is_gone(devices)
        )

    def _somebody_is_gone(self, devices: Mapping[str, Known]) -> bool:
        """Whether a person or a device that could read on has gone. Who is unknown right now is not gone."""
        for user, shared in self.shared.items():
            now = devices.get(user, ())
            if now is not None and not shared.items() <= keys_of(now).items():
                return True
        return False

    def missing(self, devices: Iterable[Known]) -> list[Device]:
        """The devices that do not have the key yet."""
        return [
            device
            for known in devices
            for device in known or ()
            if self.shared.get(device.user_id, {}).get(device.device_id) != device.curve25519
        ]

    def reached(self, devices: Iterable[Device]) -> None:
        """These devices have the key now."""
        for device in devices:
            self.shared.setdefault(device.user_id, {})[device.device_id] = device.curve25519

    def room_key(self, room_id: str) -> dict[str, str]:
        """The key as others get it: it opens the messages from now on, not the earlier ones."""
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": self.group.session_id,
            "session_key": self.group.session_key.to_base64(),
        }

    def dump(self) -> dict[str, Any]:
        pickle = self.group.pickle(PICKLE_KEY)
        return {"pickle": pickle, "made_at": self.made_at, "era": self.era, "shared": self.shared}


class RoomKeys:
    """The message sessions of all rooms. All methods belong to one turn of the drawer."""

    def __init__(self, client: MatrixClient, drawer: Drawer, us: OwnDevice, clock: Clock) -> None:
        self._client = client
        self._drawer = drawer
        self._us = us
        self._clock = clock
        self._olm = OlmSessions(client, drawer, us, clock)

    async def encrypt(
        self,
        room_id: str,
        devices: Mapping[str, Known],
        kind: str,
        content: Mapping[str, Any],
        rotation: Rotation,
    ) -> dict[str, Any]:
        """Encrypt an event that these people's devices can read.

        When this returns, the session's next state is on disk: after a crash, no
        message key is used again.
        """
        session = await self._session(room_id, devices, rotation)
        missing = [device for device in session.missing(devices.values()) if not self._is_us(device)]
        for some in in_parts(missing, DEVICES_AT_ONCE):
            await self._share(room_id, session, some)
        payload = {"room_id": room_id, "type": kind, "content": content}
        message = session.group.encrypt(json.dumps(payload).encode())
        await self._keep({_name(room_id): session.dump()})
        return self._event(session, message.to_base64(), content)

    async def _session(self, room_id: str, devices: Mapping[str, Known], rotation: Rotation) -> RoomSession:
        era = await era_of(self._drawer, room_id)
        session = await kept_session(self._drawer, room_id)
        if session is None or session.is_over(rotation, self._clock(), era, devices):
            return RoomSession(vodozemac.GroupSession(), self._clock(), era)
        return session

    async def _share(self, room_id: str, session: RoomSession, devices: Sequence[Device]) -> None:
        """Give the session's key to these devices, as far as they can be reached."""
        envelopes, sessions = await self._olm.seal(devices, "m.room_key", session.room_key(room_id))
        if envelopes:
            await self._keep({**sessions, _name(room_id): session.dump()})
            await post(self._client, envelopes)
            session.reached(each.device for each in envelopes)

    async def _keep(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        await self._drawer.put(values, until=self._clock() + LIFETIME)

    def _is_us(self, device: Device) -> bool:
        return device.curve25519 == self._us.curve25519

    def _event(self, session: RoomSession, ciphertext: str, content: Mapping[str, Any]) -> dict[str, Any]:
        event = {
            "algorithm": MEGOLM,
            "ciphertext": ciphertext,
            "session_id": session.group.session_id,
            # Deprecated, but still to be sent (specification 1.3).
            "sender_key": self._us.curve25519,
            "device_id": self._us.device_id,
        }
        # What an event is about stays readable for the homeserver, which counts replies and reactions.
        relation = content.get("m.relates_to")
        return event if relation is None else {**event, "m.relates_to": relation}


async def kept_session(drawer: Drawer, room_id: str) -> RoomSession | None:
    kept = await drawer.read(_name(room_id))
    if kept is None:
        return None
    group = vodozemac.GroupSession.from_pickle(kept["pickle"], PICKLE_KEY)
    return RoomSession(group, kept["made_at"], kept["era"], kept["shared"])


async def era_of(drawer: Drawer, room_id: str) -> str:
    """The room's mark: it changes when somebody leaves."""
    return str((await drawer.read(f"era:{room_id}") or {}).get("mark", ""))


async def begin_era(drawer: Drawer, room_id: str, mark: str, now: float) -> None:
    """Somebody has left: the room's next message needs a new session. Nothing happens if there is none."""
    if await drawer.read(_name(room_id)) is not None:
        await drawer.mark(f"era:{room_id}", {"mark": mark}, until=now + LIFETIME)


def _name(room_id: str) -> str:
    return f"room:{room_id}"
