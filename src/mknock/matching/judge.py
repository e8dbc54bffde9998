"""Is this name the rule's, in disguise? And would an innocent person bear it?

Two readings come in, the name's and the rule's; a likeness comes out, or None. Servers, times and doors are the
engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from mknock.matching.affixes import AFFIXES
from mknock.matching.distance import distance, how
from mknock.matching.finding import Kind
from mknock.matching.guard import Guard, Rarity
from mknock.matching.reading import AS_LETTERS, OWN_NUMBER, Reading

_DASH: Final = re.compile("[-…]")
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_DIGITS: Final = "0123456789"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many letters of the rule's skeleton on each likeness counts. What moves what: docs, look-alikes."""

    one_edit: int = 4
    """One slip is looked for at all; from ``edit`` on unless two letters were swapped."""
    edit: int = 5
    end: int = 7
    """One letter more or less at the end, where a surname's initial stands, of a rare name."""
    swap_refused: int = 4
    """Letters swapped: refuses a rare name of more letters than that, one more for each pair."""
    swap_of_common: int = 5
    two_edits: int = 6
    """Two pairs of letters swapped."""
    two_edits_apart: int = 9
    """Any two slips in a rare name."""
    one_edit_refused: int = 7
    """One slip in a rare name of so many letters refuses."""
    one_edit_of_half: int = 7
    """The same for a name with an initial."""
    edit_of_common: int = 5
    """One slip in a common name of so many letters holds."""
    half_of_common: int = 5
    """The same where the name may be another with an initial."""
    edit_and_number: int = 8
    """A slip and another number: holds a rare name of so many letters."""
    other_initial: int = 6
    """A slip in the first letter: holds a name of so many letters that has no initial."""
    spelling: int = 5
    """A doubled letter, another separator: refuses a rare name of so many letters."""
    doubled: int = 6
    """A doubled letter: refuses any name of so many letters."""
    spelling_of_half: int = 6
    """Separators around it or other ones: refuses a name with an initial of so many letters."""
    number: int = 4
    """Another number: refuses a rare name of so many letters."""
    number_half: int = 7
    """The same for a name with an initial."""
    number_dropped: int = 99
    """The rule's number left away: holds a rare name of so many letters."""
    number_common: int = 3
    """A number added to a common name of so many letters holds."""
    number_changed: int = 6
    """Another number: holds a common name of so many letters."""
    read_into: int = 4
    """A number added, and a digit before it read as a letter, where a common name is left without: holds."""
    affix: int = 3
    affix_glued: int = 4
    affix_refused: int = 5
    affix_loose: int = 7
    other_server: int = 7


class Likeness(NamedTuple):
    """How a name is like a rule."""

    kind: Kind
    steps: tuple[str, ...]
    distance: int = 0


class Affix(NamedTuple):
    """What a name has besides the rule's."""

    rest: str
    """In the form of a skeleton."""
    behind: bool
    numbered: bool
    """Whether the name holds the rule's number too."""


