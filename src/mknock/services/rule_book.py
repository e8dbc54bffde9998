"""The block-list in memory, as this process has read it, and what it says of a person.

The store is the truth. Every process follows its changes, a look twice a second;
before somebody is invited it is asked whether there are newer ones (promise 3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mknock.domain.doors import Door
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.domain.rules import Rule
from mknock.matching import VERY_MANY, Action, BadGlob, Engine, Finding, Kind, Match, Stance, Verdict
from mknock.ports import Clock, RuleChange, Store
from mknock.services.familiar_names import familiar_names
from mknock.telemetry import get_logger

log = get_logger(__name__)

PAGE = 500
"""Changes that are taken in before others get a turn."""
CALM = 1.0
"""Seconds without a new rule after which a flood of them is over."""
LONGEST_FLOOD = 60.0
"""Seconds for which slips of the keyboard wait for the end of a flood."""
NAMES_EVERY = 60.0
"""Seconds between two looks for names that have become familiar."""
PLAIN = frozenset({Kind.EXACT, Kind.HASH, Kind.SERVER, Kind.GLOB, Kind.SERVER_GLOB})
"""A rule says so itself. All other kinds are resemblances, of which nobody is thrown out."""
OUTCOMES: Mapping[Verdict, Outcome] = {
    Verdict.ADMIT: Outcome.ADMIT,
    Verdict.HOLD: Outcome.HOLD,
    Verdict.REFUSE: Outcome.REFUSE,
}


Listener = Callable[[Sequence[RuleChange]], None]


class RuleBook:
    """Says what the rules make of a person. ``look`` never waits; ``refresh`` keeps it up to date."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._engine = Engine()
        self._rules: dict[str, Rule] = {}
        self._slots: dict[tuple[str, ...], list[str]] = {}
        """Ids of the rules from a list that say the same, by what they say."""
        self._revision = -1
        self._reading = asyncio.Lock()
        self.unused: dict[str, str] = {}
        """Why a rule is not used, by its id: patterns that strangers wrote and that cost too much."""
        self._listeners: list[Listener] = []
        self.familiar: frozenset[str] = frozenset()
        """Names that members bear, which the engine is milder with."""
        self._named_at = -NAMES_EVERY
        self._flood = _Flood()

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def is_read(self) -> bool:
        """Whether the rules were read at all; until then nobody knows who is blocked."""
        return self._revision >= 0

    def on_news(self, listener: Listener) -> None:
        """Have changes told from now on, as soon as this process has taken them in, whoever asked."""
        self._listeners.append(listener)

    def rule(self, rule_id: str) -> Rule | None:
        return self._rules.get(rule_id)

    def rules(self) -> Sequence[Rule]:
        """All rules that are used, as they were read last."""
        return tuple(self._rules.values())

    async def refresh(self) -> int:
        """Take in what has changed; return how many rules. The first time, read them all.

        Raises:
            StoreUnavailable: there is no answer; the rules are as they were.
        """
        async with self._reading:
            if not self.is_read:
                return await self._read_all()
            newest = await self._store.rules_revision()
            return await self._take_in(newest) if newest != self._revision else 0

    async def tick(self, _: float) -> int:
        """A worker's step: follow the changes, and do the engine's housekeeping once a flood of them is over."""
        changed = await self.refresh()
        await self._learn_names()
        if self._flood.lasts(self._clock()):
            return changed
        await self.settle()
        return changed

    async def settle(self) -> None:
        """Do the engine's housekeeping, a little at a time and others in between; then slips are found in any list."""
        more = self._engine.tidy()
        while more:
            await asyncio.sleep(0)
            more = self._engine.tidy()

    # --- what it says

    def look(
        self, user: MatrixID | str, stance: Stance, display_name: str = "", *, thorough: bool = False
    ) -> Finding:
        return self._engine.look(user, display_name, now=self._clock(), stance=stance, thorough=thorough)

    def decide(self, user: MatrixID | str, stance: Stance, display_name: str = "") -> Decision | None:
        """What is to become of somebody who knocks; None while the rules are not known."""
        if not self.is_read:
            return None
        return decision_of(self.look(user, stance, display_name))

    async def decide_now(self, user: MatrixID | str, stance: Stance) -> Decision:
        """The same, by the rules that are in the store at this moment.

        Raises:
            StoreUnavailable: nobody knows.
        """
        await self.refresh()
        return decision_of(self.look(user, stance))

    def blocking(self, user: MatrixID | str) -> Rule | None:
        """The rule that plainly names somebody; no resemblance counts."""
        return self._engine.naming(user, now=self._clock())

    # --- following the store

    async def _read_all(self) -> int:
        revision = await self._store.rules_revision()
        rules = await self._store.rules()
        await self._learn_names()
        usable = [rule for rule in rules if self._is_usable(rule)]
        self._engine.load(usable)
        for rule in usable:
            self._note(rule)
        self._revision = revision
        return len(rules)

    async def _learn_names(self) -> None:
        now = self._clock()
        if not 0.0 <= now - self._named_at < NAMES_EVERY:
            self.familiar = await familiar_names(self._store)
            self._engine.know(self.familiar)
            self._named_at = now

    async def _take_in(self, newest: int) -> int:
        """Read change by change, from behind what was read; a page at a time, and others in between.

        Of a flood, slips of the keyboard are left to the housekeeping, as of a very long list at the start.
        """
        taken = 0
        page = await self._store.rules_since(self._revision, "\uffff", limit=PAGE)
        while page:
            self._apply(page, later=self._flood.is_large(self._clock(), len(page)))
            for listener in self._listeners:
                listener(page)
            taken += len(page)
            self._revision, after = page[-1].revision, page[-1].rule.id
            await asyncio.sleep(0)
            page = await self._store.rules_since(self._revision, after, limit=PAGE)
        self._revision = max(self._revision, newest)
        return taken

    def _apply(self, changes: Iterable[RuleChange], *, later: bool) -> None:
        for change in changes:
            self._forget(change.rule.id)
            if not change.removed and self._is_usable(change.rule):
                self._engine.add(change.rule, later=later)
                self._note(change.rule)

    def _note(self, rule: Rule) -> None:
        self._rules[rule.id] = rule
        if not rule.is_own:
            self._slots.setdefault(_slot(rule), []).append(rule.id)

    def _forget(self, rule_id: str) -> None:
        self.unused.pop(rule_id, None)
        rule = self._rules.pop(rule_id, None)
        if rule is None:
            return
        self._engine.remove(rule)
        if not rule.is_own:
            others = [other for other in self._slots.pop(_slot(rule), []) if other != rule_id]
            if others:  # the list says the same a second time
                self._slots[_slot(rule)] = others
                self._engine.add(self._rules[others[0]])

    def _is_usable(self, rule: Rule) -> bool:
        try:
            self._engine.check(rule)
        except BadGlob as problem:
            self.unused[rule.id] = str(problem)
            log.warning("a rule is not used", rule=rule.entity, source=rule.source, why=str(problem))
            return False
        return True


