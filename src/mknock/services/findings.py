"""What somebody who looked found, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad a finding is; only ``bad`` makes ``mknock doctor`` fail."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found and, unless it is good, how to mend it."""

    what: str
    verdict: Verdict
    says: str


def good(what: str, says: str) -> Finding:
    return Finding(what, Verdict.GOOD, says)


def odd(what: str, says: str) -> Finding:
    return Finding(what, Verdict.ODD, says)


def bad(what: str, says: str) -> Finding:
    return Finding(what, Verdict.BAD, says)
