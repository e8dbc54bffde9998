"""Somebody's device that writes into an encrypted room, from the specification, with no code of Knock's."""

from __future__ import annotations

import json
from typing import Any

import vodozemac
from tests.kit.key_server import BOT, DEVICE, ROOM, KeyServer, Reader, unpadded

Json = dict[str, Any]
MEGOLM = "m.megolm.v1.aes-sha2"
OLM = "m.olm.v1.curve25519-aes-sha2"


class Writer(Reader):
    """A device that shares its message key with Knock's, and encrypts with it."""

    def __init__(self, server: KeyServer, user_id: str, device_id: str = "PHONE") -> None:
        super().__init__(user_id, device_id)
        self.server = server
        server.devices.setdefault(user_id, {})[device_id] = self.device_keys()
        self.group = vodozemac.GroupSession()
        self._session: vodozemac.Session | None = None

    @property
    def bot_keys(self) -> Json:
        keys: Json = self.server.devices[BOT][DEVICE]["keys"]
        return keys

    def session(self) -> vodozemac.Session:
        """The session with Knock's device: begun with one of its one-time keys."""
        if self._session is None:
            keys = self.server.one_time_keys[BOT, DEVICE]
            key = keys.pop(next(iter(keys)))["key"]
            names = (self.bot_keys[f"curve25519:{DEVICE}"], key)
            identity, one_time = (vodozemac.Curve25519PublicKey.from_base64(each) for each in names)
            self._session = self.account.create_outbound_session(identity, one_time)
        return self._session

    def uses(self, session: vodozemac.Session) -> None:
        self._session = session

    def sealed(self, payload: Json, *, outside: Json | None = None) -> Json:
        """A to-device event for Knock's device."""
        kind, body = self.session().encrypt(json.dumps(payload).encode()).to_parts()
        content = {
            "algorithm": OLM,
            "sender_key": self.curve25519,
            "ciphertext": {
                self.bot_keys[f"curve25519:{DEVICE}"]: {"type": kind, "body": unpadded(body)},
            },
        }
        event = {"type": "m.room.encrypted", "sender": self.user_id, "content": content}
        return event | (outside or {})

    def room_key(self, room: str = ROOM, *, outside: Json | None = None, **changes: Any) -> Json:
        """The to-device event that brings the message key; ``changes`` are of what is within."""
        payload: Json = {
            "type": "m.room_key",
            "content": {
                "algorithm": MEGOLM,
                "room_id": room,
                "session_id": self.group.session_id,
                "session_key": self.group.session_key.to_base64(),
            },
            "sender": self.user_id,
            "recipient": BOT,
            "recipient_keys": {"ed25519": self.bot_keys[f"ed25519:{DEVICE}"]},
            "keys": {"ed25519": self.ed25519},
        }
        within = changes.pop("content", {})
        return self.sealed(payload | changes | {"content": payload["content"] | within}, outside=outside)

    def message(self, text: str, room: str = ROOM, **changes: Any) -> Json:
        """The content of an m.room.encrypted event."""
        payload = {"type": "m.room.message", "content": {"msgtype": "m.text", "body": text}, "room_id": room}
        ciphertext = self.group.encrypt(json.dumps(payload | changes).encode()).to_base64()
        return {"algorithm": MEGOLM, "ciphertext": ciphertext, "session_id": self.group.session_id}
