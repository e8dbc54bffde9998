"""Is this name the rule's, in disguise? And would an innocent person bear it?

Two readings come in, the name's and the rule's; a likeness comes out, or None. Servers, times and doors are the
engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from mknock.matching.affixes import AFFIXES
from mknock.matching.distance import distance, how
from mknock.matching.finding import Kind
from mknock.matching.guard import Guard, Rarity
from mknock.matching.reading import AS_LETTERS, Reading

_REPEATED: Final = re.compile(r"(.)\1\1", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many letters of the rule's skeleton on each likeness counts. What moves what: docs, look-alikes."""

    one_edit: int = 5
    two_edits: int = 8
    one_edit_refused: int = 7
    """One slip in a rare name of so many letters refuses."""
    edit_of_common: int = 5
    """One slip in a common name of so many letters holds."""
    edit_with_number: int = 4
    spelling: int = 5
    """A doubled letter, another separator: refuses a rare name of so many letters."""
    number: int = 5
    """Another number: refuses a rare name of so many letters."""
    number_common: int = 4
    """A number added to a common name of so many letters holds."""
    affix: int = 4
    affix_refused: int = 6
    affix_loose: int = 7
    other_server: int = 7


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a name is like a rule."""

    kind: Kind
    steps: tuple[str, ...]
    distance: int = 0


@dataclass(frozen=True, slots=True)
class Signs:
    """What was done to the core, apart by whether innocent people do it too."""

    steps: tuple[str, ...]
    hostile: bool
    respelled: bool
    """A letter doubled or not, i for l, or separators elsewhere."""


class Judge:
    """Weighs likenesses by a guard and thresholds."""

    __slots__ = ("_at", "_guard")

    def __init__(self, guard: Guard, thresholds: Thresholds) -> None:
        self._guard, self._at = guard, thresholds

    # --- the same skeleton ----------------------------------------------------------------------

    def same(self, name: Reading, rule: Reading, disguised: bool) -> Likeness | None:
        """Judge two readings that share a key. ``disguised`` says that it took odd characters to see it."""
        signs = _signs(name, rule)
        number = _number(name, rule)
        hostile = disguised or signs.hostile
        rarity = self._guard.rarity(rule, as_spelled=True)
        kind = (
            self._same_number(name, rule, signs, hostile, rarity)
            if number.same
            else self._other_number(name, rule, number, hostile, rarity)
        )
        return Likeness(kind, (*signs.steps, *number.steps)) if kind else None

    def _same_number(
        self, name: Reading, rule: Reading, signs: Signs, hostile: bool, rarity: Rarity
    ) -> Kind | None:
        if hostile or not signs.respelled:
            return Kind.SKELETON
        if self._is_another_name(name, rule):
            return None if rarity is Rarity.COMMON and not rule.number else Kind.SKELETON_COMMON
        if len(rule.number) >= 2 or (rarity is Rarity.RARE and len(rule.spelled) >= self._at.spelling):
            return Kind.SKELETON
        return Kind.SKELETON_COMMON

    def _other_number(
        self, name: Reading, rule: Reading, number: Number, hostile: bool, rarity: Rarity
    ) -> Kind | None:
        length = len(rule.spelled)
        if rarity is not Rarity.COMMON and self._is_another_name(name, rule):
            return Kind.NUMBER_COMMON
        if rarity is Rarity.RARE and length >= self._at.number:
            return Kind.NUMBER
        if hostile and length >= self._at.number_common:
            return Kind.NUMBER
        if number.near:
            return Kind.NUMBER
        if number.added and length >= self._at.number_common and not self._is_another_name(name, rule):
            return Kind.NUMBER_COMMON
        return Kind.NUMBER_COMMON if rarity is not Rarity.COMMON and length >= self._at.number_common else None

    def _is_another_name(self, name: Reading, rule: Reading) -> bool:
        """Whether the name is a common one in its own right, and not the rule's."""
        return name.letters != rule.letters and self._guard.rarity(name) is Rarity.COMMON

    # --- a slip of the keyboard -------------------------------------------------------------------

    def close(self, name: Reading, rule: Reading, edits: int, disguised: bool) -> Likeness | None:
        """Judge two readings whose skeletons lie ``edits`` apart."""
        if self._guard.rarity(name) is Rarity.COMMON or name.skeleton[:1] != rule.skeleton[:1]:
            return None
        if self._is_another_person(name, rule):
            return None
        number = _number(name, rule)
        kind = self._closeness(name, rule, edits, number, disguised or name.digits_inside)
        if kind is None:
            return None
        steps = (how(rule.skeleton, name.skeleton), *number.steps)
        return Likeness(kind, steps, edits)

    def _closeness(
        self, name: Reading, rule: Reading, edits: int, number: Number, hostile: bool
    ) -> Kind | None:
        rarity, length = self._guard.rarity(rule, as_spelled=True), len(rule.spelled)
        own_number = number.same and len(rule.number) >= 2
        if rarity is Rarity.RARE and edits == 1 and length >= self._at.one_edit_refused:
            return Kind.DISTANCE if number.same or number.near else Kind.DISTANCE_LOOSE
        if own_number and length >= self._at.edit_with_number:
            return Kind.DISTANCE_LOOSE
        if not number.same and length < self._at.two_edits:
            return None
        if rarity is Rarity.COMMON and edits == 1 and length < self._at.edit_of_common:
            return None
        return Kind.DISTANCE_LOOSE

    def _is_another_person(self, name: Reading, rule: Reading) -> bool:
        """Whether the words differ only by one common word, or one initial, for another."""
        if len(name.words) != len(rule.words) or len(rule.words) < 2:
            return self._has_another_word(name.letters, rule.letters)
        pairs = [(n, r) for n, r in zip(name.words, rule.words, strict=True) if n != r]
        return all(self._are_two_words(n, r) for n, r in pairs)

    def _are_two_words(self, left: str, right: str) -> bool:
        if len(left) == 1 or len(right) == 1:
            return True
        return self._guard.is_common(left) and self._guard.is_common(right)

    def _has_another_word(self, name: str, rule: str) -> bool:
        """Whether two names glued together share one half, and the other halves are both common words."""
        shared = _shared_end(name, rule)
        for end in range(shared, 2, -1):
            rest_name, rest_rule = name[: len(name) - end], rule[: len(rule) - end]
            if self._are_two_long(rest_name, rest_rule) and self._guard.is_common(rule[len(rule) - end :]):
                return True
        shared = _shared_end(name[::-1], rule[::-1])
        for start in range(shared, 2, -1):
            if self._are_two_long(name[start:], rule[start:]) and self._guard.is_common(rule[:start]):
                return True
        return False

    def _are_two_long(self, left: str, right: str) -> bool:
        return min(len(left), len(right)) >= 3 and self._guard.is_common(left) and self._guard.is_common(right)

    # --- something before or behind ---------------------------------------------------------------

    def longer(self, name: Reading, rule: Reading, rest: str, disguised: bool) -> Likeness | None:
        """Judge a name that holds the rule's skeleton at one end, with ``rest`` at the other."""
        rarity, length = self._guard.rarity(rule, as_spelled=True), len(rule.spelled)
        known = _is_affix(rest)
        apart = _is_word_of(rest, name)
        step = f'"{rest}" before or behind it'
        if known and length >= self._at.affix and not self._is_another_name(name, rule):
            sure = rarity is Rarity.RARE and length >= self._at.affix_refused
            if sure or (apart and length >= self._at.affix) or length >= self._at.spelling:
                return Likeness(Kind.AFFIX if sure else Kind.AFFIX_LOOSE, (step,))
        if rarity is Rarity.RARE and length >= self._at.affix_loose and len(rest) >= 2:
            return Likeness(Kind.AFFIX_LOOSE, (step,))
        return None


