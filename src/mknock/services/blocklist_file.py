"""The block-list's file, followed while Knock runs.

The store is the truth for everybody who asks; the file is a second way to
write to it. A line that appears becomes a rule, and one that disappears takes its
rule along; a rule made elsewhere gets a line, and one removed elsewhere loses
it. Which rules the file holds is marked in the store, so that each side's
changes are told from the other's whatever crashes in between:

=============  ==========  ===========================================
in the store   in the file what that means
=============  ==========  ===========================================
no             yes         somebody wrote a line: make the rule
unmarked       yes         it was being written when we died: mark it
marked         no          somebody deleted the line: remove the rule
unmarked       no          made elsewhere: add a line
removed        yes         removed elsewhere: delete the line
=============  ==========  ===========================================

One process of all does it. A file that is missing, unreadable or suddenly empty says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from mknock.domain.rules import Rule
from mknock.matching.extent import extent
from mknock.matching.rule_lines import Problem
from mknock.ports import Clock, Entry, OwnRule, Store
from mknock.services import blocklist_disk as disk
from mknock.services.blocklist_lines import SOURCE, Listing, NoText, line_of, one_line, read_listing
from mknock.services.enforcement import Enforcement
from mknock.services.findings import Finding, good, odd
from mknock.services.rule_book import RuleBook
from mknock.services.rule_making import MOST_HIT, WIDE
from mknock.telemetry import get_logger

log = get_logger(__name__)

SETTLED: Final = 0.5
"""Seconds that a file must stay as it is before it is read: editors write in pieces, or put another in its place."""
AGAIN: Final = 30.0
"""Seconds between two tries to write to a file that cannot be written."""
BATCH: Final = 500
"""Rules in one transaction, so that nobody waits long behind it. No edit by hand has more."""
MOST_NUMBERS: Final = 20
"""Line numbers that one log line lists."""
WHAT: Final = "block-list file"
ADVICE: Final = "its rules stay in force as they were: put it right, or set BLOCKLIST_FILE=off"
UNSEEN: Final = (-1, -1, -1, -1)
"""No file looks like this."""

T = TypeVar("T")
State = tuple[disk.Mark | None, int]
"""How the file looks, and the store's revision."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done so that store and file say the same."""

    new: tuple[Rule, ...] = ()
    changed: tuple[Rule, ...] = ()
    gone: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    """Ids of rules whose line is there, but not marked."""
    erased: tuple[str, ...] = ()
    """Ids of removed rules that are still marked."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Lines to add, by the ids of their rules."""
    unwanted: frozenset[str] = frozenset()
    """Ids of rules whose lines are to be deleted."""
    too_wide: tuple[Problem, ...] = ()
    """New lines that would keep out everybody, or a large server: a slip of the pen that nobody has forced."""

    @property
    def edits(self) -> bool:
        return bool(self.new or self.changed or self.gone)

    @property
    def writes(self) -> bool:
        """Whether the file, or what is marked as being in it, is to change."""
        return bool(self.written or self.erased or self.missing or self.unwanted)