class Signs(NamedTuple):
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

    def reach(self, rule: Reading) -> int:
        """From how many edits away names are to be looked at, for the index."""
        return (len(rule.skeleton) >= self._at.one_edit) + (len(rule.skeleton) >= self._at.two_edits_apart)

    # --- the same skeleton ----------------------------------------------------------------------

    def same(self, name: Reading, rule: Reading, disguised: bool) -> Likeness | None:
        """Judge two readings that share a key. ``disguised`` says that it took odd characters to see it."""
        signs = _signs(name, rule)
        if signs is None:
            return self._apart(name, rule)
        number = _number(name, rule)
        hostile = disguised or signs.hostile
        rarity = self._guard.rarity(rule, as_spelled=True)
        if not disguised and self._is_another_name(name, rule):
            kind = Kind.SKELETON_COMMON if number.same and rule.has_own_number else None
        elif name.taken and not number.same and self._guard.is_common(name.letters.strip(_DIGITS)):
            kind = self._read_into(name, rule, number)
        elif number.same:
            kind = self._same_number(name, rule, signs, hostile, rarity)
        else:
            kind = self._other_number(rule, number, hostile, rarity)
        return Likeness(kind, (*signs.steps, *_number_steps(number, name, rule))) if kind else None

    def _apart(self, name: Reading, rule: Reading) -> Likeness | None:
        """Judge two readings whose skeletons are the same only because both lost letters."""
        edits = None if name.taken else distance(name.tight, rule.tight, 2)
        return self.close(name, rule, edits) if edits else None

    def _is_another_name(self, name: Reading, rule: Reading) -> bool:
        """Whether the name is a common one in its own right, and not the rule's."""
        return name.letters != rule.letters and self._guard.rarity(name) is Rarity.COMMON

    def _is_cut(self, name: Reading, rule: Reading) -> bool:
        """Whether separators cut a word where no words are: ``mar.io``."""
        if name.spelled != rule.spelled or len(rule.words) > 1 or min(map(len, name.words)) < 2:
            return False
        return len(name.words) > 1 and not all(map(self._guard.is_common, name.words))

    def _read_into(self, name: Reading, rule: Reading, number: Number) -> Kind | None:
        """Judge a common name that becomes the rule's with digits at its ends as letters, and has a number besides.

        In front people write none; behind, ``joann37`` is a Joann sooner than a ``joanne7``.
        """
        in_front_only = name.letters[0] in _DIGITS and name.letters[-1] not in _DIGITS
        known = number.extended and rule.has_own_number
        if in_front_only or known or len(rule.spelled) >= self._at.read_into:
            return Kind.NUMBER_COMMON
        return None

    def _same_number(self, name: Reading, rule: Reading, signs: Signs, hostile: bool, rarity: Rarity) -> Kind:
        if hostile or not signs.respelled or rule.has_own_number:
            return Kind.SKELETON
        length, together = len(rule.spelled), len(name.words) == len(rule.words)
        if length >= self._at.spelling and (rarity is Rarity.RARE or self._is_cut(name, rule)):
            return Kind.SKELETON
        if together and name.tight != rule.tight and length >= self._at.doubled:  # only a doubled letter
            return Kind.SKELETON
        if together and rarity is Rarity.HALF and length >= self._at.spelling_of_half:
            return Kind.SKELETON
        return Kind.SKELETON_COMMON

    def _other_number(self, rule: Reading, number: Number, hostile: bool, rarity: Rarity) -> Kind | None:
        length = len(rule.spelled)
        if number.dropped:
            return Kind.NUMBER_COMMON if rarity is Rarity.RARE and length >= self._at.number_dropped else None
        if number.extended or length >= (self._at.number, self._at.number_half, 999)[Rarity.RARE - rarity]:
            return Kind.NUMBER
        if length < self._at.number_common:
            return None
        if hostile:
            return Kind.NUMBER
        if number.added or number.near or rarity is not Rarity.COMMON or length >= self._at.number_changed:
            return Kind.NUMBER_COMMON
        return None

    # --- a slip of the keyboard -------------------------------------------------------------------

    def close(self, name: Reading, rule: Reading, edits: int) -> Likeness | None:
        """Judge two readings whose skeletons lie ``edits`` apart."""
        number = _number(name, rule)
        if number.dropped or distance(name.tight, rule.tight, edits) is None:
            return None
        rarities = self._guard.rarity(name), self._guard.rarity(rule, as_spelled=True)
        if number.same and rule.has_own_number:
            sure = edits == 1 and len(rule.spelled) >= self._at.number and rarities[0] is not Rarity.COMMON
            far = edits > 1 and len(rule.spelled) < self._at.two_edits and not _swapped(name, rule)
            kind = None if far else Kind.DISTANCE if sure else Kind.DISTANCE_LOOSE
        elif self._is_their_own(name, rule, rarities):
            return None
        else:
            kind = self._closeness(name, rule, edits, number, rarities[1])
        if kind is None:
            return None
        steps = how(rule.spelled, name.spelled), *_number_steps(number, name, rule)
        return Likeness(kind, steps, edits)

    def _is_their_own(self, name: Reading, rule: Reading, rarities: tuple[Rarity, Rarity]) -> bool:
        """Whether the name is a person's in their own right: a common one, or one with an initial.

        Of short words nearly all are another one with an initial, so beside a
        common name in one piece that says little.
        """
        ours, theirs = rarities
        if ours is not Rarity.HALF or theirs is Rarity.RARE:
            return ours is Rarity.COMMON
        if len(name.words) > 1 or len(rule.words) > 1:
            return True
        return not _swapped(name, rule) and (
            theirs is Rarity.HALF or len(rule.spelled) < self._at.half_of_common
        )

    def _closeness(
        self, name: Reading, rule: Reading, edits: int, number: Number, rarity: Rarity
    ) -> Kind | None:
        length, swapped = len(rule.spelled), _swapped(name, rule)
        if not number.same and (edits > 1 or rarity is not Rarity.RARE or length < self._at.edit_and_number):
            return None
        if not (swapped or self._may_differ(name, rule, edits, rarity)):
            return None
        if self._is_another_person(name, rule):
            return None
        if number.same and self._is_sure(name, rule, edits, rarity, swapped):
            return Kind.DISTANCE
        return Kind.DISTANCE_LOOSE

    def _is_sure(self, name: Reading, rule: Reading, edits: int, rarity: Rarity, swapped: bool) -> bool:
        length = len(rule.spelled)
        if swapped:
            return (
                length
                >= (self._at.swap_refused if rarity is Rarity.RARE else self._at.swap_of_common) + edits
            )
        least = {Rarity.RARE: self._at.one_edit_refused, Rarity.HALF: self._at.one_edit_of_half}.get(
            rarity, 999
        )
        if edits > 1 or length < least:
            return False
        return not _is_unsure(name.tight, rule.tight)

    def _may_differ(self, name: Reading, rule: Reading, edits: int, rarity: Rarity) -> bool:
        """Whether a name that was not just swapped around may still be meant."""
        length = len(rule.spelled)
        if length < self._at.edit or self._is_other_initial(name.tight, rule.tight, rarity):
            return False
        if name.skeleton[0] != rule.skeleton[0] and (
            rarity is Rarity.HALF or length < self._at.other_initial or len(rule.words[0]) < 3
        ):
            return False
        if edits > 1:
            return rarity is Rarity.RARE and length >= self._at.two_edits_apart
        return rarity is not Rarity.COMMON or length >= self._at.edit_of_common

    def _is_other_initial(self, name: str, rule: str, rarity: Rarity) -> bool:
        """Whether the last letter, where a surname's initial stands, is all that differs."""
        if name[:-1] == rule or name == rule[:-1]:
            return rarity is not Rarity.RARE or len(rule) < self._at.end
        return name[:-1] == rule[:-1] and rarity is Rarity.HALF

    def _is_another_person(self, name: Reading, rule: Reading) -> bool:
        """Whether they share their last word, and the others are two common words, or two initials."""
        if not self._guard.is_common(rule.letters) and self._has_another_front(name.letters, rule.letters):
            return True
        if len(name.words) != len(rule.words):
            longer, shorter = sorted((name.words, rule.words), key=len, reverse=True)
            return longer[:-1] == shorter or longer[1:] == shorter
        if len(rule.words) < 2:
            return False
        pairs = [(n, r) for n, r in zip(name.words, rule.words, strict=True) if n != r]
        return all(self._are_two_words(n, r) for n, r in pairs) and name.words[0] != rule.words[0]

    def _are_two_words(self, left: str, right: str) -> bool:
        if len(left) == 1 or len(right) == 1:
            return True
        return self._guard.is_common(left) and self._guard.is_common(right)

    def _has_another_front(self, name: str, rule: str) -> bool:
        """Whether two names glued together end alike, and the longest words that they begin with differ."""
        if name[-1:] != rule[-1:]:
            return False
        ours, theirs = self._front(name), self._front(rule)
        return ours != theirs and "" not in (ours, theirs) and name[len(ours) :] == rule[len(theirs) :]

    def _front(self, name: str) -> str:
        for end in range(len(name) - 1, 2, -1):
            if self._guard.is_name(name[:end]):
                return name[:end]
        return ""

    # --- something before or behind ---------------------------------------------------------------

    def longer(self, name: Reading, rule: Reading, affix: Affix) -> Likeness | None:
        """Judge a name that holds the rule's at one end, and something else at the other."""
        if affix.rest.isdigit() or self._is_another_name(name, rule):
            return None
        kind = self._affixed(name, rule, affix.rest, affix.numbered and rule.has_own_number)
        if kind is None:
            return None
        return Likeness(kind, (f'"{_as_written(name, affix)}" {"behind" if affix.behind else "before"} it',))

    def may_be_affix(self, rest: str, skeleton: str) -> bool:
        """Whether it is worth a look, before any rule is at hand."""
        if len(rest) > 1 and len(skeleton) >= self._at.affix_loose - 2:
            return not rest.isdigit()
        return not _AFFIXES.isdisjoint((rest, skeleton[-1] + rest, rest + skeleton[0]))

    def _affixed(self, name: Reading, rule: Reading, rest: str, numbered: bool) -> Kind | None:
        length, apart = len(rule.spelled), _is_word_of(rest, name)
        known = not _AFFIXES.isdisjoint((rest, rule.skeleton[-1] + rest, rest + rule.skeleton[0]))
        rarity = self._guard.rarity(rule, as_spelled=True)
        rare = rarity is Rarity.RARE or numbered
        if known and (apart or numbered or len(rest) > 1 or rarity is not Rarity.COMMON):
            if (numbered or rarity is not Rarity.COMMON) and length >= self._at.affix_refused:
                return Kind.AFFIX if apart or len(rest) > 2 else Kind.AFFIX_LOOSE
            glued = self._at.affix_glued - (len(rest) > 3) + (len(rest) < 3)
            if length >= (self._at.affix if apart or numbered else glued):
                return Kind.AFFIX_LOOSE
        if rare and len(rest) >= 2 and length + numbered * len(rule.number) >= self._at.affix_loose:
            return None if apart and self._guard.is_common(rest) and not numbered else Kind.AFFIX_LOOSE
        return None


