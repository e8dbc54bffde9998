"""The proof of work: ALTCHA's, whose worker solves it in the browser and whose library checks it here.

A challenge is signed, belongs to one door, and ends soon. Nothing of it is
kept until it is solved. Checking costs an HMAC, never the work itself.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any, Final

from altcha import create_challenge, verify_solution

from mknock.domain.ids import MatrixID
from mknock.ports import Clock, Store
from mknock.web.signing import Signer

LIFETIME = 900
"""Seconds in which a challenge has to be solved and sent."""
ALGORITHM: Final = "PBKDF2/SHA-256"
COST = 2000
"""Rounds of one try; making a challenge costs as much."""
TRIES = (1500, 4500)
"""How many tries it takes, from and to: a second or so on a phone."""
LONGEST_PAYLOAD = 4096
"""Characters; a solution has about 700."""


class ProofOfWork:
    """Makes challenges, and knows whether one was solved."""

    def __init__(self, store: Store, signer: Signer, clock: Clock, *, tries: tuple[int, int] = TRIES) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._tries = tries

    async def challenge(self, slug: str) -> dict[str, Any]:
        """A new challenge for visitors of that door."""
        least, most = self._tries
        challenge = create_challenge(
            ALGORITHM,
            COST,
            counter=least + secrets.randbelow(most - least),
            expires_at=int(self._clock()) + LIFETIME,
            data={"door": slug},
            hmac_secret=await self._signer.key_for("challenge"),
            hmac_key_secret=await self._signer.key_for("challenge's solution"),
        )
        return challenge.to_dict()

    async def shown(self, payload: str, slug: str, user: MatrixID) -> bool:
        """Whether the work was done: for this door, in time, and for nobody else before.

        The same person may show the same work again, since a browser that got no
        answer sends its form once more; that counts on the same knock.
        """
        solved = await self._solved(payload)
        if solved is None or solved.get("data") != {"door": slug}:
            return False
        expires_at = float(solved["expiresAt"])
        if expires_at <= self._clock():
            return False
        mine = await self._signer.mark("solved by", slug, user.key)
        name = f"solved-{solved['nonce']}"
        return await self._store.settle_secret(name, mine, expires_at=expires_at) == mine

    async def _solved(self, payload: str) -> dict[str, Any] | None:
        """The parameters of the challenge, ours as they are signed, if that is solved."""
        if not payload or len(payload) > LONGEST_PAYLOAD:
            return None
        checked = verify_solution(
            payload,
            await self._signer.key_for("challenge"),
            hmac_key_secret=await self._signer.key_for("challenge's solution"),
        )
        if not checked.verified:
            return None
        parameters: dict[str, Any] = json.loads(base64.b64decode(payload))["challenge"]["parameters"]
        return parameters
