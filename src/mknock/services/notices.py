"""Notices to moderators, in a room of theirs."""

from __future__ import annotations

from dataclasses import dataclass

from mknock.domain.errors import Refused
from mknock.ports import PAUSES, Clock, Encryption, Homeserver, Membership, Queue, Store
from mknock.services.sealing import CANNOT_ENCRYPT, ENCRYPTED, ENCRYPTION, MESSAGE, encrypted
from mknock.services.welcome_text import MARKER

LATE = 60.0
"""Seconds after the event from which on we look for our own notice before we send it (the homeserver's memory of
transactions ends)."""


@dataclass(frozen=True, slots=True)
class Notices:
    """Sends notices, each once whatever crashes: its transaction id comes from ``notice_id``.

    One process at a time uses it, for an encrypting device has one writer. In
    an encrypted room nothing is sent in clear.
    """

    store: Store
    homeserver: Homeserver
    clock: Clock
    encryption: Encryption | None = None

    async def send(self, room_id: str, notice_id: str, text: str, *, since: float) -> str:
        """Send a notice about something that happened at ``since``. Return "", or one sentence why not yet.

        Raises:
            HomeserverError: the homeserver gave no answer, or a no.
        """
        if await self._paused():
            return "the homeserver is away, or asked Knock to wait"
        if self.clock() > since + LATE and await self.homeserver.sent_before(
            room_id, MARKER, notice_id, since=since - LATE
        ):
            return ""
        content = {"msgtype": "m.notice", "body": text, "m.mentions": {}, MARKER: notice_id}
        kind, sealed = MESSAGE, content
        settings = await self.homeserver.state(room_id, ENCRYPTION)
        if settings is not None:
            if self.encryption is None:
                return CANNOT_ENCRYPT
            done = await encrypted(self.homeserver, self.encryption, room_id, content, settings)
            if isinstance(done, str):
                return done
            kind, sealed = ENCRYPTED, done
        await self.homeserver.send(room_id, kind, f"mknock-{notice_id}", sealed)
        return ""

    async def problem(self, room_id: str, account: str) -> str:
        """Return "", or one sentence for the owner: why nothing can be told in this room.

        Raises:
            HomeserverError: it cannot be found out.
        """
        try:
            membership = (await self.homeserver.member(room_id, account)).membership
        except Refused:  # only members may ask
            membership = Membership.NONE
        if membership is not Membership.JOIN:
            return f"{account} is not in it: invite it and let it join"
        levels = await self.homeserver.power_levels(room_id)
        if levels.of(account) < levels.to_send(MESSAGE):
            return f"{account} may not write there: give it more power"
        if await self.homeserver.state(room_id, ENCRYPTION) is None:
            return ""
        return await self.encryption.problem() if self.encryption else CANNOT_ENCRYPT

    async def _paused(self) -> bool:
        now = self.clock()
        return any([await self.store.paused(pause) > now for pause in PAUSES[Queue.WELCOMES]])
