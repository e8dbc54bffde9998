"""Talking with people in direct rooms, until they have proven their account: one step of each room a tick.

What a process that died was about is on record, and repeating it changes nothing: entering a room
that we are in, saying what was said (the transaction comes from what is answered),
proving what is proven, leaving what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from mknock.domain.chance import new_id
from mknock.domain.direct_rooms import DirectRoom, TalkLimits, TalkState
from mknock.domain.errors import (
    EncryptionUnavailable,
    HomeserverUnavailable,
    KnockError,
    RateLimited,
    Refused,
)
from mknock.domain.ids import key_of
from mknock.ports import (
    Clock,
    Encryption,
    Entry,
    Homeserver,
    Invitation,
    Membership,
    Message,
    Rotation,
    Store,
)
from mknock.services import proof_texts as texts
from mknock.services.open_invitations import OpenInvitations
from mknock.services.proof_answers import ProofAnswers
from mknock.services.proof_texts import Text, notice
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = TalkState
MESSAGE: Final = "m.room.message"
ENCRYPTED: Final = "m.room.encrypted"
JOIN_PATIENCE: Final = 180.0
"""Seconds after which an invitation that cannot be accepted is declined."""
TALK_PATIENCE: Final = 1800.0
"""Seconds after which a room is left in which nothing was proven."""
KEY_PATIENCE: Final = 20.0
"""Seconds that the key of an encrypted message may take to come."""
LOOK: Final = 1.0
"""Seconds between two looks into the rooms."""
TRY_AGAIN: Final = 5.0
"""Seconds after which a step is tried again for which the homeserver gave no usable answer."""
ENTERING: Final = 4
"""Rooms that are entered at once: it may take long, and others wait for the same homeserver."""
ENTER_PATIENCE: Final = 10.0
"""Seconds that entering a room may take, before the next has its turn; the homeserver goes on with it."""


class ProofTalks:
    """Has every talk. In one process of all (promise 9); the records are fenced all the same.

    ``wake`` is called when somebody invites us.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        answers: ProofAnswers,
        clock: Clock,
        *,
        encryption: Encryption | None = None,
        limits: TalkLimits = TalkLimits(),  # noqa: B008 - it cannot be changed
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._answers = answers
        self._clock = clock
        self._encryption = encryption
        self._limits = limits
        self._wake = wake
        self._entering = asyncio.Semaphore(ENTERING)
        self.invitations = OpenInvitations(homeserver, answers.is_of_a_door)
        self._not_before: dict[str, float] = {}
        self._unreadable_since: dict[str, float] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self.next_at: float | None = None
        """When there is something to do next."""

    # --- with whom

    def heard(self, invitations: Sequence[Invitation]) -> None:
        """Take note of new invitations; ``tick`` sees whether they are to be accepted."""
        self.invitations.heard(invitations)
        if invitations:
            self._wake()

    async def senders_wanted(self, senders: Sequence[str]) -> frozenset[str]:
        """Those of these people with whom we talk, or may be about to: what their devices send us is taken in."""
        if not self._answers.wanting:
            return frozenset()
        return frozenset(
            [sender for sender in dict.fromkeys(senders) if await self._answers.recent(key_of(sender))]
        )

    async def _begin(self, now: float) -> bool:
        """Put on record whose invitation is accepted: who has knocked of late. All others stay as they are."""
        begun = False
        for invitation in self.invitations.to_ask_about(now):
            if await self._answers.recent(key_of(invitation.sender)) and await self._began(invitation, now):
                self.invitations.accepted(invitation.room_id, now)
                begun = True
        return begun

    async def _began(self, invitation: Invitation, now: float) -> bool:
        user_id = invitation.sender
        room = DirectRoom(
            id=new_id(now),
            room_id=invitation.room_id,
            user_id=user_id,
            user_key=key_of(user_id),
            began_at=now,
        )
        return await self._store.begin_talk(room, self._limits, _entry(now))

    # --- the talks

    async def tick(self, now: float) -> int:
        """Begin new talks, and start a step of each that none is on its way for; return how many were started."""
        rooms = await self._store.direct_rooms()
        if self._answers.wanting:
            await self._publish_our_keys()
            await self.invitations.look_at_list(rooms, now)
            if await self._begin(now):
                rooms = await self._store.direct_rooms()
        self.next_at = now + LOOK if rooms else None
        due = [room for room in rooms if self._is_due(room, now)]
        for room in due:
            task = asyncio.create_task(self._work(room))
            self._working[room.id] = task
            task.add_done_callback(lambda _, room_id=room.id: self._working.pop(room_id))  # type: ignore[misc]
        self._forget(rooms)
        return len(due)

    async def _publish_our_keys(self) -> None:
        """Have our keys published, so that apps that encrypt every chat share theirs with us."""
        if self._encryption is not None:
            with suppress(KnockError):  # whoever needs it says so
                await self._encryption.problem()

    async def drain(self) -> None:
        """Wait until no step is on its way."""
        while self._working:
            await asyncio.wait(list(self._working.values()))

    async def stop(self) -> None:
        """Let go of what is on its way: it is on record, and done again."""
        tasks = list(self._working.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self, room: DirectRoom, now: float) -> bool:
        return room.id not in self._working and now >= self._not_before.get(room.id, 0.0)

    def _forget(self, rooms: Sequence[DirectRoom]) -> None:
        there = {room.id for room in rooms}
        for notes in (self._not_before, self._unreadable_since):
            for gone in notes.keys() - there:
                del notes[gone]

    async def _work(self, room: DirectRoom) -> None:
        """One step. An outage changes nothing; it is tried again a little later."""
        try:
            await self._step(room)
        except RateLimited as limited:
            self._not_before[room.id] = self._clock() + max(limited.retry_after, TRY_AGAIN)
        except KnockError as error:
            log.info("a direct room waits", talk=room.id, why=type(error).__name__)
            self._not_before[room.id] = self._clock() + TRY_AGAIN
        except Exception:
            log.exception("a direct room could not be dealt with", talk=room.id)
            self._not_before[room.id] = self._clock() + TRY_AGAIN

    async def _step(self, room: DirectRoom) -> None:
        match room.state:
            case S.JOINING:
                await self._enter(room)
            case S.OPEN:
                await self._listen(room)
            case _:
                await self._leave(room)

    async def _enter(self, room: DirectRoom) -> None:
        if self._clock() >= room.began_at + JOIN_PATIENCE:
            await self._go_on(room, room.now(S.LEAVING))
            return
        try:
            await self._join(room)
            alone = await self._alone_with(room)
            if alone:
                await self._say(room, "hello", await self._answers.greeting(room.user_key))
        except Refused:  # the invitation was taken back, or the room is none
            alone = False
        await self._go_on(room, room.now(S.OPEN if alone else S.LEAVING))

    async def _join(self, room: DirectRoom) -> None:
        try:
            async with self._entering, asyncio.timeout(ENTER_PATIENCE):
                await self._homeserver.join(room.room_id)
        except TimeoutError:
            raise HomeserverUnavailable("a direct room could not be entered yet", everywhere=False) from None

    async def _alone_with(self, room: DirectRoom) -> bool:
        """Whether nobody else is in the room: nobody is to have us enter a crowd."""
        joined = await self._homeserver.members(room.room_id, Membership.JOIN)
        return set(joined) <= {room.user_id, await self._homeserver.whoami()}

    async def _listen(self, room: DirectRoom) -> None:
        """Deal with what the person wrote since. Who begins another chat has no more use for this one."""
        if room.room_id in self.invitations:  # they put us out, and want us in again
            await self._go_on(room, room.now(S.LEFT))
            return
        if self._clock() >= room.began_at + TALK_PATIENCE or self.invitations.has_one_of(room.user_id):
            await self._go_on(room, room.now(S.LEAVING))
            return
        try:
            said = await self._homeserver.said(room.room_id, room.user_id)
        except Refused:  # we were put out
            await self._go_on(room, room.now(S.LEAVING))
            return
        for message in _unheard(said, room.heard):
            after = await self._hear(room, message)
            if after is None or not await self._go_on(room, after) or after.state is not S.OPEN:
                return
            room = replace(after, fence=room.fence + 1)

    async def _hear(self, room: DirectRoom, message: Message) -> DirectRoom | None:
        """Deal with one message; None if it cannot be read yet."""
        heard = replace(room, heard=message.event_id)
        content = await self._read(room, message)
        if content is None:
            return await self._without_key(room, message)
        reply = await self._answers.to(room.user_id, room.user_key, content)
        if reply is None:
            return heard
        wrong = room.wrong + reply.wrong
        over = reply.last or wrong >= self._limits.wrong
        text = texts.TOO_MANY if over and reply.wrong else reply.text
        await self._say(room, message.event_id, text)
        return replace(heard, wrong=wrong, state=S.LEAVING if over else room.state)

    async def _read(self, room: DirectRoom, message: Message) -> Mapping[str, Any] | None:
        """The message's content, decrypted if need be; None if that cannot be done (yet)."""
        if message.kind != ENCRYPTED:
            return message.content
        if self._encryption is None:
            return None
        return await self._encryption.decrypt(room.room_id, room.user_id, message.content)

    async def _without_key(self, room: DirectRoom, message: Message) -> DirectRoom | None:
        """Wait a little for the key of a message, then say that it cannot be read; once a talk."""
        now = self._clock()
        since = self._unreadable_since.setdefault(room.id, now)
        if self._encryption is not None and now < since + KEY_PATIENCE:
            return None
        await self._say(room, "unreadable", texts.UNREADABLE)
        return replace(room, heard=message.event_id)

    async def _leave(self, room: DirectRoom) -> None:
        try:
            await self._homeserver.leave(room.room_id)
        except Refused as refused:
            log.info("a direct room was left already", talk=room.id, status=refused.status)
        await self._go_on(room, room.now(S.LEFT))

    async def _go_on(self, before: DirectRoom, after: DirectRoom) -> bool:
        if after.state is S.LEFT:
            self.invitations.left(before.room_id, self._clock())
        return await self._store.go_on_talking(before, after, _entry(self._clock()))

    # --- saying

    async def _say(self, room: DirectRoom, about: str, text: Text) -> None:
        """Say something in answer to something; the same again changes nothing."""
        kind, content = await self._sealed(room, notice(text))
        await self._homeserver.send(room.room_id, kind, f"mknock-{room.id}-{about}", content)

    async def _sealed(self, room: DirectRoom, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The event: encrypted where the room is and we can. It holds no secret, so else it goes in clear."""
        settings = await self._homeserver.state(room.room_id, "m.room.encryption")
        if settings is None or self._encryption is None:
            return MESSAGE, content
        try:
            await self._encryption.start()
            members = [room.user_id, await self._homeserver.whoami()]
            sealed = await self._encryption.encrypt(
                room.room_id, members, MESSAGE, content, rotation=Rotation.of(settings)
            )
        except EncryptionUnavailable as error:
            log.info("said in clear what cannot be encrypted", talk=room.id, why=type(error).__name__)
            return MESSAGE, content
        return ENCRYPTED, sealed


def _unheard(said: Sequence[Message], heard: str) -> list[Message]:
    """What was said behind the message that was heard last, oldest first."""
    new: list[Message] = []
    for message in said:
        if message.event_id == heard:
            break
        new.append(message)
    return new[::-1]


def _entry(now: float) -> Entry:
    return Entry(at=now, actor="knock", action="direct room")