@dataclass(slots=True)
class _Flood:
    """Rules that come without a pause: a long file or list, which whoever writes it does a part at a time.

    Entering slips one by one and merging the tables they lie in takes thrice
    as long as entering all at once.
    """

    count: int = 0
    began: float = 0.0
    newest: float = 0.0

    def is_large(self, now: float, more: int) -> bool:
        """Count some more; return whether those before them were very many."""
        if not 0.0 <= now - self.newest < CALM:
            self.count, self.began = 0, now
        before, self.newest = self.count, now
        self.count += more
        return before >= VERY_MANY

    def lasts(self, now: float) -> bool:
        """Whether there are very many, and more are to be expected."""
        return self.count > VERY_MANY and 0.0 <= now - self.newest < CALM and now - self.began < LONGEST_FLOOD


def _slot(rule: Rule) -> tuple[str, ...]:
    return rule.source, rule.kind.value, rule.key, "allow" if rule.allow else "block"


def decision_of(finding: Finding) -> Decision:
    """What a finding means for a knock, with the match that decided it, step by step."""
    match = finding.decisive
    outcome = OUTCOMES[finding.verdict]
    if match is not None and match.kind is Kind.ALLOW:
        return Decision(Outcome.ADMIT, Reason.ALLOWED, rule=match.rule.entity)
    if match is None or outcome is Outcome.ADMIT:
        return ADMITTED
    reason = Reason.BLOCKED if outcome is Outcome.REFUSE else Reason.LOOK_ALIKE
    return Decision(outcome, reason, told(match), rule=match.rule.entity)


def told(match: Match) -> str:
    """One line on a match, for moderators: how the name is like the rule, by which steps, and why the rule is there."""
    if match.kind in PLAIN:
        return match.rule.reason
    how = match.kind.value.replace("_", " ")
    steps = "; ".join(match.steps)
    why = f" (blocked for: {match.rule.reason})" if match.rule.reason else ""
    return f"{how}{': ' if steps else ''}{steps}{why}"


def steps_in(detail: str) -> list[str]:
    """The steps in what ``told`` has said of a resemblance, the kind of likeness first."""
    likeness, _, why = detail.partition(" (blocked for: ")
    how, _, steps = likeness.partition(": ")
    told_why = [f"blocked for: {why.removesuffix(')')}"] if why else []
    return [how, *filter(None, steps.split("; ")), *told_why]


STRICT = Stance()
"""How a door is that says nothing about it."""


def stance_of(door: Door) -> Stance:
    """The door's own strictness about each kind of match."""
    if not door.matching.actions and door.matching.other_servers:
        return STRICT
    actions = {Kind(kind): Action(action) for kind, action in door.matching.actions}
    return Stance(actions=actions, other_servers=door.matching.other_servers)
