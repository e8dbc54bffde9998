"""What the bot answers to what somebody writes in their direct room, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mknock.domain.doors import Door
from mknock.domain.knocks import MEMBERS, OPEN, Knock, KnockState
from mknock.ports import Clock, Store
from mknock.services import proof_texts as texts
from mknock.services.doors import Doors
from mknock.services.proof_codes import ProofCodes, codes_in, is_yes
from mknock.services.proof_texts import Text
from mknock.services.proving import is_to_be_invited, prove
from mknock.services.rule_book import RuleBook

PAGE: Final = "page"
"""The platform of Knock's own page, which shows a code. Other forms cannot show one."""
_LET_IN: Final = frozenset({KnockState.ADMITTED, KnockState.INVITED})


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. ``wrong``: it was a code, and not theirs; ``last``: there is nothing more to say after it."""

    text: Text
    last: bool = False
    wrong: bool = False


class ProofAnswers:
    """Knows with whom to talk, and reads what they write. ``wake`` is called when somebody is to be invited."""

    def __init__(
        self,
        store: Store,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._doors = doors
        self._book = book
        self._clock = clock
        self._wake = wake
        self._codes = ProofCodes(store)

    @property
    def wanting(self) -> Sequence[Door]:
        """The doors that want a proof."""
        return [door for door in self._doors if door.wants_proof]

    def is_of_a_door(self, room_id: str) -> bool:
        """Whether a door leads to that room: it is no place to talk, and is not to be left."""
        return any(door.room_id == room_id for door in self._doors)

    async def recent(self, user_key: str) -> list[Knock]:
        """Somebody's knocks of late, newest first, whatever became of them (promise 6).

        Whoever has none is not talked with. Whether one was refused must not
        be told by that, so every one counts.
        """
        since = self._clock() - self._patience
        knocks = await self._store.knocks_of(user_key)
        return [knock for knock in knocks if max(knock.seen_at, knock.created_at) > since]

    @property
    def _patience(self) -> float:
        """Seconds after a knock in which a proof counts."""
        return max((door.proof_lifetime for door in self.wanting), default=0.0)

    async def greeting(self, user_key: str) -> Text:
        """What to ask somebody for: the code of the page, or a word if their form could not show one."""
        knocks = await self.recent(user_key)
        return texts.SAY_YES if _by_form(knocks[:1]) else texts.SEND_CODE

    async def to(self, user_id: str, user_key: str, content: Mapping[str, Any]) -> Reply | None:
        """The answer to one message; None if it asks for none."""
        text = content.get("body")
        if content.get("msgtype") != "m.text" or not isinstance(text, str):
            return None
        if is_yes(text):
            return await self._to_yes(user_id, user_key)
        codes = codes_in(text)
        if not codes:
            return None
        for code in codes:
            knock = await self._store.knock_with_receipt(await self._codes.receipt_of(code))
            if knock is not None and knock.user_key == user_key:
                return await self._to_proof(knock, user_id)
        return Reply(texts.WRONG, wrong=True)

    async def _to_yes(self, user_id: str, user_key: str) -> Reply | None:
        knocks = _by_form(await self.recent(user_key))
        return await self._to_proof(knocks[0], user_id) if knocks else None

    async def _to_proof(self, knock: Knock, user_id: str) -> Reply:
        """The person has proven that the account of this knock is theirs."""
        if max(knock.seen_at, knock.created_at) <= self._clock() - self._patience:
            return Reply(texts.TOO_OLD, last=True)
        if knock.state in OPEN:
            knock = await self._proven(knock, user_id)
        return Reply(_told(knock), last=True)

    async def _proven(self, knock: Knock, user_id: str) -> Knock:
        after = await prove(
            knock, user_id, store=self._store, doors=self._doors, book=self._book, clock=self._clock
        )
        if is_to_be_invited(after):
            self._wake()
        return after or await self._store.knock(knock.id) or knock


def _by_form(knocks: Sequence[Knock]) -> list[Knock]:
    """Those of a form that could show no code; what filled the trap comes last."""
    return sorted((knock for knock in knocks if knock.platform != PAGE), key=lambda knock: knock.trapped)


def _told(knock: Knock) -> Text:
    """What a proven person learns: never that they were refused, and never why somebody looks at it (promise 6)."""
    if knock.state in _LET_IN:
        return texts.LET_IN
    if knock.state in MEMBERS:
        return texts.IS_IN
    return texts.WAITS
