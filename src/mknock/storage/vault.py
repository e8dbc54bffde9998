"""Secrets at rest: encrypted when SECRET_KEY is set (promise 10)."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mknock.domain.errors import StoreUnavailable

_SEALED = "fernet:"


class Vault:
    """Seals and opens the values of the secrets table.

    Without a key, values are kept as they are, and the file mode (0600)
    protects them. A value written before the key was set still opens.
    """

    def __init__(self, secret_key: str | None) -> None:
        self._fernet = Fernet(_derived(secret_key)) if secret_key else None

    def seal(self, value: str) -> str:
        if self._fernet is None:
            return value
        return _SEALED + self._fernet.encrypt(value.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the value.

        Raises:
            StoreUnavailable: it was sealed with another SECRET_KEY.
        """
        if not sealed.startswith(_SEALED):
            return sealed
        if self._fernet is None:
            raise StoreUnavailable(
                "the store's secrets are encrypted: set SECRET_KEY to the key they were made with"
            )
        try:
            return self._fernet.decrypt(sealed[len(_SEALED) :].encode()).decode()
        except InvalidToken:
            message = "SECRET_KEY does not open the store's secrets: set the key they were made with"
            raise StoreUnavailable(message) from None


def _derived(secret_key: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"mknock secrets at rest")
    return base64.urlsafe_b64encode(derivation.derive(secret_key.encode()))
