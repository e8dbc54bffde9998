"""Welcoming whoever has joined: once a join, whatever crashes, and readable where messages are encrypted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mknock.domain import lifecycle
from mknock.domain.doors import Door
from mknock.domain.knocks import Knock, KnockState
from mknock.ports import Clock, Encryption, Homeserver, Membership, Store
from mknock.services.doors import Doors
from mknock.services.errands import Ending, Errands, Settled, Waits
from mknock.services.latecomers import seen_of
from mknock.services.retry import Retry
from mknock.services.rule_book import RuleBook
from mknock.services.sealing import CANNOT_ENCRYPT, ENCRYPTED, ENCRYPTION, MESSAGE, encrypted
from mknock.services.welcome_text import MARKER, WelcomeTemplate
from mknock.telemetry import get_logger

log = get_logger(__name__)

FIRST_DEVICE = 600.0
"""Seconds from the join that a welcome waits for the person's first device, or for us to be able to encrypt."""
LOOK_AGAIN = 5.0
"""Seconds between two looks for a first device; /sync tells of it earlier."""
LATE = 60.0
"""Seconds after a join from which on we look for our own event before we send it (the homeserver's memory
of transactions ends)."""


class Welcomes:
    """Sends the welcome for a claimed knock of somebody who has joined.

    The transaction id comes from the knock's id, so that a welcome sent just
    before a crash is not sent twice. In an encrypted room nothing is sent in
    clear unless the owner says so.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        retry: Retry,
        *,
        encryption: Encryption | None = None,
        on_outage: Callable[[], None] = lambda: None,
    ) -> None:
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._clock = clock
        self._encryption = encryption
        self._errands = Errands(
            store, clock, retry, limit="send", on_outage=on_outage, doors=lambda: len(doors)
        )

    async def deliver(self, claim: Knock) -> None:
        """Welcome one person, or give the knock back to be tried later. Never raises for an outage."""
        await self._errands.run(claim, self._welcome)

    async def _welcome(self, claim: Knock) -> Ending:
        door, now = self._doors.of(claim), self._clock()
        if claim.state is not KnockState.JOINED or not door.welcoming.text or claim.welcomed_at is not None:
            return Settled(replace(claim, due_at=None), "not welcomed")
        due_at = (claim.joined_at or claim.created_at) + door.welcoming.delay
        if now < due_at:
            return Waits(due_at, "the welcome is to come later", tried=False)
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        if member.membership is not Membership.JOIN:
            what = seen_of(member, claim.user_id)
            after = claim if what is None else lifecycle.seen(claim, what, door, now)
            return Settled(replace(after, due_at=None), "seen")
        await self._book.refresh()
        if self._book.blocking(claim.user_id) is not None:
            return Settled(replace(claim, due_at=None), "not welcomed")
        return await self._greet(claim, door)

    async def _greet(self, claim: Knock, door: Door) -> Ending:
        if not await self._was_sent(claim):
            content = await self._content(claim, door)
            sealed = await self._sealed(claim, door, content)
            if isinstance(sealed, str):
                return self._wait(claim, sealed)
            kind, content = sealed
            await self._homeserver.send(claim.room_id, kind, f"mknock-{claim.id}-welcome", content)
        return Settled(replace(claim, welcomed_at=self._clock(), due_at=None), "welcomed")

    async def _was_sent(self, claim: Knock) -> bool:
        """Whether our event is there already, asked only when the homeserver may have forgotten the transaction."""
        joined_at = claim.joined_at or claim.created_at
        if self._clock() < joined_at + LATE:
            return False
        return await self._homeserver.sent_before(claim.room_id, MARKER, claim.id, since=joined_at - LATE)

    async def _content(self, claim: Knock, door: Door) -> dict[str, Any]:
        """The welcome's message, with the names that the person and the room have now."""
        person = await self._homeserver.state(claim.room_id, "m.room.member", claim.user_id) or {}
        room = await self._homeserver.state(claim.room_id, "m.room.name") or {}
        return WelcomeTemplate.parse(door.welcoming.text).render(
            user_id=claim.user_id,
            display_name=_text(person, "displayname"),
            room_name=_text(room, "name"),
            marker=claim.id,
        )

    async def _sealed(
        self, claim: Knock, door: Door, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]] | str:
        """The event to send: encrypted if the room is. Else one sentence why it cannot be sent yet."""
        settings = await self._homeserver.state(claim.room_id, ENCRYPTION)
        if settings is None:
            return MESSAGE, content
        problem = await self._cannot_encrypt(claim)
        if problem:
            return (MESSAGE, content) if door.welcoming.clear_in_encrypted else problem
        assert self._encryption is not None  # noqa: S101 - or there would be a problem
        sealed = await encrypted(self._homeserver, self._encryption, claim.room_id, content, settings)
        return sealed if isinstance(sealed, str) else (ENCRYPTED, sealed)

    async def _cannot_encrypt(self, claim: Knock) -> str:
        if self._encryption is None:
            return CANNOT_ENCRYPT
        problem = await self._encryption.problem()
        if not problem and not await self._encryption.can_read(claim.user_id):
            return "the person has no device yet that could read an encrypted welcome"
        return problem

    def _wait(self, claim: Knock, why: str) -> Ending:
        """Wait for what is missing, but not for ever: a welcome that comes hours late is none."""
        now = self._clock()
        if now >= (claim.joined_at or claim.created_at) + FIRST_DEVICE:
            log.warning("somebody could not be welcomed", knock=claim.id, why=why)
            return Settled(replace(claim, due_at=None, detail=f"not welcomed: {why}"), "not welcomed")
        return Waits(now + LOOK_AGAIN, why, tried=False)


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""
