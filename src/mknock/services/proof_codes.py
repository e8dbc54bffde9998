"""Codes by which whoever filled in the page proves that an account is theirs: they send theirs from it.

A code is made of the token in the address of the visitor's status page, under a
key of the store's: nothing has to be kept, or looked up, to show it. With the
knock its hash alone is kept (the receipt), by which what somebody sends is found.
"""

from __future__ import annotations

import hmac
import re
import secrets
import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from mknock.ports import Store

KEY: Final = "proof-key"
"""Its name among the store's secrets."""
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without the letters I, L, O and U, which are read as others or as words."""
LENGTH: Final = 8
"""Characters: 40 bits, of which somebody who knows none of it may try five an hour."""
LONGEST: Final = 300
"""Characters of a message in which a code is looked for."""
MOST: Final = 4
"""Codes of one message that are looked at."""
_READ_AS: Final = str.maketrans("OIL", "011")
_WORD: Final = re.compile(r"[0-9A-Z]+")
_YES: Final = frozenset({"YES", "JA"})


class ProofCodes:
    """Makes codes and knows their receipts. One key for all processes, made once and kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = b""

    async def code_of(self, token: str) -> str:
        """The code that goes with the address of a status page, whether or not anybody ever got that address."""
        digest = hmac.digest(await self._settled(), f"code\0{token}".encode("utf-8", "replace"), sha256)
        return "".join(ALPHABET[byte & 31] for byte in digest[:LENGTH])

    async def receipt_of(self, code: str) -> str:
        """What is kept of a code with its knock."""
        return hmac.digest(await self._settled(), f"receipt\0{code}".encode(), sha256).hex()

    async def _settled(self) -> bytes:
        if not self._key:
            self._key = bytes.fromhex(await self._store.settle_secret(KEY, secrets.token_hex(32)))
        return self._key


def shown(code: str) -> str:
    """The code as people read it: in two halves."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def codes_in(text: str) -> Sequence[str]:
    """What may be codes in a message, in whatever dress: small letters, spaces, dashes, words around it."""
    words = _words(text)
    found = (_joined(words[start:]) for start in range(len(words)))
    return list(dict.fromkeys(code for code in found if code))[:MOST]


def is_yes(text: str) -> bool:
    """Whether a message says yes, and nothing else."""
    words = _words(text)
    return len(words) == 1 and words[0] in _YES


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text[:LONGEST]).upper())


def _joined(words: Sequence[str]) -> str:
    """The words from the first on that together are as long as a code; "" if none are."""
    code = ""
    for word in words:
        code += word
        if len(code) >= LENGTH:
            break
    code = code.translate(_READ_AS)
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else ""
