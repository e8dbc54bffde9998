"""How many slips of the keyboard lie between two names."""

from __future__ import annotations

from rapidfuzz.distance import OSA


def distance(left: str, right: str, most: int) -> int | None:
    """Return the least number of letters put in, left out, replaced or swapped with their neighbour.

    None if it is more than ``most``. A swapped pair is not edited again
    (optimal string alignment).
    """
    found: int = OSA.distance(left, right, score_cutoff=most)
    return found if found <= most else None


def _trimmed(left: str, right: str) -> tuple[str, str]:
    """The two without what they share at their ends, which never takes an edit."""
    start, shorter = 0, min(len(left), len(right))
    while start < shorter and left[start] == right[start]:
        start += 1
    end, shorter = 1, shorter - start
    while end <= shorter and left[-end] == right[-end]:
        end += 1
    return left[start : len(left) - end + 1], right[start : len(right) - end + 1]


def how(rule: str, name: str) -> str:
    """Say the first difference between two names, for people."""
    left, right = _trimmed(rule, name)
    if not left:
        return f'"{right}" put in'
    if not right:
        return f'"{left}" left out'
    if len(left) == len(right) == 2 and left == right[::-1]:
        return f'"{left}" swapped to "{right}"'
    return f'"{left}" became "{right}"'
