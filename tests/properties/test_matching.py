"""What holds for every name and every list: nothing raises, nothing is overlooked, nothing takes for ever."""

from __future__ import annotations

import re
import string
import time
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from mknock.domain.rules import Rule, RuleKind
from mknock.matching import BadGlob, Engine, Verdict, default_guard, read_rules
from mknock.matching.confusables import seen
from mknock.matching.distance import distance
from mknock.matching.glob import MOST_WILDCARDS, Glob, Globs
from mknock.matching.index import Neighbours
from mknock.matching.packed import HASH, PackedTable
from mknock.matching.reading import reading

anything = st.text(st.characters(exclude_categories=[]), max_size=40)  # lone surrogates included
names = st.text("abcilmnr01.-_", max_size=14)
words = st.text("abc", min_size=1, max_size=16)
patterns = st.text("ab*?:.@", max_size=12)

long_words = st.text("abcde", min_size=7, max_size=16)
Edit = tuple[str, int, str]
"""What is done, where, and with which letter."""
edits = st.tuples(
    st.sampled_from(["put in", "left out", "replaced", "swapped"]), st.integers(0, 15), st.sampled_from("abx")
)
LEET = dict(zip("abegilostz", "4839110572", strict=True))


def edited(text: str, edit: Edit) -> str:
    """The text with one slip of the keyboard."""
    how, place, letter = edit
    at = place % max(len(text), 1)
    first, rest = text[:at], text[at:]
    return {
        "put in": first + letter + rest,
        "left out": first + rest[1:],
        "replaced": first + letter + rest[1:],
        "swapped": first + rest[:2][::-1] + rest[2:],
    }[how]


@cache
def an_engine() -> Engine:
    lines = (
        "@mario:x.org\n@kvothrandir:x.org\n@anna1990:x.org\n*.evil.example\n@spam*:*\nallow @alice:x.org\n"
    )
    rules, _ = read_rules(lines.encode(), source="file", author="", at=0.0)
    return Engine(rules)


def user_rule(user: str, number: int = 0) -> Rule:
    return Rule(RuleKind.USER, user, user.lower(), "", f"source{number}", "", 0.0)


@given(anything, anything)
def test_no_name_whatever_raises(user: str, display_name: str) -> None:
    assert an_engine().look(user, display_name, now=0.0, thorough=True).verdict in Verdict


@given(anything, anything)
def test_no_rule_whatever_raises(user: str, other: str) -> None:
    engine = Engine([user_rule(user), user_rule(f"@{other}:x.org", 1)])
    assert engine.look(user, now=0.0).verdict is Verdict.REFUSE
    engine.look(f"@{user}:x.org", other, now=0.0)
    assert engine.remove(user_rule(user))


@given(st.binary(max_size=200))
def test_no_file_whatever_raises(data: bytes) -> None:
    rules, _ = read_rules(data, source="file", author="", at=0.0)
    Engine(rules).look("@mario:x.org", now=0.0)


@given(anything)
def test_what_was_seen_is_seen_again(text: str) -> None:
    once = seen(text).text
    assert seen(once).text == once


@given(names)
def test_a_skeleton_is_its_own_skeleton(text: str) -> None:
    skeleton = reading(text).skeleton
    assert reading(skeleton).skeleton == skeleton


@given(names)
def test_a_name_always_reads_like_itself(name: str) -> None:
    engine = Engine([user_rule(f"@{name}:x.org")])
    assert engine.look(f"@{name}:x.org", now=0.0).verdict is Verdict.REFUSE


@given(st.lists(words, max_size=30), words, st.integers(1, 2))
def test_the_index_finds_what_a_scan_finds(skeletons: list[str], text: str, most: int) -> None:
    reach = {skeleton: (len(skeleton) >= 3) + (len(skeleton) >= 6) for skeleton in skeletons}
    index = Neighbours()
    for skeleton in skeletons:
        index.add(skeleton, reach[skeleton])
    found = {index.skeletons[number]: edits for number, edits in index.near(text, most=most)}
    assert found == {
        skeleton: edits
        for skeleton in skeletons
        if (edits := distance(skeleton, text, min(reach[skeleton], most)))
    }


@given(long_words, st.lists(edits, max_size=2))
def test_two_slips_are_found_wherever_they_are(skeleton: str, slips: list[Edit]) -> None:
    index, text = Neighbours(), skeleton
    index.add(skeleton, 2)
    for slip in slips:
        text = edited(text, slip)
    apart = distance(skeleton, text, 2)
    assert apart is None or [edits for _, edits in index.near(text)] == [apart] * (apart > 0)


@settings(max_examples=50)
@given(st.text(string.ascii_lowercase, min_size=4, max_size=14), st.data())
def test_digits_for_letters_are_seen_wherever_they_stand(name: str, data: st.DataObject) -> None:
    engine = Engine([user_rule(f"@{name}:x.org")])
    places = [i for i, letter in enumerate(name) if letter in LEET]
    kept = data.draw(st.sampled_from(range(len(name))))  # a name of digits is like no other
    chosen = data.draw(st.sets(st.sampled_from(places))) - {kept} if places else set()
    disguised = "".join(LEET[letter] if i in chosen else letter for i, letter in enumerate(name))
    assert engine.look(f"@{disguised}:x.org", now=0.0).verdict is Verdict.REFUSE


