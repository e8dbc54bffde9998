"""The look-alike engine's front door: rules in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from mknock.domain.ids import MatrixID
from mknock.domain.rules import Rule, RuleKind
from mknock.matching.confusables import Seen, seen
from mknock.matching.finding import ADMITTED, Action, Finding, Kind, Match, Stance, Verdict, finding
from mknock.matching.guard import Guard, Rarity, default_guard
from mknock.matching.index import Neighbours, entries
from mknock.matching.judge import OWN_NUMBER, Judge, Likeness, Thresholds
from mknock.matching.reading import Reading, reading, readings
from mknock.matching.register import KINDS, Register, without_port

CROWD: Final = 64
"""Rules of one skeleton that a look compares, the oldest first: a wave of thousands costs no more than these."""
LONGEST: Final = 255
"""Letters of a name that are looked at; a Matrix ID has no more."""
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
        self._names = Neighbours(self._thresholds.one_edit, self._thresholds.two_edits)
        self._count = 0
        self.load(rules)

    def __len__(self) -> int:
        return self._count

    # --- rules ------------------------------------------------------------------------------------

    def load(self, rules: Iterable[Rule]) -> None:
        """Add many rules; the index gets its full size at once.

        Raises:
            BadGlob: a pattern is not used.
        """
        rules = list(rules)
        if not self._rules and len(rules) > 100:
            self._names = Neighbours(
                self._thresholds.one_edit, self._thresholds.two_edits, self._expected(rules)
            )
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Add a rule, in place of the one that the same source has for the same entity.

        Raises:
            BadGlob: its pattern is not used.
        """
        self.remove(rule)
        number = len(self._rules)
        register = self._allows if rule.allow else self._blocks
        register.add(rule, number)
        self._rules.append(rule)
        self._count += 1
        if rule.kind is RuleKind.USER and rule.look_alikes and not rule.allow:
            for key in _keys(rule):
                self._join(self._names.add(key), number)

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

    def tidy(self, most: int = 200) -> bool:
        """Do a little of the index's housekeeping, a millisecond or two; return whether there is more to do."""
        return self._names.tidy(most)

    def _expected(self, rules: list[Rule]) -> int:
        """How many entries the index will have, from every 50th rule."""
        sample = [_read(_localpart(rule.entity)).skeleton for rule in rules[::50]]
        entered = sum(entries(skeleton, self._names.reach(skeleton)) for skeleton in sample)
        return int(entered / len(sample) * len(rules) * 1.1) + 1000

    def _join(self, skeleton: int, number: int) -> None:
        there = self._alike.get(skeleton)
        if there is None:
            self._alike[skeleton] = number
        elif isinstance(there, list):
            there.append(number)
        else:
            self._alike[skeleton] = [there, number]

    def _part(self, rule: Rule, number: int) -> None:
        if rule.kind is not RuleKind.USER:
            return
        for key in _keys(rule):
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

        A rule that names the person plainly and refuses ends the look, unless
        it is to be ``thorough``.
        """
        text = str(user)
        localpart, _, server = text.removeprefix("@").partition(":")
        if allowed := self._plainly(self._allows, text, server, now):
            return Finding(Verdict.ADMIT, tuple(Match(match.rule, Kind.ALLOW) for match in allowed))
        matches = self._plainly(self._blocks, text, server, now)
        if not thorough and any(stance.action(match.kind) is Action.REFUSE for match in matches):
            return finding(matches, stance)
        if self._alike:
            named = {id(match.rule) for match in matches}
            matches += (
                match
                for match in self._look_alikes(localpart[:LONGEST], server, now, stance)
                if id(match.rule) not in named
            )
        if display_name:
            matches += self._impersonated(display_name[:LONGEST], server, now)
        return finding(matches, stance) if matches else ADMITTED

    def _plainly(self, register: Register, user: str, server: str, now: float) -> list[Match]:
        numbers = dict.fromkeys(register.naming(user, server))
        rules = (self._rules[number] for number in numbers)
        return [Match(rule, KINDS[rule.kind]) for rule in rules if rule is not None and rule.counts_at(now)]

    def _look_alikes(self, localpart: str, server: str, now: float, stance: Stance) -> Iterator[Match]:
        best: dict[int, Match] = {}
        order = list(Kind)
        host = without_port(server.lower())
        shown = seen(localpart)
        for skeleton, likeness in self._likenesses(shown):
            for number, rule in self._rules_of(skeleton, now):
                like = likeness(rule)
                match = self._match(like, rule, host, stance, shown)
                if match and (
                    number not in best or order.index(match.kind) < order.index(best[number].kind)
                ):
                    best[number] = match
        yield from best.values()

    def _likenesses(self, shown: Seen) -> Iterator[tuple[int, _Judging]]:
        """Each skeleton that is worth a look, and how to judge a rule of it."""
        numbers = self._names.numbers
        ways = readings(shown.text)
        if not ways[0].text:
            return
        for place, way in enumerate(ways):
            for key in way.keys:
                if (found := numbers.get(key)) is not None:
                    yield found, _Judging(self._judge, way, shown)
            if place == 0 or (not way.number and len(way.letters) - len(ways[0].letters) == 1):
                for found, edits in self._names.near(way.skeleton):
                    yield found, _Judging(self._judge, way, shown, edits)
        if len(ways[0].number) >= OWN_NUMBER:
            for found, edits in self._names.near(ways[0].whole):
                yield found, _Judging(self._judge, ways[0], shown, edits)
        for found, rest in self._longer(ways[0].skeleton):
            yield found, _Judging(self._judge, ways[0], shown, rest=rest)
        if ways[0].whole != ways[0].tight:
            for found, rest in self._longer(ways[0].whole):
                if not self._names.skeletons[found].isalpha():
                    yield found, _Judging(self._judge, ways[0], shown, rest=rest, numbered=True)

    def _longer(self, skeleton: str) -> Iterator[tuple[int, str]]:
        """Skeletons at either end of the name's, and what is left of it."""
        numbers = self._names.numbers
        for length in range(self._thresholds.affix, len(skeleton)):
            if (found := numbers.get(skeleton[:length])) is not None:
                yield found, skeleton[length:]
            if (found := numbers.get(skeleton[-length:])) is not None:
                yield found, skeleton[:-length]

    def _rules_of(self, skeleton: int, now: float) -> Iterator[tuple[int, Rule]]:
        numbers = self._alike.get(skeleton)
        if numbers is None:
            return
        for number in numbers[:CROWD] if isinstance(numbers, list) else (numbers,):
            rule = self._rules[number]
            if rule is not None and rule.counts_at(now):
                yield number, rule

    def _match(
        self, like: Likeness | None, rule: Rule, host: str, stance: Stance, shown: Seen
    ) -> Match | None:
        if like is None:
            return None
        steps = (*shown.steps, *like.steps)
        theirs = without_port(rule.key.partition(":")[2])
        if theirs == host:
            return Match(rule, like.kind, steps, like.distance)
        if not stance.other_servers or like.kind not in _ACROSS:
            return None
        name = _read(_localpart(rule.entity))
        rare = self._guard.rarity(name, as_spelled=True) is Rarity.RARE
        if (rare and len(name.skeleton) >= self._thresholds.other_server) or len(name.number) >= 2:
            return Match(rule, Kind.OTHER_SERVER, (*steps, f"server {host} for {theirs}"), like.distance)
        return None

    def _impersonated(self, display_name: str, server: str, now: float) -> list[Match]:
        shown = seen(display_name)
        host = without_port(server.lower())
        found: dict[int, Match] = {}
        for way in readings(shown.text):
            for key in way.keys if way.text else ():
                skeleton = self._names.numbers.get(key)
                for number, rule in self._rules_of(skeleton, now) if skeleton is not None else ():
                    if self._is_telling(rule, host, way):
                        found[number] = Match(rule, Kind.DISPLAY_NAME, (*shown.steps, "by the display name"))
        return list(found.values())

    def _is_telling(self, rule: Rule, host: str, way: Reading) -> bool:
        """Whether a display name that reads like the rule's user says something: a common one does not."""
        name = _read(_localpart(rule.entity))
        if self._guard.rarity(name, as_spelled=True) is Rarity.COMMON:
            return len(name.number) >= 2 and way.number == name.number
        return len(name.skeleton) >= self._thresholds.number


