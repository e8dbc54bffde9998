"""Reading a secret that the account's owner has left on the homeserver, with the recovery key.

https://spec.matrix.org/v1.18/client-server-api/#secret-storage
"""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mknock.domain.errors import EncryptionUnavailable, Refused
from mknock.matrix.client import MatrixClient
from mknock.matrix.encryption.signatures import KEY_BYTES, decoded

ALGORITHM: Final = "m.secret_storage.v1.aes-hmac-sha2"
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
RECOVERY_KEY_LENGTH: Final = 48
PREFIX: Final = b"\x8b\x01"
LONGEST: Final = 10_000
"""Characters of a stored secret; a key has 43."""
MOST_KEYS: Final = 20
"""Storage keys that are tried for one secret; there is one, as a rule."""

UNREADABLE_KEY: Final = "RECOVERY_KEY is not a recovery key: it has 48 letters and digits, in groups of four"
WRONG_KEY: Final = "RECOVERY_KEY is not the recovery key of the account Knock uses"
NOTHING_STORED: Final = (
    "RECOVERY_KEY is of no use: the account's owner has set up no secure backup that holds its keys"
)


def key_in(recovery_key: str) -> bytes:
    """Return the 32 bytes that a recovery key stands for; spaces in it do not count.

    Raises:
        EncryptionUnavailable: it is none, or is mistyped.
    """
    data, parity = _base58("".join(recovery_key.split())), 0
    for byte in data:
        parity ^= byte
    if len(data) != len(PREFIX) + KEY_BYTES + 1 or not data.startswith(PREFIX) or parity:
        raise EncryptionUnavailable(UNREADABLE_KEY)
    return data[len(PREFIX) : -1]


def _base58(text: str) -> bytes:
    """The bytes that a text of 48 digits to the base 58 stands for; nothing if it is none of those."""
    if len(text) != RECOVERY_KEY_LENGTH or any(character not in BASE58 for character in text):
        return b""
    number = 0
    for character in text:
        number = number * 58 + BASE58.index(character)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def opened(key: bytes, name: str, sealed: Any) -> str:
    """Return the text of a sealed secret.

    Raises:
        ValueError: it was sealed with another key, or is not sealed this way.
    """
    if not isinstance(sealed, dict):
        raise ValueError("there is nothing sealed")  # noqa: TRY004 - one kind of error for all that cannot be opened
    cipher_key, mac_key = _keys(key, name)
    ciphertext = _bytes(sealed.get("ciphertext"))
    if not hmac.compare_digest(
        hmac.digest(mac_key, ciphertext, "sha256"), decoded(sealed.get("mac"), sha256().digest_size)
    ):
        raise ValueError("it was sealed with another key")
    return _crypted(cipher_key, decoded(sealed.get("iv"), 16), ciphertext).decode()


def fits(key: bytes, description: Any) -> bool:
    """Whether the key is the described one; an old description that cannot be checked fits every key."""
    if not isinstance(description, dict) or description.get("algorithm") != ALGORITHM:
        return False
    if "iv" not in description or "mac" not in description:
        return True
    cipher_key, mac_key = _keys(key, "")
    try:
        zeros = _crypted(cipher_key, decoded(description["iv"], 16), bytes(32))
        mac = decoded(description["mac"], 32)
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(mac_key, zeros, "sha256"), mac)


async def secret_in_storage(client: MatrixClient, user_id: str, name: str, recovery_key: str) -> str:
    """Return a secret of the account.

    Raises:
        EncryptionUnavailable: the recovery key is another one, or there is no such secret.
        HomeserverError: the homeserver gave no usable answer.
    """
    key = key_in(recovery_key)
    sealed = (await _account_data(client, user_id, name)).get("encrypted")
    if not isinstance(sealed, dict) or not sealed:
        raise EncryptionUnavailable(NOTHING_STORED)
    for key_id in sorted(sealed)[:MOST_KEYS]:
        if fits(key, await _account_data(client, user_id, f"m.secret_storage.key.{key_id}")):
            try:
                return opened(key, name, sealed[key_id])
            except ValueError:
                raise EncryptionUnavailable(WRONG_KEY) from None
    raise EncryptionUnavailable(WRONG_KEY)


async def _account_data(client: MatrixClient, user_id: str, name: str) -> dict[str, Any]:
    """One piece of account data, or nothing if the account has none of that name."""
    path = ("v3", "user", user_id, "account_data", name)
    try:
        return await client.request("GET", path, what="reading the secret storage")
    except Refused as refused:
        if refused.status == 404:
            return {}
        raise


def _keys(key: bytes, name: str) -> tuple[bytes, bytes]:
    """The two keys, for AES and for HMAC, that a storage key has for this name."""
    both = HKDF(algorithm=SHA256(), length=64, salt=bytes(32), info=name.encode()).derive(key)
    return both[:32], both[32:]


def _crypted(key: bytes, counter: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt: in counter mode they are the same."""
    cipher = Cipher(AES256(key), CTR(counter)).encryptor()
    return cipher.update(data) + cipher.finalize()


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > LONGEST or not text.isascii():
        raise ValueError("this is not Base64")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
