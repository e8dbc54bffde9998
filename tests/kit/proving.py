"""People who prove their accounts to a workshop's bot, whose door wants that."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import BOT, Process, Wishes, Workshop

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.direct_rooms import DirectRoom, TalkLimits
from mknock.domain.doors import Policy
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Decision, Knock, Submission
from mknock.ports import Attempt, Kept
from mknock.services.proof_answers import ProofAnswers
from mknock.services.proof_codes import ProofCodes
from mknock.services.proof_talks import ProofTalks
from mknock.services.rule_book import stance_of

Json = dict[str, Any]
_numbers = itertools.count(1)


def talks_of(process: Process, encryption: Any = None, **limits: int) -> ProofTalks:
    """What one process talks with; a second call is as after a restart."""
    answers = ProofAnswers(process.store, process.doors, process.book, process.clock)
    return ProofTalks(
        process.store,
        process.homeserver,
        answers,
        process.clock,
        encryption=encryption,
        limits=TalkLimits(**limits),
    )


@dataclass
class Proving:
    """A workshop whose door wants a proof, and those who knock there."""

    shop: Workshop
    encryption: Any = None
    limits: Json = field(default_factory=dict)
    position: str | None = None

    def __post_init__(self) -> None:
        self.shop.doors.describe([replace(self.shop.door, policy=Policy.PROVE_FIRST)])
        self.codes = ProofCodes(self.shop.store)
        self.restart()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, fake: FakeHomeserver, directory: Path, **wishes: Any) -> AsyncIterator[Proving]:
        async with Workshop.opened(fake, directory, Wishes()) as shop:
            yield cls(shop, **wishes)

    def restart(self) -> None:
        """The process ends, and another goes on."""
        self.talks = talks_of(self.shop, self.encryption, **self.limits)

    # --- knocking

    async def knock(
        self, user_id: str, *, platform: str = "page", listed: Decision | None = None, token: str = ""
    ) -> tuple[Knock, str]:
        """Somebody knocks at the page, or at a form; the knock and the code that they are shown."""
        token = token or f"token{next(_numbers)}"
        now, door, user = self.shop.clock(), self.shop.doors.first, MatrixID.of(user_id)
        code = await self.codes.code_of(token)
        receipt = await self.codes.receipt_of(code) if platform == "page" else ""
        submission = Submission(platform, user, receipt=receipt)
        await self.shop.book.refresh()
        listed = listed or self.shop.book.decide(user, stance_of(door))
        attempt = Attempt(new_id(now), door, user, submission, now, trusted=True, listed=listed)
        kept = await self.shop.store.admit(attempt, decide)
        assert isinstance(kept, Kept)
        return kept.knock, code

    def person(self, name: str = "carol") -> Account:
        return self.shop.fake.log_in(name)

    # --- talking

    async def chat(self, person: Account, **wishes: Any) -> str:
        """Somebody begins a chat with the bot; its room."""
        return await person.create_room(invite=[BOT], **{"is_direct": True, **wishes})

    async def say(self, person: Account, room: str, text: str) -> None:
        await person.send_text(room, text, transaction=f"t{next(_numbers)}")

    async def hear(self) -> None:
        """One answer of /sync."""
        news = await self.shop.homeserver.sync(self.position, [], timeout=0)
        self.position = news.position
        self.talks.heard(news.invitations)

    async def work(self, rounds: int = 4) -> None:
        """Let the bot do whatever it has to at this moment."""
        await self.hear()
        for _ in range(rounds):
            await self.talks.tick(self.shop.clock())
            await self.talks.drain()

    async def after(self, seconds: float) -> None:
        self.shop.clock.forward(seconds)
        await self.work()

    # --- what is seen

    def said(self, room: str) -> list[str]:
        """The texts of the bot in a room, in English."""
        events = [
            event
            for event in self.shop.fake.rooms[room].timeline
            if event.sender == BOT and event.type == "m.room.message"
        ]
        return [event.content["body"].partition("\n\n")[0] for event in events]

    def bot_is(self, room: str) -> str | None:
        return self.shop.fake.rooms[room].membership(BOT)

    async def rooms(self) -> list[DirectRoom]:
        return await self.shop.store.direct_rooms()

    async def record(self, knock: Knock) -> Knock:
        return await self.shop.record(knock.id)