@settings(max_examples=30)
@given(st.lists(names, min_size=1, max_size=20, unique=True), st.lists(names, min_size=1, max_size=10))
def test_a_list_says_the_same_however_it_came_in(listed: list[str], looked: list[str]) -> None:
    guard, rules = default_guard(), [user_rule(f"@{name}:x.org") for name in listed]
    at_once, one_by_one, later = Engine(rules, guard=guard), Engine(guard=guard), Engine(guard=guard)
    for one in rules:
        one_by_one.add(one)
        later.add(one, later=True)
    later.settle()
    for name in looked:
        findings = [engine.look(f"@{name}:x.org", now=0.0) for engine in (at_once, one_by_one, later)]
        assert findings[0] == findings[1] == findings[2]


@given(
    st.lists(st.tuples(st.integers(), st.integers(0, 20)), max_size=60), st.lists(st.integers(), max_size=5)
)
def test_a_packed_table_is_like_a_dictionary(pairs: list[tuple[int, int]], others: list[int]) -> None:
    table = PackedTable(60)
    for number, value in pairs:
        table.put([hash(number)], value)
    for number in [*(number for number, _ in pairs), *others]:
        same = {value for other, value in pairs if hash(other) & HASH == hash(number) & HASH}
        assert set(table.numbers([hash(number)])) == same


@given(st.lists(words, min_size=1, max_size=20), st.data())
def test_swapped_letters_are_always_found(skeletons: list[str], data: st.DataObject) -> None:
    index = Neighbours()
    for skeleton in skeletons:
        index.add(skeleton, 1, skeleton)
    chosen = data.draw(st.sampled_from(skeletons))
    text = "".join(data.draw(st.permutations(chosen)))
    assert text == chosen or chosen in {index.skeletons[number] for number, _ in index.near(text, text)}


@given(st.lists(st.text("abcdefgh", min_size=9, max_size=12), max_size=40), st.integers(1, 50))
def test_an_index_that_is_tidied_finds_the_same(skeletons: list[str], step: int) -> None:
    tidied, plain = Neighbours(), Neighbours()
    for skeleton in skeletons:
        tidied.add(skeleton, 2, later=True)
        plain.add(skeleton, 2)
        tidied.tidy(step)
    while tidied.tidy(step):
        pass
    for text in skeletons:
        assert sorted(tidied.near("x" + text)) == sorted(plain.near("x" + text))


@given(words, words)
def test_the_distance_is_that_of_the_textbook(left: str, right: str) -> None:
    rows = textbook(left, right)
    assert distance(left, right, 2) == (rows if rows <= 2 else None)


def textbook(left: str, right: str) -> int:
    """Optimal string alignment by the full table."""
    table = [[i + j if 0 in (i, j) else 0 for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i, a in enumerate(left, 1):
        for j, b in enumerate(right, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@given(patterns, st.text("ab:.@", max_size=12))
def test_a_pattern_means_what_the_regular_expression_means(pattern: str, text: str) -> None:
    try:
        glob = Glob(pattern)
    except BadGlob:
        return
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    assert glob.matches(text) is bool(re.fullmatch(expression, text, re.DOTALL))


@given(st.lists(patterns, max_size=10, unique=True), st.text("ab:.@", max_size=12))
def test_many_patterns_find_what_each_would(listed: list[str], text: str) -> None:
    globs, expected = Globs(), []
    for number, pattern in enumerate(listed):
        if sum(map(pattern.count, "*?")) <= MOST_WILDCARDS:
            globs.add(pattern, number)
            if Glob(pattern).matches(text):
                expected.append(number)
    assert globs.matching(text) == expected


@given(st.integers(1, MOST_WILDCARDS))
def test_no_pattern_tries_again_and_again(stars: int) -> None:
    glob = Glob("a*" * stars + "b")
    began = time.process_time()
    assert not glob.matches("a" * 100_000)
    assert time.process_time() - began < 1.0  # backtracking would take years


@settings(max_examples=30)
@given(
    st.lists(
        st.text(string.ascii_lowercase + "013._", min_size=3, max_size=12),
        min_size=1,
        max_size=30,
        unique=True,
    )
)
def test_a_list_says_at_least_what_each_of_its_rules_says(listed: list[str]) -> None:
    guard = default_guard()
    users = [f"@{name}:x.org" for name in listed]
    engine = Engine(map(user_rule, users), guard=guard)
    for user in users:
        alone = Engine([user_rule(user)], guard=guard)
        other = user.replace("o", "0", 1).replace(":", "7:")
        assert strictness(engine.look(other, now=0.0).verdict) >= strictness(
            alone.look(other, now=0.0).verdict
        )


def strictness(verdict: Verdict) -> int:
    return [Verdict.ADMIT, Verdict.HOLD, Verdict.REFUSE].index(verdict)