# --- numbers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """How the numbers around two cores relate."""

    steps: tuple[str, ...]
    same: bool = False
    added: bool = False
    """The rule has none."""
    near: bool = False
    """The rule's own number is in it, or one digit away."""


SAME_NUMBER: Final = Number((), same=True)


def _number(name: Reading, rule: Reading) -> Number:
    if (name.before, name.after) == (rule.before, rule.after):
        return SAME_NUMBER
    if not rule.number:
        return Number((f"number {name.number} dropped",), added=True)
    step = f"number {name.number or 'none'} for {rule.number}"
    return Number((step,), near=_are_near(name.before + name.after, rule.before + rule.after))


def _are_near(name: str, rule: str) -> bool:
    if len(rule) < 2 or not name:
        return False
    if name == rule or (name.startswith(rule) or name.endswith(rule)):
        return True
    return len(rule) >= 3 and len(name) >= 3 and distance(rule, name, 1) is not None


# --- the core -----------------------------------------------------------------------------------


def _signs(name: Reading, rule: Reading) -> Signs:
    steps = [*_digit_steps(name, rule)]
    hostile = bool(steps)
    for step, is_hostile in (*_separator_steps(name, rule), *_letter_steps(name, rule)):
        steps.append(step)
        hostile = hostile or is_hostile
    respelled = len(steps) > 0
    return Signs(tuple(steps), hostile, respelled)


