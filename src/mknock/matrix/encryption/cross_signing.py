"""Cross-signing: our account's identity vouches for our device, or apps warn of every message.

An identity that is not ours is never replaced: that would sign everybody's
verification of the account away. Then only its owner's recovery key helps.

https://spec.matrix.org/v1.18/client-server-api/#cross-signing
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from mknock.domain.errors import EncryptionUnavailable
from mknock.matrix.answers import ProofWanted, unreadable
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.drawer import Secrets
from mknock.matrix.encryption.own_device import OwnDevice
from mknock.matrix.encryption.secret_storage import secret_in_storage
from mknock.matrix.encryption.signatures import (
    KEY_BYTES,
    SigningKey,
    decoded,
    encoded,
    is_key,
    is_signed,
    signed,
)
from mknock.telemetry import get_logger

log = get_logger(__name__)

FOREIGN_IDENTITY: Final = (
    "the account already has a cross-signing identity, so Knock cannot vouch for its own messages:"
    " set RECOVERY_KEY to the account's recovery key"
)
PROOF_NEEDED: Final = (
    "the homeserver takes cross-signing keys only with the account's password:"
    " start Knock once with MATRIX_USER and MATRIX_PASSWORD"
)
NOT_THAT_KEY: Final = "RECOVERY_KEY opens another cross-signing identity than the account has now"


@dataclass(frozen=True, slots=True)
class Published:
    """What the homeserver shows of our own account. ``device`` is None if our device has no keys there.

    ``self_signing`` is "" unless the master key has signed it.
    """

    device: Mapping[str, Any] | None
    master: str
    self_signing: str

    @classmethod
    def read(cls, answer: Mapping[str, Any], user_id: str, device_id: str) -> Self:
        """Read an answer of /keys/query about ourselves.

        Raises:
            HomeserverUnavailable: it does not say; so nobody takes that for "has none".
        """
        if not isinstance(answer.get("device_keys"), dict):
            raise unreadable("reading our own keys")
        devices = _of(answer, "device_keys", user_id) or {}
        device = devices.get(device_id)
        if device is not None and not isinstance(device, dict):
            raise unreadable("reading our own keys")
        masters = answer.get("master_keys", {})
        master = _public(_of(answer, "master_keys", user_id), user_id)
        if not isinstance(masters, dict) or (user_id in masters and not master):
            raise unreadable("reading our own keys")
        self_signing = _of(answer, "self_signing_keys", user_id) or {}
        vouched = is_signed(self_signing, user_id, master, master)
        return cls(device, master, _public(self_signing, user_id) if vouched else "")

    def vouches_for(self, device: OwnDevice) -> bool:
        """Whether the published device keys carry the identity's signature."""
        if self.device is None or not self.self_signing:
            return False
        return is_signed(self.device, device.user_id, self.self_signing, self.self_signing)

    def signatures(self, device: OwnDevice) -> dict[str, Any]:
        """The identity's signature of our device, by key."""
        assert self.device is not None  # noqa: S101 - vouches_for said so
        name = f"ed25519:{self.self_signing}"
        return {name: self.device["signatures"][device.user_id][name]}


def _of(answer: Mapping[str, Any], kind: str, user_id: str) -> dict[str, Any] | None:
    people = answer.get(kind)
    about = people.get(user_id) if isinstance(people, dict) else None
    return about if isinstance(about, dict) else None


def _public(keys: Mapping[str, Any] | None, user_id: str) -> str:
    """The public key in a cross-signing key object; "" if it is not a proper one of this person."""
    public = keys.get("keys") if keys else None
    if not keys or keys.get("user_id") != user_id or not isinstance(public, dict):
        return ""
    return next((key for name, key in public.items() if is_key(key) and name == f"ed25519:{key}"), "")


async def published(client: MatrixClient, user_id: str, device_id: str) -> Published:
    """Ask what the homeserver shows of our own account."""
    body: dict[str, Any] = {"device_keys": {user_id: []}}
    path = ("v3", "keys", "query")
    answer = await client.request("POST", path, what="reading our own keys", json=body)
    return Published.read(answer, user_id, device_id)


