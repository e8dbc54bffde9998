"""The key exchange of a homeserver, in memory, and people whose devices read what is sent to them.

The reading side is written for the tests, from the specification, and shares no code with Knock's.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx2
import vodozemac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.kit.http import matrix_http

from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient

Json = dict[str, Any]
BASE = "http://hs.test"
BOT = "@bot:hs.test"
DEVICE = "KNOCK1"
ROOM = "!room:hs.test"


def canonical(value: Json) -> bytes:
    """Canonical JSON, for values of which we know that they have one."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def without_signatures(signed: Json) -> bytes:
    return canonical({key: value for key, value in signed.items() if key not in ("signatures", "unsigned")})


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def foreign_identity(user_id: str, seed: bytes) -> Json:
    """An identity that somebody else has made for the account, with that self-signing key."""
    master, user_signing = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    keys = {"master": master, "self_signing": Ed25519PrivateKey.from_private_bytes(seed)}
    return {
        f"{usage}_key": _vouched(user_id, usage, key, master)
        for usage, key in {**keys, "user_signing": user_signing}.items()
    }


def _vouched(user_id: str, usage: str, key: Ed25519PrivateKey, master: Ed25519PrivateKey) -> Json:
    public = unpadded(key.public_key().public_bytes_raw())
    content = {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{public}": public}}
    if key is master:
        return content
    name = f"ed25519:{unpadded(master.public_key().public_bytes_raw())}"
    signature = unpadded(master.sign(without_signatures(content)))
    return {**content, "signatures": {user_id: {name: signature}}}


class Reader:
    """Somebody's device. It signs its own keys and decrypts what it gets."""

    def __init__(self, user_id: str, device_id: str, *, one_time_keys: int = 5) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.account = vodozemac.Account()
        self.account.generate_one_time_keys(one_time_keys)
        self._olm: list[vodozemac.Session] = []
        self.room_keys: list[Json] = []
        """The decrypted to-device events, oldest first."""

    @property
    def curve25519(self) -> str:
        return self.account.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        return self.account.ed25519_key.to_base64()

    def device_keys(self, **changes: Any) -> Json:
        """The device's keys as it publishes them; ``changes`` are signed as well."""
        keys = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"curve25519:{self.device_id}": self.curve25519,
                f"ed25519:{self.device_id}": self.ed25519,
            },
        }
        return self.signed({**keys, **changes})

    def one_time_keys(self) -> Json:
        return {
            f"signed_curve25519:{key_id}": self.signed({"key": key.to_base64()})
            for key_id, key in self.account.one_time_keys.items()
        }

    def signed(self, content: Json) -> Json:
        signature = self.account.sign(without_signatures(content)).to_base64()
        return {**content, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    def receive(self, content: Json) -> Json:
        """Decrypt a to-device message and return its payload."""
        part = content["ciphertext"][self.curve25519]
        body = base64.b64decode(part["body"] + "==")
        message = vodozemac.AnyOlmMessage.from_parts(part["type"], body)
        payload: Json = json.loads(self._decrypted(content["sender_key"], message))
        self.room_keys.append(payload)
        return payload

    def _decrypted(self, sender_key: str, message: vodozemac.AnyOlmMessage) -> bytes:
        pre_key = message.to_pre_key()
        assert pre_key is not None, "Knock never gets an answer, so all of its messages begin a session"
        for session in self._olm:
            if session.session_matches(pre_key):
                return session.decrypt(message)
        identity = vodozemac.Curve25519PublicKey.from_base64(sender_key)
        session, plaintext = self.account.create_inbound_session(identity, pre_key)
        self._olm.append(session)
        return plaintext

    def read(self, event: Json) -> Json:
        """Decrypt an m.room.encrypted event's content.

        Raises:
            LookupError: its session's key never came.
        """
        key = next(
            each["content"]["session_key"]
            for each in reversed(self.room_keys)
            if each["content"]["session_id"] == event["session_id"]
        )
        session = vodozemac.InboundGroupSession(vodozemac.SessionKey(key))
        decrypted = session.decrypt(vodozemac.MegolmMessage.from_base64(event["ciphertext"]))
        payload: Json = json.loads(decrypted.plaintext)
        return payload

    def can_read(self, event: Json) -> bool:
        try:
            self.read(event)
        except (StopIteration, ValueError):
            return False
        return True


Answering = Callable[[Json], Any]


@dataclass
class KeyServer:
    """Answers Knock's calls. ``instead`` maps the end of a path to what is answered there instead."""

    devices: dict[str, dict[str, Json]] = field(default_factory=dict)
    one_time_keys: dict[tuple[str, str], Json] = field(default_factory=dict)
    cross_signing: dict[str, Json] = field(default_factory=dict)
    account_data: dict[str, Json] = field(default_factory=dict)
    readers: dict[tuple[str, str], Reader] = field(default_factory=dict)
    failures: set[str] = field(default_factory=set)
    password: str = ""
    """If set, cross-signing keys are taken only with it."""
    asked: list[tuple[str, Json]] = field(default_factory=list)
    """Every call: its path behind /v3, and its body."""
    instead: dict[str, Any] = field(default_factory=dict)

    # --- what a test sets up

    def add(self, user_id: str, device_id: str = "PHONE", **wishes: Any) -> Reader:
        """Somebody logs in with a new device."""
        reader = Reader(user_id, device_id, **wishes)
        self.devices.setdefault(user_id, {})[device_id] = reader.device_keys()
        self.one_time_keys[user_id, device_id] = reader.one_time_keys()
        self.readers[user_id, device_id] = reader
        return reader

    def calls(self, path: str) -> list[Json]:
        """The bodies of the calls whose path begins so."""
        return [body for asked, body in self.asked if asked.startswith(path)]

    def client(self) -> MatrixClient:
        http = matrix_http(transport=httpx2.MockTransport(self._answer))
        return MatrixClient(BASE, FixedToken("token", BASE), http=http)

    # --- what Knock asks

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = unquote(request.url.path.removeprefix("/_matrix/client/v3/"))
        body = json.loads(request.content or b"{}")
        self.asked.append((path, body))
        for end, instead in self.instead.items():
            if path.startswith(end):
                answer = instead(body) if callable(instead) else instead
                if isinstance(answer, Awaitable):
                    answer = await answer
                return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)
        return self._usual(request.method, path, body)

    def _usual(self, method: str, path: str, body: Json) -> httpx2.Response:
        if path.startswith("sendToDevice/m.room.encrypted/") and method == "PUT":
            return self._send(body)
        if "/account_data/" in path:
            data = self.account_data.get(path.rpartition("/")[2])
            missing = httpx2.Response(404, json={"errcode": "M_NOT_FOUND"})
            return missing if data is None else httpx2.Response(200, json=data)
        return {
            "keys/query": self._query,
            "keys/claim": self._claim,
            "keys/upload": self._upload,
            "keys/device_signing/upload": self._cross_sign,
            "keys/signatures/upload": self._sign,
        }[path](body)

    def query(self, body: Json) -> Json:
        people = body["device_keys"]
        silent = {server for server in self.failures if any(user.endswith(f":{server}") for user in people)}
        known = [user for user in people if user.partition(":")[2] not in silent]
        answer: Json = {
            "device_keys": {user: self.devices.get(user, {}) for user in known},
            "failures": {server: {"status": 503} for server in silent},
        }
        for kind in ("master", "self_signing", "user_signing"):
            key = f"{kind}_key"
            own = {user: self.cross_signing[user][key] for user in known if user in self.cross_signing}
            answer[f"{kind}_keys"] = own
        return answer

    def _query(self, body: Json) -> httpx2.Response:
        return httpx2.Response(200, json=self.query(body))

    def _claim(self, body: Json) -> httpx2.Response:
        claimed: Json = {}
        for user, wanted in body["one_time_keys"].items():
            for device in wanted:
                if keys := self.one_time_keys.get((user, device)):
                    name = next(iter(keys))
                    claimed.setdefault(user, {})[device] = {name: keys.pop(name)}
        return httpx2.Response(200, json={"one_time_keys": claimed, "failures": {}})

    def _upload(self, body: Json) -> httpx2.Response:
        if keys := body.get("device_keys"):
            self.devices.setdefault(BOT, {})[keys["device_id"]] = copy.deepcopy(keys)
        ours = self.one_time_keys.setdefault((BOT, DEVICE), {})
        ours.update(body.get("one_time_keys", {}))
        return httpx2.Response(200, json={"one_time_key_counts": {"signed_curve25519": len(ours)}})

    def _cross_sign(self, body: Json) -> httpx2.Response:
        if self.password and body.get("auth", {}).get("password") != self.password:
            flows = [{"stages": ["m.login.password"]}]
            return httpx2.Response(401, json={"flows": flows, "params": {}, "session": "a session"})
        self.cross_signing[BOT] = {key: value for key, value in body.items() if key != "auth"}
        return httpx2.Response(200, json={})

    def _sign(self, body: Json) -> httpx2.Response:
        for user, objects in body.items():
            for device, signed in objects.items():
                if published := self.devices.get(user, {}).get(device):
                    published["signatures"].setdefault(user, {}).update(signed["signatures"][user])
        return httpx2.Response(200, json={"failures": {}})

    def _send(self, body: Json) -> httpx2.Response:
        for user, messages in body["messages"].items():
            for device, content in messages.items():
                if reader := self.readers.get((user, device)):
                    reader.receive(content)
        return httpx2.Response(200, json={})
