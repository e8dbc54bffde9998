"""What the pages sign: the time a form was opened, and the challenges of the proof of work."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Final

from mknock.ports import Clock, Store

KEY: Final = "page-key"
"""Its name among the store's secrets."""
SHORTEST = 3.0
"""Seconds that a person needs at least, from opening the form to sending it."""
LONGEST = 86400.0
"""Seconds after which an opened form counts for nothing, so that one cannot be kept for ever."""


class Signer:
    """Signs with one key for all processes, which is made once and kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = b""

    async def key_for(self, purpose: str) -> bytes:
        """A key of its own for each purpose: what is signed for one means nothing for another."""
        if not self._key:
            kept = await self._store.settle_secret(KEY, secrets.token_hex(32))
            self._key = bytes.fromhex(kept)
        return hmac.digest(self._key, purpose.encode(), sha256)

    async def mark(self, purpose: str, *parts: str) -> str:
        """A signature over these texts, in that order."""
        signed = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hmac.new(await self.key_for(purpose), signed, sha256).hexdigest()[:32]


class Stamps:
    """Tells how long a form was open, without keeping anything: the form itself holds the time, signed."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    async def stamp(self, slug: str) -> str:
        """Return what the form of that door holds, opened now."""
        now = f"{self._clock():.0f}"
        return f"{now}-{await self._mark(slug, now)}"

    async def valid(self, stamp: str, slug: str) -> bool:
        """Whether this door's form was opened then, in the last LONGEST seconds."""
        opened = _opened(stamp)
        genuine = hmac.compare_digest(
            stamp.encode("utf-8", "replace"), f"{opened}-{await self._mark(slug, opened)}".encode()
        )
        return genuine and -1 <= self._clock() - int(opened) <= LONGEST

    async def timely(self, stamp: str, slug: str) -> bool:
        """Whether a person can have filled the form in since."""
        return await self.valid(stamp, slug) and self._clock() - int(_opened(stamp)) >= SHORTEST

    async def _mark(self, slug: str, opened: str) -> str:
        return await self._signer.mark("form opened", slug, opened)


def _opened(stamp: str) -> str:
    """The seconds that a stamp names; "0" for one that names none."""
    digits = stamp[:16].partition("-")[0]
    return digits if digits.isascii() and digits.isdecimal() else "0"
