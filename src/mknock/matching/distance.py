"""How many slips of the keyboard lie between two names."""

from __future__ import annotations


def distance(left: str, right: str, most: int) -> int | None:
    """Return the least number of letters put in, left out, replaced or swapped with their neighbour.

    None if it is more than ``most``. A swapped pair is not edited again
    (optimal string alignment).
    """
    if abs(len(left) - len(right)) > most:
        return None
    left, right = _trimmed(left, right)
    longest = max(len(left), len(right))
    if not left or not right or longest == 1:
        return longest if longest <= most else None
    if longest == 2 and left == right[::-1]:
        return 1
    if most == 1:
        return None
    found = _table(left, right, most)
    return found if found <= most else None


def _trimmed(left: str, right: str) -> tuple[str, str]:
    """The two without what they share at their ends, which never takes an edit."""
    start, shorter = 0, min(len(left), len(right))
    while start < shorter and left[start] == right[start]:
        start += 1
    end = 0
    while end < shorter - start and left[-1 - end] == right[-1 - end]:
        end += 1
    return left[start : len(left) - end], right[start : len(right) - end]


def _table(left: str, right: str, most: int) -> int:
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row, last = row, [i], before
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(before) > most:
            return most + 1
    return row[-1]


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
