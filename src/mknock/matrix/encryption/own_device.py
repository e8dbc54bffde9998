"""Our own device: its Olm account, and the keys of it that the homeserver hands to others.

https://spec.matrix.org/v1.18/client-server-api/#post_matrixclientv3keysupload
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import vodozemac

from mknock.domain.errors import Refused
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.devices import MEGOLM, OLM
from mknock.matrix.encryption.drawer import Drawer
from mknock.matrix.encryption.signatures import signed
from mknock.telemetry import get_logger

log = get_logger(__name__)

ACCOUNT: Final = "account"
SIGNED_KEY: Final = "signed_curve25519"
ONE_TIME_KEYS: Final = 20
"""One-time keys on the homeserver: by one of them somebody begins to send us their keys."""
PICKLE_KEY: Final = bytes(32)
"""No encryption of its own: the store seals every secret (promise 10)."""


class OwnDevice:
    """Who we are to other devices. What an account has signed it signs again alike: nothing depends on when."""

    def __init__(self, user_id: str, device_id: str, account: vodozemac.Account) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.account = account
        self.curve25519 = account.curve25519_key.to_base64()
        self.ed25519 = account.ed25519_key.to_base64()
        self.keys = self._signed(self._plain_keys())
        """The device keys, with every signature we know."""

    @classmethod
    async def kept(cls, drawer: Drawer, user_id: str, device_id: str) -> Self | None:
        """The device whose account is in the drawer; None without one."""
        account = await kept_account(drawer)
        return None if account is None else cls(user_id, device_id, account)

    def owns(self, published: Mapping[str, Any]) -> bool:
        """Whether these published device keys are ours."""
        return bool(published.get("keys") == self.keys["keys"])

    def vouched_for(self, signatures: Mapping[str, Any]) -> None:
        """Take these signatures of the account's own keys into what we show others."""
        ours = {**signatures, **self.keys["signatures"][self.user_id]}
        self.keys = {**self.keys, "signatures": {self.user_id: ours}}

    def one_time_keys(self) -> dict[str, Any]:
        """The account's unpublished one-time keys, as they are uploaded."""
        return {
            f"{SIGNED_KEY}:{key_id}": self._signed({"key": key.to_base64()})
            for key_id, key in self.account.one_time_keys.items()
        }

    def fallback_keys(self) -> dict[str, Any]:
        """The account's unpublished fallback key, if there is one, as it is uploaded."""
        keys: Mapping[str, vodozemac.Curve25519PublicKey] = self.account.fallback_key  # type: ignore[attr-defined]
        return {
            f"{SIGNED_KEY}:{key_id}": self._signed({"key": key.to_base64(), "fallback": True})
            for key_id, key in keys.items()
        }

    def sign(self, message: bytes) -> str:
        return self.account.sign(message).to_base64()

    def _plain_keys(self) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {
                f"curve25519:{self.device_id}": self.curve25519,
                f"ed25519:{self.device_id}": self.ed25519,
            },
        }

    def _signed(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return signed(content, self.user_id, self.device_id, self.sign)


async def kept_account(drawer: Drawer) -> vodozemac.Account | None:
    kept = await drawer.read(ACCOUNT)
    return None if kept is None else vodozemac.Account.from_pickle(kept["pickle"], PICKLE_KEY)


async def keep_account(drawer: Drawer, account: vodozemac.Account) -> None:
    await drawer.put({ACCOUNT: {"pickle": account.pickle(PICKLE_KEY)}})


async def new_device(drawer: Drawer, user_id: str, device_id: str) -> OwnDevice:
    """Make an account for our device, with its first keys, and keep it. Nothing of it is published yet."""
    account = vodozemac.Account()
    _generate(account, ONE_TIME_KEYS, fallback=True)
    await keep_account(drawer, account)
    return OwnDevice(user_id, device_id, account)


def _generate(account: vodozemac.Account, one_time: int, *, fallback: bool) -> None:
    if one_time > 0:
        account.generate_one_time_keys(one_time)
    if fallback:
        account.generate_fallback_key()  # type: ignore[attr-defined]


class KeyUpload:
    """Publishes our device's keys. Whatever is interrupted is simply done again, with the same keys."""

    def __init__(self, client: MatrixClient, drawer: Drawer) -> None:
        self._client = client
        self._drawer = drawer

    async def device_keys(self, device: OwnDevice) -> None:
        await self._upload({"device_keys": device.keys})

    async def unpublished(self, device: OwnDevice) -> None:
        """Upload the one-time and fallback keys that were made and are not marked as published."""
        one_time, fallback = device.one_time_keys(), device.fallback_keys()
        if not one_time and not fallback:
            return
        try:
            await self._upload({"one_time_keys": one_time, "fallback_keys": fallback})
        except Refused as refused:
            # The homeserver has other keys under these names, as after a restored backup: never offer them again.
            log.warning("one-time keys were refused; the next ones are new", why=str(refused))
        device.account.mark_keys_as_published()
        await keep_account(self._drawer, device.account)

    async def more(self, device: OwnDevice, one_time: int, *, fallback: bool) -> None:
        """Make and publish more keys, unless there still are some to publish."""
        if not device.account.one_time_keys and not device.fallback_keys():
            _generate(device.account, one_time, fallback=fallback)
            await keep_account(self._drawer, device.account)
        await self.unpublished(device)

    async def _upload(self, body: Mapping[str, Any]) -> None:
        path = ("v3", "keys", "upload")
        await self._client.request("POST", path, what="uploading our keys", json=body, changing=True)