# --- numbers ------------------------------------------------------------------------------------


class Number(NamedTuple):
    """How the numbers around two cores relate."""

    same: bool = False
    added: bool = False
    """The rule has none."""
    dropped: bool = False
    """Only the rule has one."""
    extended: bool = False
    """The rule's own number is in it."""
    near: bool = False
    """The rule's own number is one digit away."""


SAME: Final = Number(same=True)
ADDED: Final = Number(added=True)
DROPPED: Final = Number(dropped=True)


def _number(name: Reading, rule: Reading) -> Number:
    ours, theirs = name.number, rule.number
    if ours == theirs or ours.replace("-", "") == theirs.replace("-", ""):
        return SAME
    if not theirs:
        return ADDED
    if not ours:
        return DROPPED
    near = _are_near(ours, theirs) or (
        name.after == rule.after and not rule.before
    )  # put in front, the rest kept
    return Number(extended=_is_extended(ours, theirs), near=near)


def _number_steps(number: Number, name: Reading, rule: Reading) -> tuple[str, ...]:
    if number.same:
        return ()
    if number.added:
        return (f"number {name.number} dropped",)
    if number.dropped:
        return (f"number {rule.number} missing",)
    return (f"number {name.number} for {rule.number}",)


def _is_extended(name: str, rule: str) -> bool:
    """Whether the rule's own number is still to be seen."""
    groups = _DASH.split(name)
    if rule in groups and (len(rule) >= OWN_NUMBER or groups[0] == rule):
        return True
    name, rule = _DASH.sub("", name), _DASH.sub("", rule)
    return len(rule) >= OWN_NUMBER and (name.startswith(rule) or name.endswith(rule))


