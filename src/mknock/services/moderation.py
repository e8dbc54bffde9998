"""What moderators do: block, unblock, rescind, approve, refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mknock.domain.errors import (
    HomeserverUnavailable,
    IllegalMove,
    NotAllowed,
    NotFound,
    RateLimited,
    Refused,
    TokenRefused,
)
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Reason, stopped
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Clock, Entry, Homeserver, Membership, PowerLevels, Store
from mknock.services.doors import Doors
from mknock.services.enforcement import Enforcement
from mknock.services.rule_book import RuleBook

S = KnockState

SHOWN_REASON = "Removed by a moderator."
"""What the removed person sees. A moderator's own words are for moderators (D12)."""


class Removal(StrEnum):
    """What happened to somebody's membership of the rooms."""

    KICKED = "kicked"
    INVITE_WITHDRAWN = "invite_withdrawn"
    KNOCK_REFUSED = "knock_refused"
    NOT_THERE = "not_there"
    REFUSED = "refused"
    """The homeserver does not let Knock remove them: its account needs more power."""
    UNKNOWN = "unknown"
    """The homeserver gave no answer: neither yes nor no. An open invite is withdrawn as soon as it does."""


_REMOVALS = {
    Membership.JOIN: Removal.KICKED,
    Membership.INVITE: Removal.INVITE_WITHDRAWN,
    Membership.KNOCK: Removal.KNOCK_REFUSED,
}
_DONE = frozenset(_REMOVALS.values()) | {Removal.NOT_THERE}
_WEIGHT = (
    Removal.UNKNOWN,
    Removal.REFUSED,
    Removal.KICKED,
    Removal.INVITE_WITHDRAWN,
    Removal.KNOCK_REFUSED,
    Removal.NOT_THERE,
)
_IN_THE_ROOM = frozenset({S.INVITED, S.JOINED, S.ALREADY_MEMBER})


@dataclass(frozen=True, slots=True)
class Blocked:
    user_id: str
    new: bool
    removal: Removal


@dataclass(frozen=True, slots=True)
class Rescinded:
    user_id: str
    removal: Removal
    knocks: tuple[Knock, ...]


