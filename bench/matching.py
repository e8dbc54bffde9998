"""How good the look-alike engine is, and what a look costs.

``quality`` prints recall and false alarms on a seed that nothing was tuned on, beside a plain rapidfuzz rule and
beside globs. ``cost`` prints microseconds, growth and memory.
"""

from __future__ import annotations

import fnmatch
import gc
import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Final

from bench.corpus import INNOCENTS, KINDS, NEW_KINDS, OLD_KINDS, SERVER, Corpus, corpus, people, typo
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Engine, Guard, Thresholds, Verdict, default_guard
from mknock.matching.guard import shipped

TUNED_ON: Final = 2
REPORTED_ON: Final = 71
REPORTED_BESIDE: Final = (905, 1234)
"""Two more seeds that nothing was tuned on, to show how much is chance."""
SLICES: Final = 10
NOW: Final = 0.0

Judge = Callable[[str], Verdict]
Listed = Callable[[list[str]], Judge]
"""From a block-list to what it says about an ID."""


# --- who judges ---------------------------------------------------------------------------------


def independent_guard() -> Guard:
    """The shipped guard without the list that shares its source with the corpus."""
    return Guard(shipped("names"), shipped("names", "words"))


def knock(guard: Guard, thresholds: Thresholds | None = None) -> Listed:
    def listed(ids: list[str]) -> Judge:
        engine = Engine(map(rule, ids), guard=guard, thresholds=thresholds)
        engine.settle()
        return lambda user: engine.look(user, now=NOW).verdict

    return listed


def plain_rapidfuzz(ids: list[str]) -> Judge:
    """Refuse what is 85 % alike, the usual recipe."""
    from rapidfuzz import fuzz, process

    names = [_name(user) for user in ids]

    def judge(user: str) -> Verdict:
        found = process.extractOne(_name(user), names, scorer=fuzz.ratio, score_cutoff=85)
        return Verdict.REFUSE if found else Verdict.ADMIT

    return judge


def globs(ids: list[str]) -> Judge:
    """Refuse ``@*name*:*``, as moderators of other bots write it after the second evasion."""
    pattern = re.compile("|".join(fnmatch.translate(f"*{_name(user)}*") for user in ids))
    return lambda user: Verdict.REFUSE if pattern.match(_name(user)) else Verdict.ADMIT


def rule(user: str) -> Rule:
    return Rule(RuleKind.USER, user, user.lower(), "", "bench", "bench", 0.0)


def _name(user: str) -> str:
    return user[1:].partition(":")[0].lower()


# --- quality ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """Per cent refused, and refused or held."""

    refused: float
    stopped: float

    @property
    def held(self) -> float:
        return self.stopped - self.refused

    def __str__(self) -> str:
        return f"{self.refused:6.2f} / {self.stopped:6.2f}"


def share(verdicts: Iterable[Verdict]) -> Share:
    found = list(verdicts)
    refused, held = (100 * found.count(v) / max(len(found), 1) for v in (Verdict.REFUSE, Verdict.HOLD))
    return Share(refused, refused + held)


def mean_share(shares: Iterable[Share]) -> Share:
    found = list(shares)
    return Share(mean(s.refused for s in found), mean(s.stopped for s in found))


def recall(listed: Listed, people: Corpus) -> dict[str, Share]:
    """Of each kind: each evasion against the one rule it evades."""
    judges = {
        user: listed([user]) for user in dict.fromkeys(rule for rule, _ in people.evasions["identical"])
    }
    return {
        kind: share(judges[user](evasion) for user, evasion in pairs)
        for kind, pairs in people.evasions.items()
    }


def false_alarms(listed: Listed, people: Corpus, count: int, slices: int = SLICES) -> dict[str, Share]:
    """Of each stratum of innocents: the mean over slices of the block-list."""
    found: dict[str, list[Share]] = {}
    for start in range(0, min(slices * count, len(people.rules)), count):
        judge = listed(people.rules[start : start + count])
        for stratum, ids in people.innocents.items():
            found.setdefault(stratum, []).append(share(map(judge, ids)))
    return {stratum: mean_share(shares) for stratum, shares in found.items()}


