"""Encrypting what Knock sends into encrypted rooms (design decision 5), and reading in direct rooms alone.

::

    Machine (machine)                    keeps ports.Encryption
    ├── OwnDevice, KeyUpload (own_device)   our Olm account and its published keys
    ├── CrossSigning (cross_signing)        the account's identity vouches for our device
    │   └── secret_storage                  with the owner's recovery key, if the identity is theirs
    ├── Devices (devices)                   who has which devices
    ├── RoomKeys (megolm)                   a room's session, and who has its key
    │   └── OlmSessions (olm)               how the key gets to a device
    ├── Hearing (hearing)                   the keys and messages of a person who proves their account
    │   └── inbox                           what their devices sent, until it is needed
    └── Drawer (drawer)                     the state in the store, with one writer at a time

``vodozemac`` does the cryptography of Olm and Megolm. It comes with the extra
``e2ee``; nothing outside this package needs it, and without it
``encryption_of`` returns what says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from mknock.domain.errors import EncryptionUnavailable
from mknock.ports import Clock, News, Rotation

if TYPE_CHECKING:
    from mknock.matrix.client import MatrixClient
    from mknock.matrix.encryption.drawer import Secrets
    from mknock.matrix.encryption.machine import Acting, Machine

__all__ = ["NO_EXTRA", "WithoutExtra", "encryption_of"]

NO_EXTRA: Final = "Knock is installed without encryption: pip install 'mknock[e2ee]'"


class WithoutExtra:
    """What encrypts when the extra is missing: nothing does, and it says so. Keeps ports.Encryption."""

    async def start(self) -> None:
        raise EncryptionUnavailable(NO_EXTRA)

    async def problem(self) -> str:
        return NO_EXTRA

    async def is_ours(self, device_keys: Mapping[str, Any]) -> bool:  # noqa: ARG002  the protocol's argument
        return False

    async def can_read(self, user_id: str) -> bool:  # noqa: ARG002  the protocol's argument
        return False

    async def encrypt(
        self,
        room_id: str,  # noqa: ARG002  the protocol's arguments
        members: Sequence[str],  # noqa: ARG002
        kind: str,  # noqa: ARG002
        content: Mapping[str, Any],  # noqa: ARG002
        *,
        rotation: Rotation,  # noqa: ARG002
    ) -> dict[str, Any]:
        raise EncryptionUnavailable(NO_EXTRA)

    async def decrypt(
        self,
        room_id: str,  # noqa: ARG002  the protocol's arguments
        sender: str,  # noqa: ARG002
        content: Mapping[str, Any],  # noqa: ARG002
    ) -> Mapping[str, Any] | None:
        return None

    async def heard(self, news: News) -> None: ...


def encryption_of(
    client: MatrixClient,
    acting: Acting,
    store: Secrets,
    *,
    clock: Clock,
    password: str = "",
    recovery_key: str = "",
) -> Machine | WithoutExtra:
    """Return what encrypts for the account that ``acting`` tells of.

    ``password`` is needed only where a homeserver wants it for the first
    cross-signing keys, ``recovery_key`` only if the account has an identity
    that Knock did not make.
    """
    if find_spec("vodozemac") is None:
        return WithoutExtra()
    from mknock.matrix.encryption.machine import Machine  # here, since it needs the extra

    return Machine(client, acting, store, clock=clock, password=password, recovery_key=recovery_key)