class _Judging:
    """What is left to do once a rule of the skeleton is at hand."""

    __slots__ = ("_edits", "_judge", "_numbered", "_rest", "_shown", "_way")

    def __init__(self, judge: Judge, way: Reading, shown: Seen, edits: int = 0, rest: str = "", numbered: bool = False) -> None:
        self._judge, self._way, self._shown = judge, way, shown
        self._edits, self._rest, self._numbered = edits, rest, numbered

    def __call__(self, rule: Rule) -> Likeness | None:
        name, disguised = _read(_localpart(rule.entity)), self._shown.disguised
        if self._edits:
            return self._judge.close(self._way, name, self._edits)
        if self._rest:
            return self._judge.longer(self._way, name, self._rest, self._numbered)
        return self._judge.same(self._way, name, disguised)


_ACROSS: Final = frozenset({Kind.SKELETON, Kind.SKELETON_COMMON, Kind.NUMBER, Kind.NUMBER_COMMON})


def _keys(rule: Rule) -> list[str]:
    """What a rule's name is found by: its skeletons, and the whole of it if it has a number."""
    name = _read(_localpart(rule.entity))
    if not name.text:
        return []
    return [*name.keys, name.whole] if name.number else list(name.keys)


def _localpart(entity: str) -> str:
    return entity.removeprefix("@").partition(":")[0][:LONGEST]


@lru_cache(maxsize=2048)
def _read(localpart: str) -> Reading:
    return reading(seen(localpart).text)
