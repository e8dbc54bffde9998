"""One-to-one encryption, by which a room's session key gets to each device.

https://spec.matrix.org/v1.18/client-server-api/#molmv1curve25519-aes-sha2
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import vodozemac

from mknock.matrix.answers import unreadable
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.devices import OLM, REMOTE_TIMEOUT, Device, unhurried
from mknock.matrix.encryption.drawer import Drawer
from mknock.matrix.encryption.own_device import PICKLE_KEY, SIGNED_KEY, OwnDevice
from mknock.matrix.encryption.signatures import encoded, is_key, is_signed
from mknock.ports import Clock
from mknock.telemetry import get_logger

log = get_logger(__name__)

LIFETIME: Final = 7 * 86400.0
"""Seconds a session is used. Nobody tells us that they have lost theirs: new ones heal that."""

Kept = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that is encrypted for one device."""

    device: Device
    content: Mapping[str, Any]


class OlmSessions:
    """Our sessions with other devices, kept by person. All methods belong to one turn of the drawer."""

    def __init__(self, client: MatrixClient, drawer: Drawer, us: OwnDevice, clock: Clock) -> None:
        self._client = client
        self._drawer = drawer
        self._us = us
        self._clock = clock

    async def seal(
        self, devices: Sequence[Device], kind: str, content: Mapping[str, Any]
    ) -> tuple[list[Envelope], dict[str, Kept]]:
        """Encrypt an event for each device that can be reached.

        Also returns the sessions as they are to be kept before anything of it is sent.

        Raises:
            HomeserverError: our own homeserver gave no usable answer.
        """
        kept = {user: await self._kept(user) for user in dict.fromkeys(each.user_id for each in devices)}
        sessions = await self._sessions(devices, kept)
        envelopes = []
        async for device in unhurried(devices):
            if session := sessions.get(device):
                envelopes.append(Envelope(device, self._sealed(session, device, kind, content)))
                entry = {"curve25519": device.curve25519, "pickle": session.pickle(PICKLE_KEY)}
                made_at = _made_at(kept[device.user_id].get(device.device_id), device, self._clock())
                kept[device.user_id][device.device_id] = {**entry, "made_at": made_at}
        return envelopes, {sessions_name(user): sessions_of for user, sessions_of in kept.items()}

    async def _kept(self, user_id: str) -> dict[str, Any]:
        """The kept sessions with a person's devices, without those whose time is over."""
        kept, now = await self._drawer.read(sessions_name(user_id)) or {}, self._clock()
        return {
            device_id: entry for device_id, entry in kept.items() if 0 <= now - entry["made_at"] < LIFETIME
        }

    async def _sessions(
        self, devices: Sequence[Device], kept: Mapping[str, Kept]
    ) -> dict[Device, vodozemac.Session]:
        sessions = {}
        async for device in unhurried(devices):
            entry = kept[device.user_id].get(device.device_id)
            if entry and entry["curve25519"] == device.curve25519:
                sessions[device] = vodozemac.Session.from_pickle(entry["pickle"], PICKLE_KEY)
        new = await self._begun([device for device in devices if device not in sessions])
        return {**sessions, **new}

    async def _begun(self, devices: Sequence[Device]) -> dict[Device, vodozemac.Session]:
        """New sessions with those devices that have a key left for it."""
        if not devices:
            return {}
        claimed = await self._claim(devices)
        begun = {}
        async for device in unhurried(devices):
            if session := self._begin(device, _at(claimed, device.user_id, device.device_id)):
                begun[device] = session
        if len(begun) < len(devices):
            log.info("some devices have no usable key right now", devices=len(devices) - len(begun))
        return begun

    def _begin(self, device: Device, keys: Any) -> vodozemac.Session | None:
        """Begin a session with the claimed key, if the device has signed it."""
        if not isinstance(keys, dict):
            return None
        for name, key in keys.items():
            proper = isinstance(key, dict) and is_key(key.get("key")) and name.startswith(f"{SIGNED_KEY}:")
            if proper and is_signed(key, device.user_id, device.device_id, device.ed25519):
                return _begun_with(self._us.account, device.curve25519, key["key"])
        return None

    async def _claim(self, devices: Sequence[Device]) -> dict[str, Any]:
        wanted: dict[str, dict[str, str]] = {}
        for device in devices:
            wanted.setdefault(device.user_id, {})[device.device_id] = SIGNED_KEY
        body = {"one_time_keys": wanted, "timeout": REMOTE_TIMEOUT}
        what = "claiming keys"
        path = ("v3", "keys", "claim")
        answer = await self._client.request("POST", path, what=what, json=body, changing=True)
        claimed = answer.get("one_time_keys")
        if not isinstance(claimed, dict):
            raise unreadable(what)
        return claimed

    def _sealed(
        self, session: vodozemac.Session, device: Device, kind: str, content: Mapping[str, Any]
    ) -> dict[str, Any]:
        payload = {
            "type": kind,
            "content": content,
            "sender": self._us.user_id,
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.ed25519},
            "keys": {"ed25519": self._us.ed25519},
            # Lets the device judge us before it has asked for our keys (specification 1.15).
            "sender_device_keys": self._us.keys,
        }
        message_type, body = session.encrypt(json.dumps(payload).encode()).to_parts()
        return {
            "algorithm": OLM,
            "sender_key": self._us.curve25519,
            "ciphertext": {device.curve25519: {"type": message_type, "body": encoded(body)}},
        }


async def post(client: MatrixClient, envelopes: Sequence[Envelope]) -> None:
    """Send each device its message.

    Raises:
        HomeserverError: it is not known whether they were sent.
    """
    messages: dict[str, dict[str, Any]] = {}
    for each in envelopes:
        messages.setdefault(each.device.user_id, {})[each.device.device_id] = each.content
    path = ("v3", "sendToDevice", "m.room.encrypted", f"mknock-{secrets.token_hex(8)}")
    await client.request("PUT", path, what="sending keys", json={"messages": messages}, changing=True)


def _begun_with(account: vodozemac.Account, identity: str, one_time: str) -> vodozemac.Session | None:
    """A session with these keys; None for keys that no honest device has."""
    try:
        keys = [vodozemac.Curve25519PublicKey.from_base64(key) for key in (identity, one_time)]
        return account.create_outbound_session(*keys)
    except ValueError:
        return None


def sessions_name(user_id: str) -> str:
    """Under what the sessions that we began with a person's devices are kept."""
    return f"olm:{user_id}"


def _made_at(entry: Kept | None, device: Device, now: float) -> float:
    """When the session with this device was made: now, unless it is the kept one."""
    if entry is None or entry["curve25519"] != device.curve25519:
        return now
    return float(entry["made_at"])


def _at(claimed: Mapping[str, Any], user_id: str, device_id: str) -> Any:
    devices = claimed.get(user_id)
    return devices.get(device_id) if isinstance(devices, dict) else None
