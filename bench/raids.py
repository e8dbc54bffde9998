"""How often is an alarm false in a month of ordinary people, and how many raiders pass before it is raised?

Simulated with the transaction's own steps and the corpus's names; only the tables are replaced by a dictionary.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.corpus import people
from mknock.domain.chance import new_id
from mknock.domain.doors import Door, Limits
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Submission
from mknock.domain.raids import Raid
from mknock.matching.likeness import likeness
from mknock.ports import Attempt
from mknock.storage import sql
from mknock.storage.rows import raid_of
from mknock.storage.transactions.counting import count_knock, counters_of, to_read
from mknock.storage.transactions.raiding import raid_at

START = 1_800_000_000.0
DAY = 86400.0
MONTH = 30 * DAY
MONTHS = 3
"""Simulated for each door, each with chance of its own."""
RATES = {"5 a day": 5, "50 a day": 50, "20 an hour": 480, "100 an hour": 2400, "200 an hour": 4800}
LINKS_A_MONTH = 8
"""How often somebody passes the link around: some dozens come within the hour, the first at once."""
DOOR = Door("main", "!benchmark", limits=Limits(door=10**9, homeserver=10**9, sender=10**9))
_NAMES = people(30_000, seed=4711)
_LARGE = (("matrix.org", 0.45), ("tchncs.de", 0.08), ("envs.net", 0.05), ("mozilla.org", 0.04))

Arrival = tuple[float, str, str]
"""When, whose name, at which homeserver."""


@dataclass
class Watched:
    """A door whose arrivals are counted as the store would."""

    counts: dict[tuple[float, str], int] = field(default_factory=dict)
    newest: Raid | None = None
    raids: list[Raid] = field(default_factory=list)

    def comes(self, at: float, name: str, server: str) -> bool:
        """Somebody knocks; return whether they are held."""
        user = MatrixID(name, server)
        submission = Submission("bench", user)
        attempt = Attempt(new_id(at), DOOR, user, submission, at, trusted=True, likeness=likeness(name))
        counters = counters_of(attempt)
        read = to_read(counters)
        known = [
            self.counts.get((read[place + slot], read[place + 2]))  # type: ignore[arg-type]
            for place in range(0, len(read), 3)
            for slot in (0, 1)
        ]
        if self.newest is not None and not self.newest.is_on(at):
            self.newest = None
        counted = self._walk(count_knock(attempt, counters, known, self.newest, alarming=True))
        raid = self._walk(raid_at(attempt, counted.arrivals, self.newest, alarming=True))
        return raid is not None

    def _walk(self, steps: Any) -> Any:
        rows: Any = None
        try:
            while True:
                statement, parameters = steps.send(rows)
                rows = self._run(statement, parameters)
        except StopIteration as end:
            return end.value

    def _run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        if statement == sql.COUNT_KNOCK:
            for key in zip(parameters[::2], parameters[1::2], strict=True):
                self.counts[key] = self.counts.get(key, 0) + 1
        if statement != sql.SIGN:
            return []
        sign = raid_of(parameters)
        if self.newest is None:
            self.newest = sign
            self.raids.append(sign)
        else:
            self.newest = Raid(**{**_fields(self.newest), "ends_at": sign.ends_at})
        return [(self.newest.id, *parameters[1:])]


def _fields(raid: Raid) -> dict[str, Any]:
    return {name: getattr(raid, name) for name in Raid.__dataclass_fields__}


# --- who comes


def ordinary(a_day: float, length: float, dice: random.Random) -> Iterator[Arrival]:
    """People as they come to a door: few at night, many in the evening, a crowd when the link is passed around."""
    moments = [START + at for at in _poisson(a_day / DAY, length, dice)]
    for _ in range(round(LINKS_A_MONTH * length / MONTH)):
        passed = START + dice.uniform(0, length)
        crowd = min(dice.randint(10, 60), max(5, a_day * 3))
        moments += [passed + dice.expovariate(1 / 2400) for _ in range(int(crowd))]
    small = [f"home{number}.example" for number in range(200)]
    for at in sorted(moments):
        yield at, dice.choice(_NAMES), _server(dice, small)


def _poisson(rate: float, length: float, dice: random.Random) -> Iterator[float]:
    """Moments at a rate that goes with the time of day, from a fifth of the mean to twice it."""
    at, most = 0.0, 2.0
    while (at := at + dice.expovariate(rate * most)) < length:
        share = 1.1 - 0.9 * math.cos(2 * math.pi * (at % DAY) / DAY)
        if dice.random() < share / most:
            yield at


def _server(dice: random.Random, small: list[str]) -> str:
    draw = dice.random()
    for server, share in _LARGE:
        if draw < share:
            return server
        draw -= share
    return small[min(int(dice.expovariate(1 / 40)), len(small) - 1)]


LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"


def _lot(dice: random.Random, characters: str, count: int) -> str:
    return "".join(dice.choices(characters, k=count))


Naming = Callable[[random.Random, int], str]
RAIDS: dict[str, tuple[Naming, str, float]] = {
    "stem and number, 60 a minute": (lambda _, n: f"raider{n:04d}", "matrix.org", 60),
    "stem and number, 1 a minute": (lambda _, n: f"raider{n}", "matrix.org", 1),
    "one name on many servers, 6 a minute": (lambda _, __: "dragon", "many", 6),
    "letters and digits by lot, 6 a minute": (
        lambda dice, _: _lot(dice, LETTERS, 6) + _lot(dice, DIGITS, 4),
        "matrix.org",
        6,
    ),
    "hexadecimal by lot, 6 a minute": (
        lambda dice, _: _lot(dice, "0123456789abcdef", 12),
        "matrix.org",
        6,
    ),
    "two words and a number, 6 a minute": (
        lambda dice, _: (
            f"{_lot(dice, LETTERS, dice.randint(4, 7))}-{_lot(dice, LETTERS, 5)}-{dice.randint(1000, 9999)}"
        ),
        "matrix.org",
        6,
    ),
    "people's names from one small server, 1 a minute": (
        lambda dice, _: dice.choice(_NAMES),
        "evil.example",
        1,
    ),
    "letters by lot, 60 a minute": (lambda dice, _: _lot(dice, LETTERS, 9), "many", 60),
    "people's names, many servers, 6 a minute": (lambda dice, _: dice.choice(_NAMES), "many", 6),
    "people's names, many servers, 1 a minute": (lambda dice, _: dice.choice(_NAMES), "many", 1),
}


def raid(kind: str, begins: float, dice: random.Random) -> Iterator[Arrival]:
    """Three hundred raiders."""
    naming, server, a_minute = RAIDS[kind]
    for number in range(300):
        at = begins + number * 60 / a_minute
        yield at, naming(dice, number), f"open{dice.randint(0, 400)}.example" if server == "many" else server


# --- what is measured


async def raids(_: Path) -> dict[str, float]:
    """Months without a raid at doors of several sizes; raids of several kinds at two of them."""
    false, held, came = 0, 0, 0
    for name, a_day in RATES.items():
        alarms, kept, total = _months(a_day)
        false, held, came = false + alarms, held + kept, came + total
        print(
            f"{name:14} {alarms} alarms in {MONTHS} months; {kept} of {total} people held ({kept / total:.2%})"
        )
    passed = {}
    for kind in RAIDS:
        small, large = _passing(kind, 50), _passing(kind, 480)
        passed[kind] = small
        print(f"{kind:50} {_told(small)} at 50 a day, {_told(large)} at 20 an hour")
    return {
        "false_alarms_a_month": round(false / MONTHS / len(RATES), 3),
        "held_share": round(held / came, 5),
    }


def _told(passed: float | None) -> str:
    return "not noticed" if passed is None else f"{passed:3.0f} pass"


def _months(a_day: float) -> tuple[int, int, int]:
    alarms = held = total = 0
    for seed in range(MONTHS):
        dice, door = random.Random(f"{seed} {a_day}"), Watched()
        outcomes = [door.comes(*arrival) for arrival in ordinary(a_day, MONTH, dice)]
        alarms, held, total = alarms + len(door.raids), held + sum(outcomes), total + len(outcomes)
    return alarms, held, total


def _passing(kind: str, a_day: float) -> float | None:
    """How many raiders pass before the alarm, in the middle of several tries; None if it is not raised."""
    passed = []
    for seed in range(5):
        dice, door = random.Random(f"{seed} {kind} {a_day}"), Watched()
        begins = START + 9 * DAY + dice.uniform(0, DAY)
        raiders = list(raid(kind, begins, dice))
        crowd = (one for one in ordinary(a_day, 11 * DAY, dice))
        passed.append(_before_the_alarm(door, _merged(crowd, raiders), set(raiders)))
    return None if median(passed) >= 300 else median(passed)


def _merged(*streams: Iterable[Arrival]) -> list[Arrival]:
    return sorted(arrival for stream in streams for arrival in stream)


def _before_the_alarm(door: Watched, arrivals: Iterable[Arrival], raiders: set[Arrival]) -> int:
    passed = 0
    for arrival in arrivals:
        held = door.comes(*arrival)
        if arrival in raiders:
            if held:
                return passed
            passed += 1
    return passed
