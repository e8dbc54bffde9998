"""The look-alike engine's front door: rules in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from mknock.domain.ids import MatrixID
from mknock.domain.rules import Rule, RuleKind
from mknock.garbage import no_garbage
from mknock.matching import glob
from mknock.matching.confusables import Seen, seen
from mknock.matching.finding import ADMITTED, RANK, Action, Finding, Kind, Match, Stance, Verdict, finding
from mknock.matching.guard import Guard, Rarity, default_guard
from mknock.matching.index import Neighbours
from mknock.matching.judge import Affix, Judge, Likeness, Thresholds
from mknock.matching.reading import OWN_NUMBER, Reading, other_skeletons, reading, taken
from mknock.matching.register import KINDS, Register, without_port

CROWD: Final = 10
"""Rules of one skeleton that a look compares: a wave of thousands costs no more than these."""
VERY_MANY: Final = 20_000
"""Rules from which on a load does not wait for its index of slips."""
LONGEST: Final = 255
"""Letters of a name that are looked at; a Matrix ID has no more."""
MILDER: Final = {
    Kind.SKELETON: Kind.SKELETON_COMMON,
    Kind.NUMBER: Kind.NUMBER_COMMON,
    Kind.AFFIX: Kind.AFFIX_LOOSE,
    Kind.DISTANCE: Kind.DISTANCE_LOOSE,
}
"""What a resemblance that is refused becomes where it is held."""
EVERY_DOOR: Final = Stance()


class Engine:
    """Says whom a block-list means, and whom it might mean.

    A look costs the same whatever the number of rules, and no look waits for
    the index: rules that were added one by one lie in small tables until
    ``tidy`` has put them into the large one.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        guard: Guard | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self._thresholds = thresholds or Thresholds()
        self._guard = guard or default_guard()
        self._judge = Judge(self._guard, self._thresholds)
        self._allows, self._blocks = Register(), Register()
        self._rules: list[Rule | None] = []
        self._alike: dict[int, int | list[int]] = {}
        """Numbers of rules, by the number of their skeleton."""
        self._names = Neighbours()
        self._count = 0
        self._familiar: frozenset[str] = frozenset()
        self._milder: Judge | None = None
        self.load(rules)

    def __len__(self) -> int:
        return self._count

    # --- rules ------------------------------------------------------------------------------------

    def load(self, rules: Iterable[Rule]) -> None:
        """Add many rules at once.

        Of a very long list, names with a slip of the keyboard are found when
        ``tidy`` or ``settle`` have had their time; everything else at once.

        Raises:
            BadGlob: a pattern is not used.
        """
        rules = list(rules)
        with no_garbage():
            for rule in rules:
                self.add(rule, later=True)
            if len(rules) <= VERY_MANY:
                self.settle()

    @staticmethod
    def check(rule: Rule) -> None:
        """See whether a rule can be used.

        Raises:
            BadGlob: its pattern is not used; the text says why.
        """
        if rule.kind in (RuleKind.USER_GLOB, RuleKind.SERVER_GLOB):
            glob.check(rule.key)

    def add(self, rule: Rule, *, later: bool = False) -> None:
        """Add a rule, in place of the one that the same source has for the same entity.

        Its slips of the keyboard are left to ``tidy`` if they may come ``later``.

        Raises:
            BadGlob: its pattern is not used.
        """
        register = self._allows if rule.allow else self._blocks
        if register.under(rule):
            self.remove(rule)
        number = len(self._rules)
        register.add(rule, number)
        self._rules.append(rule)
        self._count += 1
        if rule.kind is RuleKind.USER and rule.look_alikes and not rule.allow:
            self._add_name(rule, number, later)

    def _add_name(self, rule: Rule, number: int, later: bool) -> None:
        name = reading(seen(_localpart(rule)).text)
        for key, reach in self._keys(name):
            letters = name.tight if reach and key is name.skeleton else ""
            self._join(self._names.add(key, reach, letters, later=later), number, first=not name.number)

    def remove(self, rule: Rule) -> bool:
        """Take out what ``rule``'s source has for its entity; return whether there was something."""
        register = self._allows if rule.allow else self._blocks
        for number in register.under(rule):
            there = self._rules[number]
            if there is not None and (there.kind, there.source) == (rule.kind, rule.source):
                register.remove(there, number)
                self._rules[number] = None
                self._count -= 1
                self._part(there, number)
                return True
        return False

    def know(self, names: Iterable[str]) -> None:
        """Be milder with these names, in place of those that were told before, since innocent people bear them.

        Whom the engine would refuse for a resemblance, but not if these names
        were common, it holds. Nobody is admitted for them, so whoever
        smuggles in a name gains little.
        """
        told = frozenset(names)
        if told != self._familiar:
            self._familiar = told
            self._milder = Judge(self._guard.knowing(told), self._thresholds) if told else None

    def tidy(self, most: int = 20) -> bool:
        """Do a little of the index's housekeeping, about a millisecond; return whether there is more to do."""
        return self._names.tidy(most)

    def settle(self) -> None:
        """Do all of the housekeeping now."""
        while self.tidy(5000):
            pass

    def _keys(self, name: Reading) -> Iterator[tuple[str, int]]:
        """What a rule's name is found by, each with its reach: its skeletons, and the whole of it with a number."""
        if not name.text:
            return
        skeleton, *paired = name.keys
        yield skeleton, self._judge.reach(name)
        for key in paired:
            yield key, 0
        if name.number:
            yield name.whole, int(name.has_own_number)

    def _join(self, skeleton: int, number: int, *, first: bool) -> None:
        """Enter a rule under its skeleton; one without a number stands first, since it says most."""
        there = self._alike.get(skeleton)
        if there is None:
            self._alike[skeleton] = number
        elif not isinstance(there, list):
            self._alike[skeleton] = [number, there] if first else [there, number]
        elif number not in there[-2:]:
            there.insert(0 if first else len(there), number)

    def _part(self, rule: Rule, number: int) -> None:
        if rule.kind is not RuleKind.USER:
            return
        for key, _ in self._keys(_read(_localpart(rule))):
            skeleton = self._names.numbers.get(key)
            there = self._alike.get(skeleton) if skeleton is not None else None
            if isinstance(there, list) and number in there:
                there.remove(number)
            elif there == number and skeleton is not None:
                del self._alike[skeleton]

    # --- looking ----------------------------------------------------------------------------------

    def look(
        self,
        user: MatrixID | str,
        display_name: str = "",
        *,
        now: float,
        stance: Stance = EVERY_DOOR,
        thorough: bool = False,
    ) -> Finding:
        """Say what the rules make of a person. Takes any text whatever, and never raises.

        The first rule that refuses ends the look, unless it is to be
        ``thorough``.
        """
        text = str(user)
        localpart, _, server = text.removeprefix("@").partition(":")
        matches = self._plainly(self._blocks, text, server, now)
        if allowed := self._allowing(text, server, now, matches):
            return Finding(Verdict.ADMIT, tuple(Match(match.rule, Kind.ALLOW) for match in allowed))
        if matches and not thorough and (found := finding(matches, stance)).verdict is Verdict.REFUSE:
            return found
        if self._alike:
            named = {id(match.rule) for match in matches}
            alike = self._look_alikes(localpart[:LONGEST], server, now, stance, thorough)
            matches += [match for match in alike if id(match.rule) not in named] if named else alike
        if display_name:
            matches += self._impersonated(display_name[:LONGEST], now)
        return finding(matches, stance) if matches else ADMITTED

    def naming(self, user: MatrixID | str, *, now: float) -> Rule | None:
        """The rule that plainly blocks a person, unless another plainly allows them; no resemblance counts."""
        text = str(user)
        server = text.partition(":")[2]
        blocks = self._plainly(self._blocks, text, server, now)
        if not blocks or self._allowing(text, server, now, blocks):
            return None
        return blocks[0].rule

    def _allowing(self, user: str, server: str, now: float, blocks: list[Match]) -> list[Match]:
        """What lets a person in. A list that others keep cannot let in whom the owner keeps out."""
        allows = self._plainly(self._allows, user, server, now)
        if any(match.rule.is_own for match in blocks):
            return [match for match in allows if match.rule.is_own]
        return allows

    def _plainly(self, register: Register, user: str, server: str, now: float) -> list[Match]:
        if not register.count or not (numbers := register.naming(user, server)):
            return []
        rules = (self._rules[number] for number in numbers)
        return [Match(rule, KINDS[rule.kind]) for rule in rules if rule is not None and rule.counts_at(now)]

    def _look_alikes(
        self, localpart: str, server: str, now: float, stance: Stance, thorough: bool
    ) -> list[Match]:
        """The surest match of each rule that the name resembles, up to the first that refuses."""
        best: dict[int, Match] = {}
        host, shown = without_port(server.lower()), seen(localpart)
        for skeleton, likeness in self._likenesses(shown):
            likenesses: dict[str, Likeness | None] = {}
            across = likeness.reaches_across and stance.other_servers
            for number, rule in self._rules_of(skeleton, now, likeness.crowd):
                name, _, theirs = rule.key[1:].partition(":")
                elsewhere = theirs != host and without_port(theirs) != host
                if elsewhere and not (across and self._is_telling(name)):
                    continue
                if name not in likenesses:
                    likenesses[name] = self._weighed(likeness, _read(name[:LONGEST]))
                if (like := likenesses[name]) is None:
                    continue
                match = _match(like, rule, shown, f"server {host} for {theirs}" if elsewhere else "")
                if number not in best or RANK[match.kind] < RANK[best[number].kind]:
                    best[number] = match
                    if not thorough and stance.action(match.kind) is Action.REFUSE:
                        return list(best.values())
        return list(best.values())

    def _weighed(self, likeness: _Judging, rule: Reading) -> Likeness | None:
        """How the name is like the rule; what refuses only as long as nobody is known to bear the name, is held."""
        like = likeness(self._judge, rule)
        if like is None or self._milder is None or like.kind not in MILDER:
            return like
        again = likeness(self._milder, rule)
        return (
            like if again is not None and again.kind is like.kind else like._replace(kind=MILDER[like.kind])
        )

    def _likenesses(self, shown: Seen) -> Iterator[tuple[int, _Judging]]:
        """Each skeleton that is worth a look, and how to judge a name of it."""
        numbers, plain = self._names.numbers, reading(shown.text)
        if not plain.text:
            return
        disguised = shown.disguised
        for key in (*plain.keys, plain.whole) if plain.number else plain.keys:
            if (found := numbers.get(key)) is not None:
                yield found, _Same(plain, disguised)
        yield from self._close(plain)
        if plain.number:
            for key, way in other_skeletons(shown.text, plain):
                if (found := numbers.get(key)) is not None:
                    yield found, _Same(taken(plain, way), disguised)
            if len(plain.number) == 1:  # that digit may be a letter, and another letter wrong
                way = (plain.before, ""), (plain.after, "")
                yield from self._close(taken(plain, way))
        yield from self._longer(plain)

    def _close(self, name: Reading) -> Iterator[tuple[int, _Judging]]:
        if not self._guard.is_common(name.letters):  # who bears a common name made no slip
            for found, edits in self._names.near(name.skeleton, name.tight)[:CROWD]:
                yield found, _Close(name, edits)
            if name.tight != name.skeleton:  # the slip may have made the double
                for found, edits in self._names.near(name.tight, most=1)[:CROWD]:
                    yield found, _Close(name, edits)
        if name.has_own_number:
            for found, edits in self._names.near(name.whole, most=1)[:CROWD]:
                yield found, _Close(name, edits)

    def _longer(self, name: Reading) -> Iterator[tuple[int, _Judging]]:
        """Skeletons at either end of the name's, and what is left of it."""
        skeletons = self._names.skeletons
        for text, numbered in ((name.skeleton, False), (name.whole, True)):
            if numbered and text == name.tight:
                return
            for found, behind in self._at_either_end(text):
                end = skeletons[found]
                rest = text[len(end) :] if behind else text[: -len(end)]
                if self._judge.may_be_affix(rest, end) and not (numbered and end.isalpha()):
                    yield found, _Longer(name, Affix(rest, behind, numbered))

    def _at_either_end(self, text: str) -> list[tuple[int, bool]]:
        """Skeletons that the text begins or ends with, and whether the rest is behind them; the shortest first."""
        numbers, found = self._names.numbers, []
        for length in range(self._thresholds.affix - 1, len(text)):
            if (end := text[:length]) in numbers:
                found.append((numbers[end], True))
            if (end := text[-length:]) in numbers:
                found.append((numbers[end], False))
        return found

    def _rules_of(self, skeleton: int, now: float, most: int = CROWD) -> list[tuple[int, Rule]]:
        """The rules under a skeleton that count, at most so many, each with its number."""
        numbers = self._alike.get(skeleton)
        if numbers is None:
            return []
        if not isinstance(numbers, list):
            rule = self._rules[numbers]
            return [(numbers, rule)] if rule is not None and rule.counts_at(now) else []
        found = ((number, self._rules[number]) for number in numbers[:most])
        return [(number, rule) for number, rule in found if rule is not None and rule.counts_at(now)]

    def _is_telling(self, localpart: str) -> bool:
        """Whether two people on different servers are unlikely to have chosen the same name."""
        if self._is_short(localpart):
            return False
        name = _read(localpart[:LONGEST])
        if name.has_own_number:
            return True
        return len(name.spelled) >= self._thresholds.other_server and (
            self._guard.rarity(name, as_spelled=True) is Rarity.RARE
        )

    def _is_short(self, localpart: str) -> bool:
        """Whether a name is too short to tell anything, before it is read."""
        if len(localpart) >= self._thresholds.other_server or not localpart.isascii():
            return False
        return sum(map(str.isdigit, localpart)) < OWN_NUMBER

    def _impersonated(self, display_name: str, now: float) -> list[Match]:
        """Rules whose user name the display name reads like. What is common says nothing."""
        shown = seen(display_name)
        plain = reading(shown.text)
        ways = (taken(plain, way) for _, way in other_skeletons(shown.text, plain))
        found: dict[int, Match] = {}
        for way in (plain, *ways) if plain.text else ():
            for key in way.keys:
                skeleton = self._names.numbers.get(key)
                for number, rule in self._rules_of(skeleton, now) if skeleton is not None else ():
                    name = _localpart(rule)
                    if self._is_telling(name) and way.number in ("", _read(name).number):
                        found[number] = Match(rule, Kind.DISPLAY_NAME, (*shown.steps, "by the display name"))
        return list(found.values())


