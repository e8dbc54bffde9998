"""Rules by hand: made, removed, previewed and brought in from elsewhere, whatever they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, NotAllowed, NotFound
from mknock.domain.ids import MatrixID, parse_matrix_id
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Engine, Finding, Verdict
from mknock.matching.extent import Extent, extent
from mknock.matching.glob import is_glob
from mknock.matching.rule_lines import BadRuleLine, rule_of
from mknock.ports import Clock, Entry, Homeserver, Membership, PowerLevels, Store
from mknock.services.doors import Doors
from mknock.services.enforcement import Enforcement
from mknock.services.rule_book import RuleBook, stance_of

MOST_HIT: Final = 20
"""Members that a rule may hit without being forced."""
SHOWN: Final = 10
"""Members that a refusal names."""
BATCH: Final = 1000
"""Rules in one transaction, so that nobody waits long behind it."""
WIDE: Final = frozenset({RuleKind.USER_GLOB, RuleKind.SERVER, RuleKind.SERVER_GLOB, RuleKind.SERVER_HASH})
"""Rules that may mean many people."""


class TooWide(NotAllowed):
    """A rule would hit more people than was probably meant. The text says whom; it can be forced."""


@dataclass(frozen=True, slots=True)
class Made:
    """A rule that is in force now; ``new`` says whether it was not before."""

    rule: Rule
    new: bool


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of many rules at once."""

    new: int
    known: int


def rule_about(
    typed: str,
    *,
    reason: str,
    actor: str,
    at: float,
    allow: bool = False,
    expires: float | None = None,
    default_server: str | None = None,
) -> Rule:
    """Make a rule of what somebody typed: a Matrix ID, a pattern, or a server.

    Raises:
        BadRuleLine: it is none of these.
        InvalidMatrixID: it looks like a Matrix ID, and is none.
        BadGlob: the pattern has too many wildcards or is too long.
    """
    text = typed.strip()
    if not is_glob(text) and (text.startswith("@") or "/" in text):
        user = parse_matrix_id(text, default_server=default_server)
        rule = Rule(RuleKind.USER, str(user), user.key, reason, actor, actor, at)
    else:
        rule = _pattern_or_server(text, actor, at)
    return replace(rule, reason=reason, allow=allow, expires=expires)


def _pattern_or_server(text: str, actor: str, at: float) -> Rule:
    rule = rule_of(text, source=actor, author=actor, at=at) if len(text.split()) == 1 else None
    if rule is None:
        raise BadRuleLine("write one Matrix ID (@mallory:evil.example), pattern or server")
    if rule.kind is RuleKind.SERVER and not ({".", ":"} & set(rule.key)) and rule.key != "localhost":
        raise BadRuleLine(
            f"{text[:40]!r} is no server: write the whole Matrix ID, such as @mallory:evil.example"
        )
    return rule