class Moderation:
    """Each verb names its ``actor`` for the ledger (``api``, ``cli``, a Matrix ID)."""

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        *,
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._enforcement = Enforcement(store, doors, book)
        self._clock = clock
        self._wake = wake

    async def block(self, user: MatrixID, reason: str, *, actor: str) -> Blocked:
        """Put somebody on the block-list, refuse what waits, withdraw the invite, kick.

        Raises:
            NotAllowed: the bot itself, or somebody of at least its power.
        """
        await self._spare_equals(user)
        now = self._clock()
        rule = _user_rule(user, reason, actor, now)
        entry = Entry(at=now, actor=actor, action="block", detail=reason)
        new, _ = await self._store.block(rule, entry)
        await self._book.refresh()
        knocks = await self._store.knocks_of(user.key, states=_IN_THE_ROOM)
        removal = await self._remove(user, knocks, entry)
        return Blocked(str(user), new, removal)

    async def unblock(self, user: MatrixID, *, actor: str) -> Rule:
        """Take somebody off the block-list.

        Raises:
            NotFound: they are not on it.
        """
        entry = Entry(at=self._clock(), actor=actor, action="unblock")
        rule = await self._store.unblock(user.key, entry)
        if rule is None:
            raise NotFound(f"{user} is not on the block-list")
        await self._enforcement.restore(rule, entry)
        return rule

    async def restore(self, rules: Iterable[Rule], *, actor: str) -> None:
        """Undo what rules did that are gone from a policy list, unless somebody is still blocked by another."""
        entry = Entry(at=self._clock(), actor=actor, action="unblock")
        for rule in rules:
            if not rule.allow:
                await self._enforcement.restore(rule, entry)

    async def rescind(self, user: MatrixID, reason: str, *, actor: str) -> Rescinded:
        """Take back whatever lets somebody in: a waiting knock, an open invite, a membership.

        Raises:
            NotAllowed: the bot itself, or somebody of at least its power.
            NotFound: there is no open knock, and they are in no room of ours.
            HomeserverUnavailable: there is no open knock, and who is in the room cannot be seen.
        """
        await self._spare_equals(user)
        entry = Entry(at=self._clock(), actor=actor, action="rescind", detail=reason)
        knocks = await self._store.knocks_of(user.key, states=_IN_THE_ROOM | {S.HELD, S.ADMITTED})
        marked = [await self._store.change(knock.id, _unwanted(entry.at), entry) for knock in knocks]
        removal = await self._remove(user, marked, entry)
        if removal is Removal.NOT_THERE and all(knock.state in _IN_THE_ROOM for knock in knocks):
            raise NotFound(f"{user} has no open invite and is not in the room")
        if removal is Removal.UNKNOWN and not knocks:
            message = (
                f"the homeserver gave no answer, so nobody knows whether {user} is in the room: try again"
            )
            raise HomeserverUnavailable(message, everywhere=False)
        return Rescinded(str(user), removal, tuple(marked))

    async def held(self) -> list[Knock]:
        """Knocks that wait, oldest first; those that wait for a proof of their person come last."""
        return urgent_first(await self._all(S.HELD))

    async def pending(self) -> list[Knock]:
        """Knocks of people who are still to be invited, or who have not answered yet, oldest first."""
        return await self._all(S.ADMITTED, S.INVITED)

    async def _all(self, *states: KnockState) -> list[Knock]:
        """All knocks in these states, oldest first; a state at a time, as the store's index has them."""
        knocks: list[Knock] = []
        for state in states:
            page = await self._store.knocks_in(frozenset({state}))
            while page:
                knocks += page
                page = await self._store.knocks_in(frozenset({state}), after=page[-1].id)
        return sorted(knocks, key=lambda knock: knock.id)

    async def approve(self, knock_id: str, *, actor: str, reason: str = "", allow: bool = False) -> Knock:
        """Admit a held knock: it is invited next, unless the block-list has the person by then.

        With ``allow`` a rule is made as well that lets the person in from now on.

        Raises:
            NotFound: there is no such knock.
            IllegalMove: it is not held.
        """
        now = self._clock()
        entry = Entry(at=now, actor=actor, action="approve", detail=reason, reason=Reason.MODERATOR.value)

        def admitted(knock: Knock) -> Knock:
            lifetime = knock.expires_at - knock.created_at
            return _held(knock, S.ADMITTED).moved_to(
                S.ADMITTED, at=now, reason=Reason.MODERATOR, due_at=now, expires_at=now + lifetime
            )

        rule = await self._rule_about(knock_id, entry, allow=True) if allow else None
        knock = await self._store.change(knock_id, admitted, entry, rule=rule)
        if rule is not None:
            await self._book.refresh()
        self._wake()
        return knock

    async def refuse(self, knock_id: str, *, actor: str, reason: str = "", block: bool = False) -> Knock:
        """Refuse a held knock; with ``block`` the person is put on the block-list as well.

        Who knocks in the room is turned down there.

        Raises as ``approve``, and:
            NotAllowed: somebody is to be blocked whom Knock does not act against.
        """
        now = self._clock()
        entry = Entry(at=now, actor=actor, action="refuse", detail=reason, reason=Reason.MODERATOR.value)

        def refused(knock: Knock) -> Knock:
            return _held(knock, S.REFUSED).moved_to(
                S.REFUSED, at=now, reason=Reason.MODERATOR, detail=reason, due_at=None
            )

        rule = await self._rule_about(knock_id, entry, allow=False) if block else None
        if rule is not None:
            await self._spare_equals(MatrixID.of(rule.entity))
        knock = await self._store.change(knock_id, refused, entry, rule=rule)
        if rule is not None:
            await self._enforcement.enforce([rule], entry)
        self._wake()  # a membership knock is turned down in the room
        return knock

    async def block_all(self, users: Sequence[MatrixID], entry: Entry) -> set[str]:
        """Put several people on the block-list; return the keys of those who are. Knock's equals are spared.

        Their other open knocks are ended by the next look at who is blocked.
        """
        strangers = await self._strangers(users)
        rules = [_user_rule(user, entry.detail, entry.actor, entry.at) for user in strangers]
        await self._store.change_rules(rules, (), entry)
        await self._book.refresh()
        return {user.key for user in strangers}

    async def _rule_about(self, knock_id: str, entry: Entry, *, allow: bool) -> Rule | None:
        """A rule about the person who knocks; None if there is no such knock."""
        knock = await self._store.knock(knock_id)
        if knock is None:
            return None
        made = _user_rule(MatrixID.of(knock.user_id), entry.detail, entry.actor, entry.at)
        return replace(made, allow=allow)

    async def held_of(self, user: MatrixID) -> Knock:
        """The held knock of somebody.

        Raises:
            NotFound: none of theirs is held.
        """
        knocks = await self._store.knocks_of(user.key, states=frozenset({S.HELD}))
        if not knocks:
            raise NotFound(f"{user} has no held knock")
        return knocks[0]

    # --- the homeserver's part

    async def _spare_equals(self, user: MatrixID) -> None:
        """Never act against the bot itself or somebody of equal power (D3).

        While the homeserver is out of reach only the bot itself is spared here;
        a kick is refused by the homeserver all the same.
        """
        if user in await self._strangers([user]):
            return
        if MatrixID.of(await self._homeserver.whoami()).key == user.key:
            raise NotAllowed("that is Knock's own account")
        raise NotAllowed(f"{user} has as much power in the room as Knock: lower it first")

    async def _strangers(self, users: Sequence[MatrixID]) -> list[MatrixID]:
        """Those of them who are neither the bot nor of equal power; the homeserver is asked once for all."""
        strangers = list(users)
        try:
            bot = await self._homeserver.whoami()
            strangers = [user for user in strangers if user.key != MatrixID.of(bot).key]
            for door in self._doors:
                levels = await self._homeserver.power_levels(door.room_id)
                strangers = [user for user in strangers if not _is_equal(user, bot, levels)]
        except (HomeserverUnavailable, RateLimited, TokenRefused, Refused):
            pass
        return strangers

    async def _remove(self, user: MatrixID, knocks: list[Knock], entry: Entry) -> Removal:
        """Remove somebody from the doors' rooms; tell the most important thing that happened."""
        removals = {place: await self._remove_from(*place, entry) for place in self._places(user, knocks)}
        for knock in knocks:
            removal = removals[knock.room_id, knock.user_id]
            if knock.state in _IN_THE_ROOM and removal in _DONE:
                await self._store.change(knock.id, _taken_back(removal, entry.at), entry)
        return min(removals.values(), key=_WEIGHT.index)

    def _places(self, user: MatrixID, knocks: list[Knock]) -> Iterable[tuple[str, str]]:
        """In which rooms, and under which spellings of their ID, somebody may be."""
        known = [(knock.room_id, knock.user_id) for knock in knocks]
        typed = [(door.room_id, name) for door in self._doors for name in (str(user), user.key)]
        return dict.fromkeys(known + typed)

    async def _remove_from(self, room_id: str, user_id: str, entry: Entry) -> Removal:
        try:
            member = await self._homeserver.member(room_id, user_id)
            removal = _REMOVALS.get(member.membership, Removal.NOT_THERE)
            if removal is Removal.NOT_THERE:
                return removal
            if not await self._kick(room_id, user_id):
                return Removal.REFUSED
        except (HomeserverUnavailable, RateLimited, TokenRefused):
            return Removal.UNKNOWN
        except Refused:
            return Removal.REFUSED
        before = member.membership.value
        await self._store.write(
            replace(entry, action="remove", user_id=user_id, before=before, after="leave")
        )
        return removal

    async def _kick(self, room_id: str, user_id: str) -> bool:
        """Whether the person is out of the room, be it by us or by somebody who was faster."""
        try:
            await self._homeserver.kick(room_id, user_id, SHOWN_REASON)
        except Refused:
            return (await self._homeserver.member(room_id, user_id)).membership not in _REMOVALS
        return True


