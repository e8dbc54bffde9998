"""How many slips of the keyboard lie between two names."""

from __future__ import annotations


def distance(left: str, right: str, most: int) -> int | None:
    """Return the least number of letters put in, left out, replaced or swapped with their neighbour.

    None if it is more than ``most``. A swapped pair is not edited again
    (optimal string alignment). Quick for the one or two edits it is asked for.
    """
    for edits in range(most + 1):
        if _within(left, right, edits):
            return edits
    return None


def _within(left: str, right: str, edits: int) -> bool:
    """Whether so many edits make one into the other. What both begin with never needs one."""
    if edits == 0:
        return left == right
    if abs(len(left) - len(right)) > edits:
        return False
    at = _shared(left, right)
    left, right = left[at:], right[at:]
    return (
        _within(left[1:], right[1:], edits - 1)
        or _within(left[1:], right, edits - 1)
        or _within(left, right[1:], edits - 1)
        or (left[:2] == right[1::-1] != "" and _within(left[2:], right[2:], edits - 1))
    )


def _shared(left: str, right: str) -> int:
    """How many letters both begin with."""
    at = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        at += 1
    return at


def _trimmed(left: str, right: str) -> tuple[str, str]:
    """The two without what they share at their ends."""
    start = _shared(left, right)
    left, right = left[start:], right[start:]
    end = _shared(left[::-1], right[::-1])
    return left[: len(left) - end], right[: len(right) - end]


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
