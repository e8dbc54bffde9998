"""What a message becomes on its way into a room: itself, or encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mknock.domain.errors import EncryptionUnavailable
from mknock.ports import Encryption, Homeserver, Membership, Rotation
from mknock.services.welcome_text import MARKER

CANNOT_ENCRYPT = "the room is encrypted, and Knock cannot encrypt: pip install 'mknock[e2ee]'"
ENCRYPTED = "m.room.encrypted"
MESSAGE = "m.room.message"
ENCRYPTION = "m.room.encryption"
"""The state event of a room that is encrypted."""


async def encrypted(
    homeserver: Homeserver,
    encryption: Encryption,
    room_id: str,
    content: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any] | str:
    """The content of the encrypted event, marked as the message is; or one sentence why it cannot be sent yet.

    ``settings`` is the content of the room's m.room.encryption.
    """
    members = list(await homeserver.members(room_id, Membership.JOIN))
    try:
        sealed = await encryption.encrypt(room_id, members, MESSAGE, content, rotation=Rotation.of(settings))
    except EncryptionUnavailable as error:
        return str(error)
    return sealed | {MARKER: content[MARKER]}
