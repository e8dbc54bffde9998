"""Ed25519 signatures of JSON objects, and unpadded Base64.

Foreign keys never reach vodozemac's Ed25519: with 33 bytes instead of 32 it
panics (0.10), which no ``except Exception`` catches. ``cryptography`` refuses them.

https://spec.matrix.org/v1.18/appendices/#signing-json
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mknock.matrix.canonical_json import signable

KEY_BYTES: Final = 32
"""Bytes of a Curve25519 or Ed25519 key, public or private."""

Sign = Callable[[bytes], str]
"""Makes a signature of some bytes, as unpadded Base64."""


def encoded(data: bytes) -> str:
    """Return unpadded Base64."""
    return base64.b64encode(data).decode().rstrip("=")


def decoded(text: Any, size: int) -> bytes:
    """Return the bytes of a Base64 text, padded or not.

    Raises:
        ValueError: it is none, or has not that many bytes.
    """
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("this is not Base64")
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if len(data) != size:
        raise ValueError(f"{size} bytes were expected, not {len(data)}")
    return data


def is_key(text: Any) -> TypeGuard[str]:
    """Whether this is a public key as Matrix writes it: 32 bytes as unpadded Base64."""
    try:
        return bool(encoded(decoded(text, KEY_BYTES)) == text)
    except ValueError:
        return False


class SigningKey:
    """An Ed25519 key of our own, from its 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = encoded(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        return encoded(self._key.sign(message))


def signed(content: Mapping[str, Any], user_id: str, key_id: str, sign: Sign) -> dict[str, Any]:
    """Return the object with one more signature. ``key_id`` is a device ID or, in cross-signing, a public key."""
    signatures: dict[str, dict[str, str]] = {**content.get("signatures", {})}
    ours = {**signatures.get(user_id, {}), f"ed25519:{key_id}": sign(signable(content))}
    return {**content, "signatures": {**signatures, user_id: ours}}


def is_signed(content: Mapping[str, Any], user_id: str, key_id: str, public_key: str) -> bool:
    """Whether this key has signed the object. Whatever was written there, nothing is raised."""
    try:
        signature = decoded(content["signatures"][user_id][f"ed25519:{key_id}"], 64)
        key = Ed25519PublicKey.from_public_bytes(decoded(public_key, KEY_BYTES))
        key.verify(signature, signable(content))
    except (ValueError, KeyError, TypeError, InvalidSignature):
        return False
    return True
