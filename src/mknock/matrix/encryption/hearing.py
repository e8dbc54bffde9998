"""Reading what one person wrote in an encrypted direct room: their keys by Olm, their messages by Megolm.

A key counts only for the person whose device sent it: the homeserver says who that
was, and the device has to be one of theirs by /keys/query, with the same keys as are
claimed within the message (specification, "Validation of incoming decrypted events").

https://spec.matrix.org/v1.18/client-server-api/#molmv1curve25519-aes-sha2
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import vodozemac

from mknock.matrix.encryption import inbox
from mknock.matrix.encryption.devices import MEGOLM, Device
from mknock.matrix.encryption.drawer import Drawer
from mknock.matrix.encryption.olm import LIFETIME, sessions_name
from mknock.matrix.encryption.own_device import ACCOUNT, PICKLE_KEY, OwnDevice, kept_account
from mknock.matrix.encryption.signatures import is_key
from mknock.ports import Clock
from mknock.telemetry import get_logger

log = get_logger(__name__)

MOST_SESSIONS: Final = 8
"""Olm sessions with one person that are kept: the newest."""
MOST_KEYS: Final = 8
"""Room keys of one person that are kept: the newest."""
LARGEST: Final = 65536
"""Characters of a message that are decrypted: as large as any event."""

Json = dict[str, Any]


class NotReadable(Exception):
    """What came is no message for us, or not from whom it says."""


@dataclass(slots=True)
class Heard:
    """What is kept of one person: their sessions, and the marks of the messages that were dealt with."""

    sessions: list[Json] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def dump(self) -> Json:
        return {"sessions": self.sessions[-MOST_SESSIONS:], "done": self.done[-2 * inbox.MOST :]}


@dataclass(frozen=True, slots=True)
class Changed:
    """What a message has changed besides what is kept of its sender, by the names in the drawer."""

    sessions: Mapping[str, Json] = field(default_factory=dict)
    """Our own with their devices."""
    account: Mapping[str, Json] = field(default_factory=dict)
    """Ours: a one-time key is used up. It is never forgotten."""
    key: Json | None = None
    """The room key that the message brought."""


class Hearing:
    """Reads what one person sent. All methods belong to one turn of the drawer."""

    def __init__(self, drawer: Drawer, us: OwnDevice, clock: Clock) -> None:
        self._drawer = drawer
        self._us = us
        self._clock = clock

    async def take_in(self, sender: str, devices: Sequence[Device]) -> None:
        """Deal with what came from the person's devices since, each message once, whatever is in it."""
        heard = await heard_of(self._drawer, sender)
        for message in await inbox.kept(self._drawer, sender):
            mark = inbox.mark_of(message)
            if mark in heard.done:
                continue
            heard.done.append(mark)
            changed = await self._taken_in(message, devices, heard)
            if changed.key:  # before the message counts as dealt with
                await self._keep_key(sender, changed.key)
            await self._drawer.put(
                {**changed.sessions, _name(sender): heard.dump()},
                until=self._clock() + LIFETIME,
                lasting=changed.account,
            )

    async def read(self, room_id: str, sender: str, content: Mapping[str, Any]) -> Json | None:
        """The content of the person's message; None without its key, or if it is none of theirs in this room."""
        key = (await self._keys(sender)).get(str(content.get("session_id")))
        if key is None or key["room_id"] != room_id or content.get("algorithm") != MEGOLM:
            return None
        try:
            payload = _opened(key["pickle"], content.get("ciphertext"))
        except NotReadable:
            return {}
        # The key is this person's and was made for this room: a message of elsewhere does not count.
        inner = payload.get("content")
        fits = payload.get("room_id") == room_id and payload.get("type") == "m.room.message"
        return inner if fits and isinstance(inner, dict) else {}

    async def _keys(self, sender: str) -> dict[str, Json]:
        return await self._drawer.read(_keys_name(sender)) or {}

    async def _keep_key(self, sender: str, key: Json) -> None:
        """Keep a room key as long as a talk can last."""
        keys = {**await self._keys(sender), key["session_id"]: key}
        newest = dict(list(keys.items())[-MOST_KEYS:])
        await self._drawer.mark(_keys_name(sender), newest, until=self._clock() + inbox.KEPT_FOR)

    async def _taken_in(self, message: Mapping[str, Any], devices: Sequence[Device], heard: Heard) -> Changed:
        """Decrypt a message; return what is to be kept because of it."""
        try:
            device = _sender_among(devices, message.get("sender_key"))
            plaintext, changed = await self._decrypted(device, _for_us(message, self._us), heard)
            key = _room_key(_payload(plaintext, device, self._us))
        except NotReadable as why:
            log.info("something sent to our device was not used", why=str(why))
            return Changed()
        return replace(changed, key=key)

    async def _decrypted(
        self, device: Device, message: vodozemac.AnyOlmMessage, heard: Heard
    ) -> tuple[bytes, Changed]:
        """Decrypt with the session that fits; a message that begins one makes another.

        Also returns what has changed but for the sessions in ``heard``, which are changed.
        """
        for kept in reversed(heard.sessions):
            if kept["curve25519"] == device.curve25519:
                plaintext = _tried(kept, message)
                if plaintext is not None:
                    return plaintext, Changed()
        ours = await self._drawer.read(sessions_name(device.user_id)) or {}
        entry = ours.get(device.device_id)
        if entry and entry["curve25519"] == device.curve25519:
            plaintext = _tried(entry, message)
            if plaintext is not None:
                return plaintext, Changed(sessions={sessions_name(device.user_id): ours})
        return await self._begun(device, message, heard)

    async def _begun(
        self, device: Device, message: vodozemac.AnyOlmMessage, heard: Heard
    ) -> tuple[bytes, Changed]:
        account = await kept_account(self._drawer)
        pre_key = message.to_pre_key()
        if account is None or pre_key is None:
            raise NotReadable("no session fits")
        with _foreign():
            identity = vodozemac.Curve25519PublicKey.from_base64(device.curve25519)
            session, plaintext = account.create_inbound_session(identity, pre_key)
        heard.sessions.append({"curve25519": device.curve25519, "pickle": session.pickle(PICKLE_KEY)})
        return plaintext, Changed(account={ACCOUNT: {"pickle": account.pickle(PICKLE_KEY)}})