@dataclass(frozen=True, slots=True)
class Identity:
    """A cross-signing identity of our own making: three keys."""

    master: SigningKey
    self_signing: SigningKey
    user_signing: SigningKey

    @classmethod
    async def settled(cls, store: Secrets, user_id: str) -> Self:
        """Our identity for this account, made and kept at first use: one for all processes and devices."""
        names = ("master", "self_signing", "user_signing")
        new = json.dumps({name: encoded(secrets.token_bytes(KEY_BYTES)) for name in names})
        kept = json.loads(await store.settle_secret(f"encryption:{user_id}:identity", new))
        return cls(*(SigningKey(decoded(kept[name], KEY_BYTES)) for name in names))

    def upload_of(self, device: OwnDevice) -> dict[str, Any]:
        """The three keys as they are uploaded; the device has signed the master key, and that the others."""
        user_id, master = device.user_id, self.master
        keys = {
            "self_signing_key": _key_object(user_id, "self_signing", self.self_signing),
            "user_signing_key": _key_object(user_id, "user_signing", self.user_signing),
        }
        vouched = {name: signed(key, user_id, master.public, master.sign) for name, key in keys.items()}
        by_device = signed(_key_object(user_id, "master", master), user_id, device.device_id, device.sign)
        return {"master_key": by_device, **vouched}


def _key_object(user_id: str, usage: str, key: SigningKey) -> dict[str, Any]:
    return {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{key.public}": key.public}}


class CrossSigning:
    """Sees to it that the account's identity vouches for our device."""

    def __init__(
        self, client: MatrixClient, store: Secrets, *, password: str = "", recovery_key: str = ""
    ) -> None:
        self._client = client
        self._store = store
        self._password = password
        self._recovery_key = recovery_key

    async def settle(self, device: OwnDevice, shown: Published) -> None:
        """Make an identity if the account has none, and have our device signed if it is not.

        Raises:
            EncryptionUnavailable: the owner has to do something first.
            HomeserverError: the homeserver gave no usable answer.
        """
        if not shown.vouches_for(device):
            identity = await Identity.settled(self._store, device.user_id)
            if not shown.master:
                await self._publish(identity, device)
            signer = await self._signer(device.user_id, identity, await self._shown(device))
            await self._sign(device, signer)
            shown = await self._shown(device)
        if not shown.vouches_for(device):
            raise EncryptionUnavailable("the homeserver does not show the signature of Knock's session")
        device.vouched_for(shown.signatures(device))

    async def _shown(self, device: OwnDevice) -> Published:
        return await published(self._client, device.user_id, device.device_id)

    async def _signer(self, user_id: str, identity: Identity, shown: Published) -> SigningKey:
        """The key that others expect our device to be signed with."""
        if not shown.self_signing:
            raise EncryptionUnavailable(FOREIGN_IDENTITY)
        if identity.self_signing.public == shown.self_signing:
            return identity.self_signing
        if not self._recovery_key:
            raise EncryptionUnavailable(FOREIGN_IDENTITY)
        key = await self._recovered(user_id)
        if key is None or key.public != shown.self_signing:
            raise EncryptionUnavailable(NOT_THAT_KEY)
        return key

    async def _recovered(self, user_id: str) -> SigningKey | None:
        """The self-signing key that the owner has left in the secret storage; None if it is no key."""
        kind = "m.cross_signing.self_signing"
        seed = await secret_in_storage(self._client, user_id, kind, self._recovery_key)
        try:
            return SigningKey(decoded(seed, KEY_BYTES))
        except ValueError:
            return None

    async def _publish(self, identity: Identity, device: OwnDevice) -> None:
        """Upload our identity. A first one needs no password on most homeservers (specification 1.11)."""
        keys = identity.upload_of(device)
        try:
            await self._upload(keys)
        except ProofWanted as wanted:
            await self._prove(keys, device, wanted.session)

    async def _prove(self, keys: Mapping[str, Any], device: OwnDevice, session: str) -> None:
        """Upload with the password, unless the account has got an identity meanwhile: that we would replace."""
        if (await self._shown(device)).master:
            return
        if not self._password:
            raise EncryptionUnavailable(PROOF_NEEDED)
        identifier = {"type": "m.id.user", "user": device.user_id}
        proof = {"type": "m.login.password", "identifier": identifier, "password": self._password}
        try:
            await self._upload({**keys, "auth": {**proof, **({"session": session} if session else {})}})
        except ProofWanted:
            raise EncryptionUnavailable(PROOF_NEEDED) from None

    async def _upload(self, body: Mapping[str, Any]) -> None:
        path = ("v3", "keys", "device_signing", "upload")
        await self._client.request("POST", path, what="cross-signing", json=body, changing=True)

    async def _sign(self, device: OwnDevice, key: SigningKey) -> None:
        vouched = signed(device.keys, device.user_id, key.public, key.sign)
        body = {device.user_id: {device.device_id: vouched}}
        path = ("v3", "keys", "signatures", "upload")
        await self._client.request("POST", path, what="signing our session", json=body, changing=True)
        log.info("this session is signed by its account")