class BlocklistFile:
    """Keeps the block-list's file and the store saying the same. ``tick`` runs in one process of all.

    ``problem`` is what keeps the file from being followed, in words that go on
    its name; "" if nothing does. ``on_trouble`` is called when that changes.
    """

    def __init__(
        self,
        path: Path,
        store: Store,
        book: RuleBook,
        enforcement: Enforcement,
        clock: Clock,
        *,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.problem = ""
        self.next_at: float | None = None
        """When to look before it is time, since the file has just changed."""
        self._store = store
        self._book = book
        self._enforcement = enforcement
        self._clock = clock
        self.on_trouble = on_trouble
        self._settled: disk.Mark | None = UNSEEN
        self._fresh: tuple[disk.Mark | None, float] = (UNSEEN, 0.0)
        self._done: State | None = None
        self._again_at = 0.0
        self._left_out: tuple[int, ...] = ()

    @property
    def shortcoming(self) -> str:
        """One sentence for the owner on why the file does not count; "" if it does."""
        return f"{self.path.name} {self.problem}; {ADVICE}" if self.problem else ""

    async def read_in(self) -> None:
        """Make rules of the lines that are new, before anything else starts. Removes nothing, writes nothing.

        Several processes may do it at once.

        Raises:
            StoreUnavailable: not all of them were made; the next start goes on with it.
        """
        own = await self._store.own_rules()
        listing, problem = await self._read(own)
        plan = await asyncio.to_thread(plan_of, own, listing) if listing else Plan()
        self._say(problem, _left_out(listing, plan))
        entry = self._entry()
        for batch in _batches(plan.new):
            await self._store.change_rules(batch, (), entry, in_file=True)
        if plan.new:
            await self._enforcement.enforce(plan.new, entry)
            log.info("the block-list file was read", file=self.path.name, new=len(plan.new))

    async def tick(self, now: float) -> int:
        """Look whether file or store have changed; return how many rules came or went.

        Raises:
            StoreUnavailable: try again; what is done is not done twice.
        """
        revision = await self._store.rules_revision()
        try:
            seen = await asyncio.to_thread(disk.mark, self.path)
        except disk.Unreadable as error:
            self._say(str(error))
            return 0
        if (seen, revision) == self._done and now < self._again_at:
            return 0
        return await self._follow((seen, revision)) if self._has_settled(seen, now) else 0

    def _has_settled(self, seen: disk.Mark | None, now: float) -> bool:
        """Whether nobody is at it right now: it has looked the same for a while."""
        if seen == self._fresh[0] and now - self._fresh[1] >= SETTLED:
            self._settled = seen
        elif seen not in (self._settled, self._fresh[0]):
            self._fresh = seen, now
        settled = seen == self._settled
        self.next_at = None if settled else self._fresh[1] + SETTLED
        return settled

    async def _follow(self, state: State) -> int:
        # The store before the file: a rule that gets its line in between must not seem to have lost it.
        own = await self._store.own_rules()
        listing, problem = await self._read(own)
        plan = await asyncio.to_thread(plan_of, own, listing) if listing else Plan()
        seen, revision = state
        changed, taken_in = await self._take_in(plan, revision) if plan.edits else (0, revision)
        # What was written, or changed by others meanwhile, is looked at once more.
        done = None if plan.writes or taken_in is None else (seen, taken_in)
        self._done, self._again_at = done, float("inf")
        if listing is not None:
            problem = await self._write_out(plan, listing)
        if listing is not None and problem:
            self._done, self._again_at = state, self._clock() + AGAIN
        self._say(problem, _left_out(listing, plan))
        return changed

    # --- reading

    async def _read(self, own: Sequence[OwnRule]) -> tuple[Listing | None, str]:
        """What the file says; or None, if nothing in it can be relied on, and why."""
        marked = any(one.in_file and not one.removed for one in own)
        try:
            data = await asyncio.to_thread(disk.contents, self.path)
            listing = await asyncio.to_thread(read_listing, data or b"", self._clock())
        except (disk.Unreadable, NoText) as error:
            return None, str(error)
        problem = _what_is_odd(data, listing) if marked else ""
        return (None if problem else listing), problem

    def _say(self, problem: str, left_out: Sequence[Problem] = ()) -> None:
        """Log what is wrong once a change, and tell whoever shows it."""
        self._say_left_out(left_out)
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.error(f"{self.path.name} {problem}; {ADVICE}")
        else:
            log.info(f"{self.path.name} is followed again")
        self.on_trouble()

    def _say_left_out(self, problems: Sequence[Problem]) -> None:
        lines = tuple(problem.line for problem in problems)
        if lines and lines != self._left_out:
            log.warning(f"{self.path.name} holds {_told(problems)}; the rest counts")
        self._left_out = lines

    # --- what came from the file

    async def _take_in(self, plan: Plan, revision: int) -> tuple[int, int | None]:
        """Bring the store up to date with the file, and the knocks with the store.

        Return how many rules came or went, and the rules' revision after it;
        None for that if others have changed rules since ``revision``.
        """
        entry, added, dropped = self._entry(), 0, 0
        reached: int | None = revision
        for put, gone in _edits(plan):
            done = await self._store.change_rules(put, gone, entry, replacing=True, in_file=True)
            reached = done.revision if done.since == reached else None
            added, dropped = added + len(done.added), dropped + len(done.dropped)
            for rule in done.dropped:
                await self._enforcement.restore(rule, entry)
        await self._enforcement.enforce((*plan.new, *plan.changed), entry)
        log.info("the block-list file was edited", file=self.path.name, put=added, removed=dropped)
        return added + dropped, reached

    def _entry(self) -> Entry:
        return Entry(at=self._clock(), actor=SOURCE, action="edit", detail=f"by {self.path.name}")

    # --- what came from elsewhere

    async def _write_out(self, plan: Plan, listing: Listing) -> str:
        """Bring the file up to date with the store; return what is in the way.

        What may not be deleted (that needs the folder) does not keep anything from being added.
        """
        problem = ""
        for step in (self._delete, self._add):
            try:
                await step(plan, listing)
            except disk.ChangedMeanwhile:
                self._done = None  # start over
            except OSError as error:
                problem = f"cannot be written ({error.strerror}), so it is not up to date"
        return problem

    async def _delete(self, plan: Plan, listing: Listing) -> None:
        """Delete the lines of rules that are gone. Marked after that: if we die in between, nothing is left to do."""
        if plan.unwanted:
            after = listing.without(plan.unwanted)
            await asyncio.to_thread(disk.rewrite, self.path, listing.data, after)
        await self._mark(plan.erased, in_file=False)

    async def _add(self, plan: Plan, _: Listing) -> None:
        """Add the lines of rules that came from elsewhere. Marked after that, or a line not written would be lost."""
        if plan.missing:
            lines = "".join(f"{line}\n" for line in plan.missing.values()).encode()
            await asyncio.to_thread(disk.append, self.path, lines)
        await self._mark([*plan.written, *plan.missing], in_file=True)

    async def _mark(self, rule_ids: Sequence[str], *, in_file: bool) -> None:
        for batch in _batches(rule_ids):
            await self._store.mark_in_file(batch, in_file)

    # --- for the doctor

    async def examine(self) -> Finding:
        """Look at the file without changing anything."""
        own = await self._store.own_rules()
        listing, problem = await self._read(own)
        if problem or listing is None:
            return odd(WHAT, f"{self.path} {problem}; {ADVICE}")
        if not await asyncio.to_thread(disk.may_write, self.path):
            return odd(WHAT, f"{self.path} is read, but Knock may not write to it and its folder: let it")
        left_out = _left_out(listing, await asyncio.to_thread(plan_of, own, listing))
        if left_out:
            return odd(WHAT, f"{self.path} holds {_told(left_out)}; the rest counts")
        if not listing.data:
            return good(WHAT, f"{self.path} has nothing in it yet; it is written with the first rule")
        return good(WHAT, f"{self.path} is followed; rules in it: {len(listing.rules)}")


def plan_of(own: Sequence[OwnRule], listing: Listing) -> Plan:
    """Compare what the owner's rules are with what the file says."""
    alive = {one.rule.id: one for one in own if not one.removed}
    removed = frozenset(one.rule.id for one in own if one.removed)
    in_file = listing.rules
    unknown = [rule for rule_id, rule in in_file.items() if rule_id not in alive and rule_id not in removed]
    wide = {rule.id: problem for rule in unknown if (problem := _too_wide(rule))}
    changed = tuple(_changed(alive, in_file))
    return Plan(
        new=tuple(rule for rule in unknown if rule.id not in wide),
        changed=changed,
        gone=tuple(rule_id for rule_id, one in alive.items() if one.in_file and rule_id not in in_file),
        written=tuple(_unmarked(alive, in_file.keys() - {rule.id for rule in changed})),
        erased=tuple(removed),
        missing=dict(_missing(alive, in_file)),
        unwanted=removed & in_file.keys(),
        too_wide=tuple(_problems(listing, wide)),
    )


def _changed(alive: Mapping[str, OwnRule], in_file: Mapping[str, Rule]) -> Iterator[Rule]:
    """Rules of which the file says something else. A line says no end, so the rule has none."""
    for rule_id, line in in_file.items():
        rule = alive[rule_id].rule if rule_id in alive else line
        if line.reason != one_line(rule.reason) or rule.expires is not None:
            yield replace(rule, reason=line.reason, expires=None)


def _unmarked(alive: Mapping[str, OwnRule], in_file: Container[str]) -> Iterator[str]:
    return (rule_id for rule_id, one in alive.items() if not one.in_file and rule_id in in_file)


def _problems(listing: Listing, wide: Mapping[str, str]) -> Iterator[Problem]:
    return (Problem(number, wide[rule_id]) for number, rule_id in listing.ids.items() if rule_id in wide)


def _too_wide(rule: Rule) -> str:
    """What is wrong with a rule that would keep out everybody on a large server, or anywhere; "" if it would not."""
    if rule.allow or rule.kind not in WIDE:
        return ""
    problems = extent(rule, (), (), most=MOST_HIT, now=rule.at).problems
    return f"{' '.join(problems)} If it is meant: mknock block {rule.entity} --force" if problems else ""


def _missing(alive: Mapping[str, OwnRule], in_file: Mapping[str, Rule]) -> Iterator[tuple[str, str]]:
    for rule_id, one in alive.items():
        if not one.in_file and rule_id not in in_file:
            line = line_of(one.rule)
            if line is not None:
                yield rule_id, line


def _what_is_odd(data: bytes | None, listing: Listing) -> str:
    """Why a file that held rules a moment ago is not believed; "" if it is."""
    if data is None:
        return "is missing"
    if not data:
        return "is empty all of a sudden"
    if listing.problems and not listing.rules:
        return "holds no line that is a rule"
    return ""


def _left_out(listing: Listing | None, plan: Plan) -> list[Problem]:
    """The lines that do not count, in their order."""
    broken = listing.problems if listing else ()
    return sorted((*broken, *plan.too_wide), key=lambda problem: problem.line)


def _told(problems: Sequence[Problem]) -> str:
    """Which lines do not count, and what is wrong with the first."""
    numbers = [problem.line for problem in problems]
    shown = ", ".join(map(str, numbers[:MOST_NUMBERS])) + (", …" if len(numbers) > MOST_NUMBERS else "")
    return f"lines that do not count ({shown}); line {numbers[0]}: {problems[0].sentence}"


def _edits(plan: Plan) -> Iterator[tuple[Sequence[Rule], Sequence[str]]]:
    """The edits of one look: one transaction, unless there are very many."""
    put = (*plan.new, *plan.changed)
    if len(put) + len(plan.gone) <= BATCH:
        yield put, plan.gone
        return
    for rules in _batches(put):
        yield rules, ()
    for rule_ids in _batches(plan.gone):
        yield (), rule_ids


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
