"""How many slips of the keyboard lie between two names."""

from __future__ import annotations


def distance(left: str, right: str, most: int) -> int | None:
    """Return the least number of letters put in, left out, replaced or swapped with their neighbour.

    None if it is more than ``most``, which is 2 at most. A swapped pair is
    not edited again (optimal string alignment).
    """
    if left == right:
        return 0
    if abs(len(left) - len(right)) > most:
        return None
    left, right = _trimmed(left, right)
    if _is_one(left, right):
        return 1 if most else None
    return 2 if most > 1 and _is_two(left, right) else None


def _is_one(left: str, right: str) -> bool:
    """Whether one edit is all, of two texts that differ at both ends."""
    return max(len(left), len(right)) == 1 or (len(left) == len(right) == 2 and left == right[::-1])


def _is_two(left: str, right: str) -> bool:
    """Whether two edits do, of two texts that differ at both ends: one is at the start, so the other is at the end."""
    return (
        _is_at_the_end(left[1:], right[1:])
        or _is_at_the_end(left[1:], right)
        or _is_at_the_end(left, right[1:])
        or (left[:2] == right[1::-1] and len(left) > 1 and _is_at_the_end(left[2:], right[2:]))
    )


def _is_at_the_end(left: str, right: str) -> bool:
    """Whether one edit of the last letters, or none, makes them the same."""
    return (
        left[:-1] == right[:-1]
        or left[:-1] == right
        or left == right[:-1]
        or (left[:-2] == right[:-2] and left[-2:] == right[:-3:-1])
    )


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