class _Judging:
    """What is left to do once a rule of the skeleton is at hand."""

    __slots__ = ("_name",)

    reaches_across = False
    """Whether it counts when the rule is of another server."""
    crowd = 4
    """How many rules of the skeleton are worth it."""

    def __init__(self, name: Reading) -> None:
        self._name = name

    def __call__(self, judge: Judge, rule: Reading) -> Likeness | None:
        raise NotImplementedError


class _Same(_Judging):
    __slots__ = ("_disguised",)
    reaches_across = True
    crowd = CROWD

    def __init__(self, name: Reading, disguised: bool) -> None:
        super().__init__(name)
        self._disguised = disguised

    def __call__(self, judge: Judge, rule: Reading) -> Likeness | None:
        return judge.same(self._name, rule, self._disguised)


class _Close(_Judging):
    __slots__ = ("_edits",)

    def __init__(self, name: Reading, edits: int) -> None:
        super().__init__(name)
        self._edits = edits

    def __call__(self, judge: Judge, rule: Reading) -> Likeness | None:
        return judge.close(self._name, rule, self._edits)


class _Longer(_Judging):
    __slots__ = ("_affix",)

    def __init__(self, name: Reading, affix: Affix) -> None:
        super().__init__(name)
        self._affix = affix

    def __call__(self, judge: Judge, rule: Reading) -> Likeness | None:
        return judge.longer(self._name, rule, self._affix)


def _match(like: Likeness, rule: Rule, shown: Seen, elsewhere: str) -> Match:
    """The match that a likeness makes; ``elsewhere`` says so if the rule's server is another."""
    if elsewhere:
        return Match(rule, Kind.OTHER_SERVER, (*shown.steps, *like.steps, elsewhere), like.distance)
    return Match(rule, like.kind, (*shown.steps, *like.steps), like.distance)


def names_in(user_id: str) -> set[str]:
    """What a person's user name consists of: its core, and the first and last word of that; nothing with digits."""
    name = _read(user_id.removeprefix("@").partition(":")[0][:LONGEST])
    return {text for text in (name.letters, *name.words[:1], *name.words[-1:]) if text.isalpha()}


def _localpart(rule: Rule) -> str:
    return rule.key[1:].partition(":")[0][:LONGEST]


@lru_cache(maxsize=4096)
def _read(localpart: str) -> Reading:
    return reading(seen(localpart).text)
