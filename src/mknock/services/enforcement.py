"""What a change of the block-list means for the knocks there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from dataclasses import replace

from mknock.domain.chance import new_id
from mknock.domain.doors import Door
from mknock.domain.knocks import OPEN, Knock, KnockState, Reason, stopped
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry, Store
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook

S = KnockState

PAGE = 500
"""Knocks that are read at once."""
FEW = 20
"""People who are looked for one by one; for more, everybody's open knocks are looked through."""


class Enforcement:
    """Ends what a new rule is against, and restores what a removed one had ended.

    Members are the watchdog's: it looks at the rooms as soon as a new rule is heard of.
    """

    def __init__(self, store: Store, doors: Doors, book: RuleBook) -> None:
        self._store = store
        self._doors = doors
        self._book = book

    async def enforce(self, rules: Iterable[Rule], entry: Entry) -> int:
        """Refuse the held and admitted knocks of whom these rules block, and have their invites withdrawn.

        Returns how many knocks that were.
        """
        await self._book.refresh()
        new = {rule.id: rule for rule in rules if not rule.allow}
        return await self._end_blocked(self._open(list(new.values())), entry, by=new) if new else 0

    async def enforce_all(self, entry: Entry) -> int:
        """As ``enforce``, by all rules there are: one that allowed somebody may be gone, or a crash came between."""
        await self._book.refresh()
        return await self._end_blocked(self._all_open(), entry) if len(self._book) else 0

    async def _end_blocked(
        self, knocks: AsyncIterator[Knock], entry: Entry, by: Container[str] | None = None
    ) -> int:
        ended = 0
        async for knock in knocks:
            if knock.reason is Reason.BLOCKED:  # its invite is about to be withdrawn
                continue
            rule = self._book.blocking(knock.user_id)
            if rule is not None and (by is None or rule.id in by):
                ended += await self._end(knock, rule, entry)
        return ended

    async def _open(self, rules: Sequence[Rule]) -> AsyncIterator[Knock]:
        """The open knocks that rules may be about: of few people theirs, else all."""
        if len(rules) <= FEW and all(rule.kind is RuleKind.USER for rule in rules):
            for rule in rules:
                for knock in await self._store.knocks_of(rule.key, states=OPEN):
                    yield knock
            return
        async for knock in self._all_open():
            yield knock

    async def _all_open(self) -> AsyncIterator[Knock]:
        for state in sorted(OPEN):
            page = await self._store.knocks_in(frozenset({state}), limit=PAGE)
            while page:
                for knock in page:
                    yield knock
                page = await self._store.knocks_in(frozenset({state}), limit=PAGE, after=page[-1].id)

    async def _end(self, knock: Knock, rule: Rule, entry: Entry) -> bool:
        def how(current: Knock) -> Knock:
            if current.state not in OPEN or current.reason is Reason.BLOCKED:
                return current
            after = stopped(current, at=entry.at, reason=Reason.BLOCKED, rule=rule.entity)
            return replace(after, detail=rule.reason)

        line = replace(entry, reason=Reason.BLOCKED.value, rule=rule.entity)
        return (await self._store.change(knock.id, how, line)).reason is Reason.BLOCKED

    async def restore(self, rule: Rule, entry: Entry) -> None:
        """Undo what the rule did: who waited when it came is held again, and who was put out is as if never there."""
        await self._book.refresh()
        page = await self._store.knocks_by_rule(rule.entity)
        while page:
            for knock in page:
                await self._restore_one(knock, entry)
            page = await self._store.knocks_by_rule(rule.entity, after=page[-1].id)

    async def _restore_one(self, knock: Knock, entry: Entry) -> None:
        if knock.reason is not Reason.BLOCKED or self._book.blocking(knock.user_id) is not None:
            return
        if await self._may_wait_again(knock):
            await self._store.add(_again(knock, self._doors.of(knock), entry.at), entry)
        await self._store.change(knock.id, _unblocked(entry.at), entry)

    async def _may_wait_again(self, knock: Knock) -> bool:
        """Whether the knock was held when the rule came, and nobody has knocked anew for the person since."""
        if knock.state is not S.REFUSED:
            return False
        ledger = await self._store.ledger(knock_id=knock.id)
        if not any((line.before, line.after) == (S.HELD.value, S.REFUSED.value) for line in ledger):
            return False
        others = await self._store.knocks_of(knock.user_key, states=OPEN)
        return all(other.room_id != knock.room_id for other in others)


def _again(knock: Knock, door: Door, at: float) -> Knock:
    """The knock anew, for a moderator: what was settled stays so, and what it asked for is asked for again."""
    return replace(
        knock,
        id=new_id(at),
        state=S.HELD,
        reason=Reason.UNBLOCKED,
        detail="",
        rule="",
        created_at=at,
        updated_at=at,
        expires_at=at + door.lifetime,
        due_at=door.held_until(Reason.UNBLOCKED, at),
        fence=0,
        attempts=0,
    )


def _unblocked(at: float) -> Callable[[Knock], Knock]:
    """The rule that ended the knock no longer counts against the person; an invite not withdrawn yet stays."""

    def how(knock: Knock) -> Knock:
        if knock.reason is not Reason.BLOCKED:
            return knock
        if knock.state is S.INVITED:
            return replace(knock, reason=Reason.INVITED, rule="", due_at=None, updated_at=at)
        return replace(knock, reason=Reason.UNBLOCKED, rule="", updated_at=at)

    return how
