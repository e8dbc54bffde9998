"""What the store's suite says of people, doors and time, and the back-ends it runs on."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.doors import Alarm, Door, Limits
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Decision, Knock, KnockState, Outcome, Reason, Submission
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import AskedToWait, Attempt, Claimed, Entry, Facts, Judge, Kept, Store
from mknock.storage.postgres import PostgresStore
from mknock.storage.sqlite import SqliteStore

NOW = 1_800_000_000.0
"""The beginning of a slot, whatever whole number of minutes a window has."""
WINDOW = 60.0
LEASE = 10.0
ROOM = "!room:example.org"
NEVER = Alarm(arrivals=0, alike=0)
UNLIMITED = Limits(window=WINDOW, door=10**9, homeserver=10**9, sender=10**9)

_numbers = itertools.count()


# --- the back-ends


@dataclass(frozen=True)
class Shelf:
    """One store's data. Every ``store()`` is another process's view of it, as far as it can know."""

    backend: str
    place: str

    def store(self, *, secret_key: str | None = None) -> Store:
        return BACKENDS[self.backend](self.place, secret_key)

    @contextlib.asynccontextmanager
    async def opened(self, *, secret_key: str | None = None) -> AsyncIterator[Store]:
        store = self.store(secret_key=secret_key)
        await store.open()
        try:
            yield store
        finally:
            await store.close()


def _sqlite(place: str, secret_key: str | None) -> Store:
    return SqliteStore(Path(place), secret_key=secret_key)


def _postgres(place: str, secret_key: str | None) -> Store:
    return PostgresStore(place, secret_key=secret_key)


BACKENDS: dict[str, Callable[[str, str | None], Store]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "pgbouncer": _postgres,
}
"""The whole suite runs on each; ``conftest.py`` beside this file knows how each gets its place."""


# --- doors and people


def door(slug: str = "main", *, room: str = ROOM, cooldown: float = 3600.0, **limits: Any) -> Door:
    """A door without limits but those that are given."""
    settings = {"window": WINDOW, "door": 10**9, "homeserver": 10**9, "sender": 10**9, **limits}
    return Door(slug, room, limits=Limits(**settings), alarm=NEVER, cooldown=cooldown)


MAIN = door()
OTHER_ROOM = door("other", room="!other:example.org")
NARROW = door(sender=2, backoff_longest=300.0)


def person(name: str, server: str = "example.org") -> MatrixID:
    return MatrixID(name, server)


def somebody(server: str = "example.org") -> MatrixID:
    """Somebody who has not been here before."""
    return person(f"somebody{next(_numbers)}", server)


def attempt(
    who: MatrixID | str | None = None,
    at: float = NOW,
    *,
    through: Door = MAIN,
    event: str = "",
    trap: str = "",
    trusted: bool = True,
    **more: Any,
) -> Attempt:
    """Somebody knocks; by default somebody new, through a form that a platform vouches for."""
    user = person(who) if isinstance(who, str) else who or somebody()
    submission = Submission("tally", user, event_id=event, trap=trap, answers=more.pop("answers", ()))
    return Attempt(new_id(at), through, user, submission, at, trusted=trusted, **more)


def anonymous(
    who: MatrixID | str | None = None, at: float = NOW, *, sender: str = "home", **more: Any
) -> Attempt:
    """Somebody knocks without anybody who vouches for them, from a network address."""
    return attempt(who, at, sender=sender, trusted=False, **more)


# --- what is done and said


async def kept(store: Store, knocking: Attempt, judge: Judge = decide) -> Kept:
    result = await store.admit(knocking, judge)
    assert isinstance(result, Kept)
    return result


async def knocked(store: Store, *args: Any, judge: Judge = decide, **more: Any) -> Knock:
    """Let somebody knock; return the record."""
    return (await kept(store, attempt(*args, **more), judge)).knock


async def asked_to_wait(store: Store, knocking: Attempt) -> float:
    result = await store.admit(knocking, decide)
    assert isinstance(result, AskedToWait)
    return result.retry_after


def judged(outcome: Outcome, reason: Reason = Reason.REVIEW) -> Judge:
    """A judge that always says the same."""
    return lambda _attempt, _facts: Decision(outcome, reason)


HOLD = judged(Outcome.HOLD)
REFUSE = judged(Outcome.REFUSE, Reason.WAVE)


@dataclass
class Listening:
    """A judge that remembers the facts it was told."""

    heard: Facts = field(default_factory=Facts)

    def __call__(self, knocking: Attempt, facts: Facts) -> Decision:
        self.heard = facts
        return decide(knocking, facts)


def rule(who: str = "mallory", at: float = NOW) -> Rule:
    user = person(who)
    return Rule(RuleKind.USER, str(user), user.key, "spam", source="api", author="api", at=at)


def entry(action: str, at: float = NOW, **more: Any) -> Entry:
    return Entry(at=at, actor="api", action=action, **more)


def moved(state: KnockState, at: float = NOW, **changes: Any) -> Callable[[Knock], Knock]:
    """What ``Store.change`` is asked to do."""
    return lambda knock: knock.moved_to(state, at=at, **{"due_at": None, **changes})


async def claimed(store: Store, now: float = NOW, limit: int = 100, **more: Any) -> Claimed:
    return await store.claim(now, limit=limit, lease=LEASE, **more)


async def claimed_one(store: Store, now: float = NOW) -> Knock:
    knocks = (await claimed(store, now)).knocks
    assert len(knocks) == 1
    return knocks[0]


async def ended(store: Store, who: str, state: KnockState, at: float = NOW, **changes: Any) -> Knock:
    """Somebody's knock that was invited and has ended."""
    knock = await knocked(store, who, at)
    await store.change(knock.id, moved(KnockState.INVITED, at, invited_at=at), entry("invite", at))
    return await store.change(knock.id, moved(state, at, **changes), entry("end", at))


async def invited(store: Store, who: str, **more: Any) -> Knock:
    knock = await knocked(store, who, **more)
    return await store.change(knock.id, moved(KnockState.INVITED, invited_at=NOW), entry("invite"))


async def many(store: Store, count: int = 20) -> None:
    for _ in range(count):
        await knocked(store, None, NOW - 1)


async def over_the_window(store: Store, at: float = NOW, *, sender: str = "home") -> float:
    """Knock until the sender is asked to wait; return for how long."""
    for _ in range(2):
        await kept(store, anonymous(None, at, sender=sender, through=NARROW))
    return await asked_to_wait(store, anonymous(None, at, sender=sender, through=NARROW))