def overall(alarms: dict[str, Share]) -> Share:
    """The strata of the old mix weighed by their sizes."""
    total = sum(INNOCENTS.values())
    return Share(
        sum(alarms[s].refused * n for s, n in INNOCENTS.items()) / total,
        sum(alarms[s].stopped * n for s, n in INNOCENTS.items()) / total,
    )


async def quality(_: Path) -> dict[str, object]:
    """Print the figures of the engine: as shipped, and with a guard that knows nothing of the corpus."""
    western, mixed = corpus(REPORTED_ON), corpus(REPORTED_ON, mixed=True)
    independent, shipped_guard = knock(independent_guard()), knock(default_guard())
    rows: dict[str, tuple[Listed, Corpus, bool]] = {
        "a guard that shares no source with the corpus": (independent, western, True),
        "the same, a third of the block-list with non-Western names": (independent, mixed, True),
        "the guard as shipped, which knows the corpus's first names": (shipped_guard, western, True),
        "as shipped, a third of the block-list with non-Western names": (shipped_guard, mixed, True),
        **{f"as shipped, on seed {seed}": (shipped_guard, corpus(seed), True) for seed in REPORTED_BESIDE},
        "for comparison: rapidfuzz": (plain_rapidfuzz, western, False),
        "for comparison: globs": (globs, western, False),
    }
    figures: dict[str, object] = {}
    for number, (title, (listed, people_, full)) in enumerate(rows.items()):
        print(f"\n{title}:")
        counts = (100, 1000, 10_000) if full else (100, 1000)
        figures[title] = report(listed, people_, kinds=number == 0, counts=counts)
    return figures


def report(
    listed: Listed, people: Corpus, *, kinds: bool = True, counts: Iterable[int] = (100, 1000, 10_000)
) -> dict[str, object]:
    shares = recall(listed, people)
    if kinds:
        for kind in KINDS:
            print(f"  {kind:20} {shares[kind]}   of {len(people.evasions[kind])}")
    old = mean_share(shares[k] for k in OLD_KINDS)
    every = mean_share(shares[k] for k in (*OLD_KINDS, *NEW_KINDS))
    print(f"recall, refused / or held: {old} (32 kinds), {every} (with the harder {len(NEW_KINDS)})")
    figures: dict[str, object] = {
        "recall": [old.refused, old.stopped],
        "recall_hard": [every.refused, every.stopped],
    }
    for count in counts:
        alarms = false_alarms(listed, people, count)
        total = overall(alarms)
        print(f"innocents at {count:6,} rules: refused {total.refused:.3f} %, held {total.held:.3f} %")
        for stratum, found in alarms.items():
            print(f"    {stratum:20} refused {found.refused:.3f} %, held {found.held:.3f} %")
        figures[f"false_{count}"] = [total.refused, total.held]
    for pair, ids in people.pairs.items():
        found = share(listed([a])(b) for a, b in ids)
        print(f"  pair, {pair:18} refused {found.refused:.1f} %, held {found.held:.1f} %")
    return figures


# --- cost ---------------------------------------------------------------------------------------

SIZES: Final = (1_000, 10_000, 100_000)
WILDCARDS: Final = 1_000
LOOKS: Final = 2_000


@dataclass(frozen=True)
class Cost:
    """What a block-list of one size costs. Times in microseconds but for those of loading, which are in seconds."""

    median: float
    p99: float
    nothing: float
    """The median of the looks that find nothing."""
    one_slip: float
    """The median with an engine that looks for one slip only."""
    load: float
    settle: float
    add: float
    memory: float
    """Bytes a rule, without the rule itself."""