def _are_near(name: str, rule: str) -> bool:
    """Whether they are long and one digit apart, and not just two years."""
    if len(rule) < OWN_NUMBER:
        return name.startswith(rule)
    if (
        len(rule) <= OWN_NUMBER
        or len(name) <= OWN_NUMBER
        or (_YEAR.fullmatch(name) and _YEAR.fullmatch(rule))
    ):
        return False
    return distance(rule, name, 1) is not None


# --- the core -----------------------------------------------------------------------------------


NOTHING: Final = Signs((), hostile=False, respelled=False)


def _signs(name: Reading, rule: Reading) -> Signs | None:
    """What makes the name from the rule; None if they only seem alike."""
    if name.text == rule.text and not name.wrapped:
        return NOTHING
    if name.taken and name.tight != rule.tight:  # a digit at the end would have to be a letter *and* vanish
        return None
    digits = [*_digit_steps(name, rule)]
    letters = _letter_step(name, rule, bool(digits))
    if letters is None:
        return None
    found = [*((step, True) for step in digits), *_separator_steps(name, rule), *letters]
    return Signs(tuple(step for step, _ in found), any(hostile for _, hostile in found), bool(found))


def _digit_steps(name: Reading, rule: Reading) -> Iterator[str]:
    """Digits in the name that are letters in the rule."""
    if name.letters == rule.letters or not name.digits_inside:
        return
    if len(name.letters) == len(rule.letters):
        pairs = zip(name.letters, rule.letters, strict=True)
        yield from dict.fromkeys(
            f"{ours} → {theirs}" for ours, theirs in pairs if not ours.isalpha() and ours != theirs
        )
        return
    for character in dict.fromkeys(name.letters):
        letter = character.translate(AS_LETTERS)
        if letter != character and name.letters.count(character) > rule.letters.count(character):
            yield f"{character} → {letter}"