def urgent_first(held: Iterable[Knock]) -> list[Knock]:
    """Those that wait for a moderator, then those that wait for their person to prove the account."""
    return sorted(held, key=lambda knock: knock.reason is Reason.UNPROVEN)


def _user_rule(user: MatrixID, reason: str, actor: str, at: float) -> Rule:
    return Rule(RuleKind.USER, str(user), user.key, reason, source=actor, author=actor, at=at)


def _is_equal(user: MatrixID, bot: str, levels: PowerLevels) -> bool:
    return _power_of(user, levels) >= levels.of(bot) > levels.users_default


def _power_of(user: MatrixID, levels: PowerLevels) -> float:
    """The power of somebody, however their ID is spelt: rules do not look at case either."""
    named = {*levels.users, *levels.creators}
    same = [name for name in named if name.lower() == user.key] or [str(user)]
    return max(levels.of(name) for name in same)


def _held(knock: Knock, wanted: KnockState) -> Knock:
    """The knock, if a moderator may still decide it."""
    if knock.state is not S.HELD:
        raise IllegalMove(knock.id, knock.state.value, wanted.value)
    return knock


def _unwanted(now: float) -> Callable[[Knock], Knock]:
    return lambda knock: stopped(knock, at=now, reason=Reason.MODERATOR)


def _taken_back(removal: Removal, now: float) -> Callable[[Knock], Knock]:
    """End a knock whose person is no longer in the room: as removed if they had joined, else as rescinded."""

    def how(knock: Knock) -> Knock:
        if knock.state not in _IN_THE_ROOM:
            return knock
        joined = removal is Removal.KICKED or knock.state is not S.INVITED
        return knock.moved_to(S.REMOVED if joined else S.RESCINDED, at=now, due_at=None)

    return how
