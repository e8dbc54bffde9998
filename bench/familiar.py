"""What the names of a room's members are worth, where people's names stand on none of its lists.

A people of the corpus's non-Western names that the guard does not know, borne as names are: the commonest by
many, most of them by few. Some are blocked, some have been members for long, some come anew.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.corpus import KINDS, SERVER, digits, distinct, evasions, names
from bench.matching import NOW, Judge, Listed, Share, independent_guard, mean_share, rule, share
from mknock.matching import Engine, names_in
from mknock.services.familiar_names import shared_names

MEMBERS: Final = (0, 300, 1000, 3000)
BLOCKED: Final = 100
SLICES: Final = 10
NEWCOMERS: Final = 1000
EVADED: Final = 200
SEEDS: Final = (71, 905)
DIFFERENT: Final = 2000
"""First names, and as many last ones."""
EVASIONS: Final = (
    "num_suffix_3_5", "typo_1", "swap_1", "leet", "suffix_word_sep", "prefix_unseen", "elsewhere", "elsewhere+number"
)  # fmt: skip


@dataclass(frozen=True)
class People:
    """Those who share a language. The commonest names come first."""

    first: list[str]
    last: list[str]

    def somebody(self, dice: random.Random) -> str:
        first, last = _borne(self.first, dice), _borne(self.last, dice)
        apart = dice.choice(["", ".", "_"])
        return dice.choice([first, first + digits(dice), first + apart + last, first[0] + apart + last])

    def some(self, count: int, seed: str) -> list[str]:
        dice = random.Random(seed)
        return [f"@{name}:{SERVER}" for name in distinct(lambda: self.somebody(dice), count)]


async def familiar(_: Path) -> dict[str, object]:
    """Print false alarms and recall by how many members there are."""
    print(f"{BLOCKED} people blocked, all bearing names of one people that the lists do not know")
    figures: dict[str, object] = {}
    for seed in SEEDS:
        people = _people(seed)
        blocked = people.some(BLOCKED * SLICES, f"blocked {seed}")
        taken = set(blocked)
        newcomers = [user for user in people.some(NEWCOMERS, f"new {seed}") if user not in taken]
        for count in MEMBERS:
            taught = _taught(people.some(count, f"members {seed}"))
            alarms = mean_share(
                share(map(taught(blocked[start : start + BLOCKED]), newcomers))
                for start in range(0, len(blocked), BLOCKED)
            )
            caught = mean_share(_recall(taught, blocked[:EVADED]))
            print(
                f"seed {seed}, {count:5,} members: of newcomers {alarms.refused:.2f} % refused,"
                f" {alarms.held:.2f} % held; of evasions {caught.refused:.1f} % refused,"
                f" {caught.stopped:.1f} % refused or held"
            )
            figures[f"{seed}/{count}"] = [alarms.refused, alarms.held, caught.refused, caught.stopped]
    return figures


def _people(seed: int) -> People:
    dice, guard = random.Random(seed), independent_guard()
    first, last = (
        [name for name in names()[title] if not guard.is_common(name)]
        for title in ("other first", "other last")
    )
    return People(dice.sample(first, DIFFERENT), dice.sample(last, min(DIFFERENT, len(last))))


def _borne(listed: list[str], dice: random.Random) -> str:
    """A name, each as often as its rank says (Zipf's law)."""
    return listed[int(len(listed) ** dice.random()) - 1]


def _taught(members: list[str]) -> Listed:
    """A guard that knows none of these names, and an engine that knows what the members are called."""
    guard = independent_guard()
    bearers = Counter(name for member in members for name in names_in(member))
    names = shared_names(bearers, guard)

    def listed(ids: list[str]) -> Judge:
        engine = Engine(map(rule, ids), guard=guard)
        engine.know(names)
        return lambda user: engine.look(user, now=NOW).verdict

    return listed


def _recall(taught: Listed, blocked: list[str]) -> list[Share]:
    """Of each kind of evasion, against the one rule that it evades."""
    found = []
    for kind in EVASIONS:
        dice = random.Random(kind)
        localparts = [user[1:].partition(":")[0] for user in blocked]
        pairs = evasions(localparts, KINDS[kind], kind, dice)
        found.append(share(taught([blocked_id])(evasion) for blocked_id, evasion in pairs))
    return found