def _separator_steps(name: Reading, rule: Reading) -> Iterator[tuple[str, bool]]:
    """Separators that stand elsewhere; between all letters they are hostile."""
    if len(name.words) > 2 and all(len(word) == 1 for word in name.words) and name.words != rule.words:
        yield "separators between all letters dropped", True
    elif len(name.words) != len(rule.words):
        yield "separators dropped", False
    elif name.text != rule.text and len(name.words) > 1:
        yield "other separators", False
    if name.wrapped and not rule.wrapped:
        yield "separators around it dropped", False


def _letter_step(name: Reading, rule: Reading, digits: bool) -> list[tuple[str, bool]] | None:
    """Repeated letters, two letters that look like one, or i for l; None if it takes too much of that at once."""
    if name.spelled == rule.spelled:
        return []
    if name.tight == rule.tight:
        return [] if digits else [("i and l are one", False)]
    if name.skeleton != rule.skeleton:
        return [("two letters read as one (rn for m, vv for w, cl for d)", True)]
    ours, theirs = _runs(name.spelled), _runs(rule.spelled)
    if [letter for letter, _ in ours] != [letter for letter, _ in theirs]:
        return [("1 → i, letters repeated", True)] if digits else None
    changed = [(a, n, m) for (a, n), (_, m) in zip(ours, theirs, strict=True) if n != m]
    hostile = len(changed) > 1 or any(n > 2 and n > m for _, n, m in changed)
    return [(f"repeated {' and '.join(letter for letter, _, _ in changed)}", hostile)]


def _runs(text: str) -> list[tuple[str, int]]:
    return [(letter, len(list(same))) for letter, same in groupby(text)]


def _swapped(name: Reading, rule: Reading) -> bool:
    """Whether the letters are the same, in another order."""
    return len(name.tight) == len(rule.tight) and sorted(name.tight) == sorted(rule.tight)


def _is_unsure(left: str, right: str) -> bool:
    """Whether one is the other and one more letter, as a surname's initial would be, or begins otherwise."""
    return left[:-1] == right or left == right[:-1] or left[0] != right[0]


_AFFIXES: Final = frozenset(
    form for word in AFFIXES for form in (Reading(word).skeleton, Reading(word).tight)
)


def _as_written(name: Reading, affix: Affix) -> str:
    """The affix as it stands in the name; as in the skeleton if it does not stand there in one piece."""
    text = name.letters
    for length in range(len(affix.rest), len(text)):
        piece = text[-length:] if affix.behind else text[:length]
        if Reading(piece).skeleton == affix.rest:
            return piece
    return affix.rest


def _is_word_of(rest: str, name: Reading) -> bool:
    if len(name.words) < 2:
        return False
    return rest in (Reading(name.words[0]).skeleton, Reading(name.words[-1]).skeleton)