async def cost(_: Path) -> dict[str, object]:
    """Print the price of a look at 1,000, 10,000 and 100,000 rules, up to 1,000 of them wildcards."""
    guard = default_guard()
    print("half of the looks are at strangers, half at rules with one typo")
    costs = {size: _cost(size, guard) for size in SIZES}
    for size, found in costs.items():
        print(
            f"{size:7,} rules: {found.median:.0f} µs a look, p99 {found.p99:.0f} µs"
            f" ({found.nothing:.0f} µs where nothing is found, {found.one_slip:.0f} µs for one slip only);"
            f" loaded in {found.load:.2f} s (slips {found.settle:.2f} s more),"
            f" one added in {found.add:.0f} µs, {found.memory:.0f} B a rule"
        )
    few, many = costs[SIZES[0]], costs[SIZES[-1]]
    growth = many.median / few.median
    print(
        f"growth from {SIZES[0]:,} to {SIZES[-1]:,} rules: {growth:.2f} x"
        f" ({many.nothing / few.nothing:.2f} x where nothing is found)"
    )
    print(f"memory with the guard's lists at 10,000 rules: {_memory_of_all():.1f} MB")
    return {"growth": round(growth, 2)} | {str(size): vars(found) for size, found in costs.items()}


def _cost(size: int, guard: Guard) -> Cost:
    listed = some_rules(size)
    began = time.perf_counter()
    engine = Engine(listed, guard=guard)
    loaded = time.perf_counter()
    engine.settle()
    settled = time.perf_counter()
    looks = _looks(listed)
    timed = {user: _timed(engine, user) for user in looks}
    times = sorted(timed.values())
    one_slip = Engine(listed, guard=guard, thresholds=Thresholds(two_edits_apart=999))
    one_slip.settle()
    return Cost(
        median(times),
        times[len(times) * 99 // 100],
        median(timed[user] for user in looks if not engine.look(user, now=NOW).matches),
        median(_timed(one_slip, user) for user in looks),
        loaded - began,
        settled - loaded,
        _added(engine),
        _memory(size),
    )


def some_rules(size: int) -> list[Rule]:
    """Rules as a list shared between communities has them: a third on one server, the rest on 500 others."""
    dice = random.Random(size)
    names = people(size, seed=5)
    wild = min(WILDCARDS, size // 2)
    servers = [SERVER if dice.random() < 1 / 3 else f"s{dice.randint(1, 500)}.example" for _ in names]
    exact = [rule(f"@{name}:{server}") for name, server in zip(names[wild:], servers[wild:], strict=True)]
    return exact + [
        Rule(RuleKind.USER_GLOB, f"@{name}*:*", f"@{name}*:*", "", "bench", "bench", 0.0)
        for name in names[:wild]
    ]


def _looks(listed: list[Rule]) -> list[str]:
    dice = random.Random(1)
    strangers = [f"@{name}:{SERVER}" for name in people(LOOKS // 2, seed=99)]
    exact = [found.entity[1:].partition(":")[0] for found in listed if found.kind is RuleKind.USER]
    return strangers + [
        f"@{typo(name, dice)}:{SERVER}" for name in dice.sample(exact, min(LOOKS // 2, len(exact)))
    ]


def _timed(engine: Engine, user: str) -> float:
    began = time.perf_counter()
    engine.look(user, now=NOW)
    return (time.perf_counter() - began) * 1e6


def _added(engine: Engine, count: int = 200) -> float:
    fresh = [rule(f"@{name}x:{SERVER}") for name in people(count, seed=7)]
    began = time.perf_counter()
    for one in fresh:
        engine.add(one)
    return (time.perf_counter() - began) / count * 1e6


def _memory(size: int) -> float:
    guard, listed = default_guard(), some_rules(size)
    gc.collect()
    tracemalloc.start()
    engine = Engine(listed, guard=guard)
    engine.settle()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used / len(engine)


def _memory_of_all() -> float:
    shipped.cache_clear()
    gc.collect()
    tracemalloc.start()
    kept = Engine(some_rules(10_000))
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) > 0
    return used / 1e6