async def heard_of(drawer: Drawer, sender: str) -> Heard:
    kept = await drawer.read(_name(sender))
    return Heard(**kept) if kept else Heard()


async def has_news(drawer: Drawer, sender: str) -> bool:
    """Whether something of this person is still to be dealt with."""
    done = (await heard_of(drawer, sender)).done
    return any(inbox.mark_of(message) not in done for message in await inbox.kept(drawer, sender))


def _sender_among(devices: Sequence[Device], sender_key: Any) -> Device:
    found = next((device for device in devices if device.curve25519 == sender_key), None)
    if found is None:
        raise NotReadable("it comes from no device of that person")
    return found


def _for_us(message: Mapping[str, Any], us: OwnDevice) -> vodozemac.AnyOlmMessage:
    """The part of a message that is encrypted for our device."""
    parts = message.get("ciphertext")
    part = parts.get(us.curve25519) if isinstance(parts, dict) else None
    if not isinstance(part, dict) or part.get("type") not in (0, 1) or not isinstance(part.get("body"), str):
        raise NotReadable("it is not for our device")
    with _foreign():
        body = base64.b64decode(part["body"] + "=" * (-len(part["body"]) % 4), validate=True)
        return vodozemac.AnyOlmMessage.from_parts(part["type"], body)


def _tried(kept: Json, message: vodozemac.AnyOlmMessage) -> bytes | None:
    """Decrypt with a kept session, which goes on by that; None if it is another's."""
    session = vodozemac.Session.from_pickle(kept["pickle"], PICKLE_KEY)
    pre_key = message.to_pre_key()
    if pre_key is not None and not session.session_matches(pre_key):
        return None
    try:
        with _foreign():
            plaintext = session.decrypt(message)
    except NotReadable:
        return None
    kept["pickle"] = session.pickle(PICKLE_KEY)
    return plaintext


def _payload(plaintext: bytes, device: Device, us: OwnDevice) -> Json:
    """What is within, if it says the same of both devices as we know."""
    payload = _object(plaintext)
    said = (
        payload.get("sender"),
        payload.get("recipient"),
        _at(payload, "recipient_keys"),
        _at(payload, "keys"),
    )
    if said != (device.user_id, us.user_id, us.ed25519, device.ed25519):
        raise NotReadable("it is meant for others, or comes from others, than it says")
    return payload


def _at(payload: Json, name: str) -> Any:
    keys = payload.get(name)
    return keys.get("ed25519") if isinstance(keys, dict) else None


def _room_key(payload: Json) -> Json | None:
    """The key that a payload brings; None if it brings something else. Keys that were passed on do not count."""
    content = payload.get("content")
    if payload.get("type") != "m.room_key" or not isinstance(content, dict):
        return None
    room_id, session_id, key = (content.get(name) for name in ("room_id", "session_id", "session_key"))
    if content.get("algorithm") != MEGOLM or not all(isinstance(each, str) for each in (room_id, key)):
        raise NotReadable("it holds no key")
    with _foreign():
        group = vodozemac.InboundGroupSession(vodozemac.SessionKey(str(key)))
    if group.session_id != session_id or not is_key(group.session_id):
        raise NotReadable("its key is another than it says")
    return {"session_id": session_id, "room_id": room_id, "pickle": group.pickle(PICKLE_KEY)}


def _opened(pickle: str, ciphertext: Any) -> Json:
    if not isinstance(ciphertext, str) or len(ciphertext) > LARGEST:
        raise NotReadable("it holds no message")
    group = vodozemac.InboundGroupSession.from_pickle(pickle, PICKLE_KEY)
    with _foreign():
        plaintext = group.decrypt(vodozemac.MegolmMessage.from_base64(ciphertext)).plaintext
    return _object(plaintext)


def _object(plaintext: bytes) -> Json:
    try:
        payload = json.loads(plaintext)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise NotReadable("it holds no JSON object")
    return payload


@contextmanager
def _foreign() -> Iterator[None]:
    """Around everything that vodozemac does with what others wrote: what it cannot take is not readable."""
    try:
        yield
    except ValueError as error:
        raise NotReadable(type(error).__name__) from None
    except BaseException as error:
        # vodozemac panics at some malformed keys (0.10); the exception is none that has a name to import.
        if type(error).__name__ != "PanicException":
            raise
        raise NotReadable("it broke the cryptography") from None


def _name(sender: str) -> str:
    return f"heard:{sender}"


def _keys_name(sender: str) -> str:
    return f"keys:{sender}"
