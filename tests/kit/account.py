"""A person on a homeserver, real or fake, and the calls that person makes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2

Json = dict[str, Any]
Transport = Callable[[], httpx2.AsyncBaseTransport | None]

# Making this context takes 45 ms, making a client with it 0.1 ms: a client can
# be made for each call, and none outlives the event loop of its test.
_TLS = ssl.create_default_context()


class UnexpectedAnswer(AssertionError):
    """The homeserver said something else than 200; ``response`` holds what."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.request.url.path}: {response.status_code} {response.text}")
        self.response = response


def no_transport() -> None:
    """Return no transport, so that httpx2 takes its own: the network."""


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the client-server API; without an access token, a stranger."""

    url: str
    access_token: str | None = field(default=None, repr=False)
    transport: Transport = field(default=no_transport, repr=False)

    def client(self, *, timeout: float = 30.0) -> httpx2.AsyncClient:
        """Return a client that the caller of this method closes."""
        headers = {"Authorization": f"Bearer {self.access_token}"} if self.access_token else {}
        return httpx2.AsyncClient(
            base_url=self.url,
            headers=headers,
            verify=_TLS,
            trust_env=False,
            timeout=timeout,
            transport=self.transport(),
        )

    async def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Make one request to any path and return whatever comes back."""
        async with self.client() as client:
            return await client.request(method, path, **options)

    async def call(self, method: str, *segments: str, **options: Any) -> httpx2.Response:
        """Call the client-server API v3; each segment is percent-encoded. ``options`` go to httpx2."""
        path = "/".join(quote(segment, safe="") for segment in segments)
        return await self.request(method, f"/_matrix/client/v3/{path}", **options)

    async def must(self, method: str, *segments: str, **options: Any) -> Json:
        """Call the API and return the body.

        Raises:
            UnexpectedAnswer: the status is not 200.
        """
        response = await self.call(method, *segments, **options)
        if response.status_code != httpx2.codes.OK:
            raise UnexpectedAnswer(response)
        body: Json = response.json()
        return body


@dataclass(frozen=True)
class Account(Caller):
    """A person who is logged in. Every method but ``membership`` raises UnexpectedAnswer on a refusal."""

    user_id: str = ""
    device_id: str = ""

    async def invite(self, room: str, user_id: str, *, reason: str | None = None) -> None:
        await self._about(room, "invite", user_id, reason)

    async def kick(self, room: str, user_id: str, *, reason: str | None = None) -> None:
        await self._about(room, "kick", user_id, reason)

    async def ban(self, room: str, user_id: str, *, reason: str | None = None) -> None:
        await self._about(room, "ban", user_id, reason)

    async def unban(self, room: str, user_id: str, *, reason: str | None = None) -> None:
        await self._about(room, "unban", user_id, reason)

    async def knock(self, room: str, *, reason: str | None = None) -> None:
        await self.must("POST", "knock", room, json={} if reason is None else {"reason": reason})

    async def join(self, room: str) -> None:
        await self.must("POST", "rooms", room, "join", json={})

    async def leave(self, room: str) -> None:
        await self.must("POST", "rooms", room, "leave", json={})

    async def membership(self, room: str, user_id: str) -> str | None:
        """Return what the room says of that person now; None when they never were in it."""
        response = await self.call("GET", "rooms", room, "state", "m.room.member", user_id)
        if response.status_code == httpx2.codes.NOT_FOUND:
            return None
        if response.status_code != httpx2.codes.OK:
            raise UnexpectedAnswer(response)
        return str(response.json()["membership"])

    async def create_room(self, **content: Any) -> str:
        """Create a room, by default a private one of the server's default version, and return its id."""
        created = await self.must("POST", "createRoom", json={"preset": "private_chat", **content})
        return str(created["room_id"])

    async def put_state(self, room: str, event_type: str, content: Json, *, state_key: str = "") -> str:
        segments = ("rooms", room, "state", event_type, *([state_key] if state_key else []))
        return str((await self.must("PUT", *segments, json=content))["event_id"])

    async def state(self, room: str, event_type: str, *, state_key: str = "") -> Json:
        return await self.must("GET", "rooms", room, "state", event_type, state_key)

    async def send_text(self, room: str, text: str, *, transaction: str) -> str:
        """Send a message and return its event id; the same transaction sends nothing new."""
        content = {"msgtype": "m.text", "body": text}
        sent = await self.must("PUT", "rooms", room, "send", "m.room.message", transaction, json=content)
        return str(sent["event_id"])

    async def sync(
        self,
        since: str | None = None,
        *,
        timeout: int = 0,  # noqa: ASYNC109  # the name of the query's parameter
        sync_filter: Json | None = None,
    ) -> Json:
        """Return what happened since then, waiting up to ``timeout`` milliseconds."""
        wanted: dict[str, str | int] = {"timeout": timeout}
        if since is not None:
            wanted["since"] = since
        if sync_filter is not None:
            wanted["filter"] = json.dumps(sync_filter)
        return await self.must("GET", "sync", params=wanted)

    async def set_invite_block(self, *, blocked: bool = True) -> None:
        """Let nobody invite this person any more (specification 1.18), or let them again."""
        content = {"default_action": "block" if blocked else "allow"}
        kind = "m.invite_permission_config"
        await self.must("PUT", "user", self.user_id, "account_data", kind, json=content)

    async def set_displayname(self, displayname: str) -> None:
        """Change the name; an empty one leaves a profile that answers 404 like an unknown user."""
        content = {"displayname": displayname}
        await self.must("PUT", "profile", self.user_id, "displayname", json=content)

    async def publish_device(self) -> None:
        """Publish encryption keys for this device. Nobody could use them: they are not signed."""
        keys = {f"{kind}:{self.device_id}": "A" * 43 for kind in ("curve25519", "ed25519")}
        signatures = {self.user_id: {f"ed25519:{self.device_id}": "A" * 86}}
        about: Json = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": keys,
            "signatures": signatures,
        }
        await self.must("POST", "keys", "upload", json={"device_keys": about})

    async def log_out(self) -> None:
        await self.must("POST", "logout", json={})

    async def _about(self, room: str, action: str, user_id: str, reason: str | None) -> None:
        body = {"user_id": user_id} if reason is None else {"user_id": user_id, "reason": reason}
        await self.must("POST", "rooms", room, action, json=body)


def logged_in(caller: Caller, answer: Mapping[str, Any]) -> Account:
    """Return the account that the answer to a login describes."""
    return Account(
        url=caller.url,
        access_token=answer["access_token"],
        transport=caller.transport,
        user_id=answer["user_id"],
        device_id=answer["device_id"],
    )
