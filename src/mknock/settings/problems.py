"""What is wrong, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


class SettingsError(Exception):
    """A setting is missing or wrong; the start stops.

    The text holds one line for each problem, which names the setting and says
    what to do, and then the warnings, since a misspelt name often explains
    a missing setting. ``problems`` and ``warnings`` hold them apart.
    """

    def __init__(self, problems: Iterable[str], warnings: Iterable[str] = ()) -> None:
        self.problems, self.warnings = tuple(problems), tuple(warnings)
        super().__init__("\n".join((*self.problems, *self.warnings)))


@dataclass
class Findings:
    """What is wrong, one sentence a setting (the first one found), and what is only odd."""

    problems: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def problem(self, name: str, sentence: str) -> None:
        self.problems.setdefault(name, sentence)

    def sentences(self, order: Sequence[str]) -> list[str]:
        """The problems in the order of the settings; those of the .env file itself come first."""
        places = {name: place for place, name in enumerate(order)}
        return [self.problems[name] for name in sorted(self.problems, key=lambda name: places.get(name, -1))]


def edits(one: str, other: str) -> int:
    """How many letters to insert, drop, change or swap with their neighbour to make one text the other.

    (Damerau-Levenshtein, restricted: no letter is touched twice.)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, right in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]