class RuleMaker:
    """Each verb names its ``actor`` for the ledger (``api``, ``cli``, a Matrix ID)."""

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._clock = clock
        self._enforcement = Enforcement(store, doors, book)

    async def make(
        self,
        typed: str,
        *,
        actor: str,
        reason: str = "",
        lasting: float | None = None,
        allow: bool = False,
        force: bool = False,
    ) -> Made:
        """Make a rule, for ``lasting`` seconds or for good, and end the open knocks that it is against.

        One that is there stays as it is, unless it would end earlier.

        Raises:
            TooWide: it would hit too many, and is not forced.
            HomeserverUnavailable: it may hit many, and nobody knows whom.
        """
        now = self._clock()
        expires = None if lasting is None else now + lasting
        rule = rule_about(
            typed,
            reason=reason,
            actor=actor,
            at=now,
            allow=allow,
            expires=expires,
            default_server=self._doors.first.reading.default_server,
        )
        if not force:
            await self._spare_many([rule])
        entry = Entry(at=now, actor=actor, action="allow" if allow else "block", detail=reason)
        return await self._put(rule, entry)

    async def _put(self, rule: Rule, entry: Entry) -> Made:
        await self._book.refresh()
        there = self._book.rule(rule.id)
        longer = there is not None and _lasts_longer(rule, there)
        changed = await self._store.change_rules([rule], (), entry, replacing=longer)
        await self._enforcement.enforce(changed.added, entry)
        return Made(rule if changed.added or there is None else there, bool(changed.added))

    async def remove(self, typed: str, *, actor: str, allow: bool = False) -> Rule:
        """Remove a rule, and restore what it had ended; one that allowed no longer spares anybody.

        Raises:
            NotFound: there is no such rule.
        """
        now = self._clock()
        server = self._doors.first.reading.default_server
        rule = rule_about(typed, reason="", actor=actor, at=now, allow=allow, default_server=server)
        entry = Entry(at=now, actor=actor, action="unallow" if allow else "unblock")
        dropped = (await self._store.change_rules((), [rule.id], entry)).dropped
        if not dropped:
            raise NotFound(f"there is no rule that {'allows' if allow else 'blocks'} {rule.entity}")
        await self._book.refresh()
        if allow:
            await self._enforcement.enforce_all(replace(entry, action="block"))
        else:
            await self._enforcement.restore(dropped[0], entry)
        return dropped[0]

    async def rules(self) -> list[Rule]:
        """All rules that count, those of shared lists too, oldest first."""
        now = self._clock()
        return [rule for rule in await self._store.rules() if rule.counts_at(now)]

    async def bring(self, rules: Sequence[Rule], *, actor: str, force: bool = False) -> Brought:
        """Add many rules that come from elsewhere. Those that are there stay as they are.

        Raises:
            TooWide: together they would hit too many, or one is far too wide, and it is not forced.
        """
        if not force:
            await self._spare_many(rules)
        entry = Entry(at=self._clock(), actor=actor, action="import")
        added: list[Rule] = []
        for start in range(0, len(rules), BATCH):
            added += (await self._store.change_rules(rules[start : start + BATCH], (), entry)).added
        await self._enforcement.enforce(added, entry)
        return Brought(len(added), len(rules) - len(added))

    async def explain(self, user: MatrixID | str, display_name: str = "") -> Finding:
        """What the rules make of somebody at the first door: every match, the one that decides first."""
        await self._book.refresh()
        return self._book.look(user, stance_of(self._doors.first), display_name, thorough=True)

    # --- how far a rule reaches

    async def preview(self, rules: Sequence[Rule]) -> Extent:
        """Say whom rules would hit in the rooms, and whether that is more than was probably meant.

        Raises:
            HomeserverError: nobody knows who is there.
        """
        await self._book.refresh()
        members, protected = await self._people()
        now = self._clock()
        if len(rules) == 1:
            return extent(rules[0], members, protected, most=MOST_HIT, now=now, familiar=self._book.familiar)
        return _together(rules, members, protected, now, self._book.familiar)

    async def _people(self) -> tuple[list[str], list[str]]:
        """Everybody in the doors' rooms; and those of them who have power there, the bot too."""
        members: dict[str, None] = {}
        protected = {await self._homeserver.whoami(): None}
        for door in self._doors:
            members |= dict.fromkeys(await self._homeserver.members(door.room_id, Membership.JOIN))
            levels = await self._homeserver.power_levels(door.room_id)
            protected |= dict.fromkeys(_powerful(levels))
        return list(members), list(protected)

    async def _spare_many(self, rules: Sequence[Rule]) -> None:
        blocking = [rule for rule in rules if not rule.allow]
        _refuse_if_wide(blocking, _together(blocking, (), (), self._clock()))
        if not blocking:
            return
        try:
            reach = await self.preview(blocking)
        except HomeserverError as error:
            if any(rule.kind in WIDE for rule in blocking):
                message = f"nobody knows whom this would hit ({error}): try again, or force it"
                raise HomeserverUnavailable(message, everywhere=False) from error
            return
        _refuse_if_wide(blocking, reach)


def _together(
    rules: Sequence[Rule],
    members: Sequence[str],
    protected: Sequence[str],
    now: float,
    familiar: Iterable[str] = (),
) -> Extent:
    """The reach of many rules at once; each wide one is looked at by itself as well."""
    wide = [extent(rule, (), (), most=MOST_HIT, now=now) for rule in rules if rule.kind in WIDE]
    problems = [problem for one in wide for problem in one.problems]
    engine = Engine(rules)
    engine.know(familiar)
    if members:
        engine.settle()
    verdicts = {user: engine.look(user, now=now).verdict for user in dict.fromkeys([*members, *protected])}
    refused = tuple(user for user, verdict in verdicts.items() if verdict is Verdict.REFUSE)
    held = tuple(user for user, verdict in verdicts.items() if verdict is Verdict.HOLD)
    shielded = tuple(user for user in protected if user in refused)
    if shielded:
        problems.append(f"It would keep out Knock itself or moderators: {_named(shielded)}.")
    if len(refused) > MOST_HIT:
        problems.append(f"It would keep out {len(refused)} people in the room, more than {MOST_HIT}.")
    return Extent(refused, held, shielded, tuple(dict.fromkeys(problems)))


def _refuse_if_wide(rules: Sequence[Rule], reach: Extent) -> None:
    if not reach.is_too_wide:
        return
    what = rules[0].entity if len(rules) == 1 else f"{len(rules)} rules"
    hit = f" In the room: {_named(reach.refused)}." if reach.refused else ""
    raise TooWide(f"{what} would hit too many. {' '.join(reach.problems)}{hit} It can be forced.")


def _named(people: Sequence[str]) -> str:
    more = len(people) - SHOWN
    return ", ".join(people[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _powerful(levels: PowerLevels) -> list[str]:
    named = {*levels.users, *levels.creators}
    return sorted(user for user in named if levels.of(user) > levels.users_default)


def _lasts_longer(rule: Rule, than: Rule) -> bool:
    return than.expires is not None and (rule.expires is None or rule.expires > than.expires)