def _digit_steps(name: Reading, rule: Reading) -> Iterator[str]:
    """Digits in the name that are letters in the rule."""
    if name.letters == rule.letters or not name.digits_inside:
        return
    for character in dict.fromkeys(name.letters):
        letter = character.translate(AS_LETTERS)
        if letter != character and name.letters.count(character) > rule.letters.count(character):
            yield f"{character} → {letter}"


def _separator_steps(name: Reading, rule: Reading) -> Iterator[tuple[str, bool]]:
    """Separators that stand elsewhere; between all letters they are hostile."""
    if len(name.words) > 2 and all(len(word) == 1 for word in name.words) and name.words != rule.words:
        yield "separators between all letters dropped", True
    elif name.wrapped and not rule.wrapped:
        yield "separators around it dropped", False
    if [len(w) for w in name.words] != [len(w) for w in rule.words] and len(name.words) != len(rule.words):
        yield "separators dropped", False


def _letter_steps(name: Reading, rule: Reading) -> Iterator[tuple[str, bool]]:
    """Repeated letters, two letters that look like one, and i for l."""
    if name.spelled == rule.spelled:
        return
    ours, theirs = _runs(name.spelled), _runs(rule.spelled)
    if [letter for letter, _ in ours] != [letter for letter, _ in theirs]:
        if name.skeleton == rule.skeleton:
            yield "i, l and 1 are one", False
        else:
            yield "two letters read as one (rn for m, vv for w, cl for d)", True
        return
    changed = [(a, n, m) for (a, n), (_, m) in zip(ours, theirs, strict=True) if n != m]
    hostile = len(changed) > 1 or any(n > 2 and n > m for _, n, m in changed)
    yield f"repeated {' and '.join(letter for letter, _, _ in changed)}", hostile


def _runs(text: str) -> list[tuple[str, int]]:
    return [(letter, len(list(same))) for letter, same in groupby(text)]


def _shared_end(left: str, right: str) -> int:
    count = 0
    while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
        count += 1
    return count


def _is_affix(rest: str) -> bool:
    return rest in AFFIXES or rest in _SKELETONS


_SKELETONS: Final = frozenset(Reading(word).skeleton for word in AFFIXES)


def _is_word_of(rest: str, name: Reading) -> bool:
    return rest in (Reading(name.words[0]).skeleton, Reading(name.words[-1]).skeleton) if name.words else False
