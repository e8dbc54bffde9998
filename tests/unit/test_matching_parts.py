"""The pieces of the look-alike engine, each by itself."""

from __future__ import annotations

from unittest.mock import Mock, patch

import pytest

from mknock.domain.rules import RuleKind
from mknock.matching import Engine, default_guard, extent, index, read_rules, rule_of
from mknock.matching.confusables import seen
from mknock.matching.distance import distance, how
from mknock.matching.glob import BadGlob, Glob, Globs
from mknock.matching.guard import Rarity
from mknock.matching.index import Neighbours
from mknock.matching.packed import PackedSet, PackedTable
from mknock.matching.reading import reading
from mknock.matching.rule_lines import BadRuleLine


@pytest.mark.parametrize(
    ("text", "core", "before", "after"),
    [
        ("anna", "anna", "", ""),
        ("anna1990", "anna", "", "1990"),
        ("12anna_34", "anna", "12", "34"),
        ("__an.na__", "an.na", "", ""),
        ("anna.82.39", "anna", "", "82-39"),
        ("a1b2", "a1b", "", "2"),
        ("1234", "", "", "1234"),
        ("12.34", "", "", "1234"),
        ("...", "", "", ""),
        ("", "", "", ""),
    ],
)
def test_a_name_is_a_core_between_two_numbers(text: str, core: str, before: str, after: str) -> None:
    name = reading(text)
    assert (name.text, name.before, name.after) == (core, before, after)


@pytest.mark.parametrize(
    ("text", "skeleton"),
    [
        ("m4rrio", "marlo"),
        ("mississippi", "mlslslpl"),
        ("j_o.h-n", "john"),
        ("b00bs", "bobs"),
        ("m|lo", "mlo"),
    ],
)
def test_the_skeleton_is_what_is_compared(text: str, skeleton: str) -> None:
    assert reading(text).skeleton == skeleton


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Mario", "mario"),
        ("Ηоме", "home"),
        ("κυτη", "kutn"),
        ("ﬁsh", "fish"),
        ("𝓶𝓪𝓻𝓲𝓸", "mario"),
        ("𝟏𝟐", "12"),
        ("a\u0301\u0323", "a"),
        ("a\u200d\ufeff\u00adb", "ab"),
        ("\ud800a", "a"),
        ("straße", "strasse"),
        ("李", "李"),
    ],
)
def test_a_text_is_read_as_it_looks(text: str, shown: str) -> None:
    assert seen(text).text == shown


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [
        ("", "", 0), ("a", "", 1), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "abd", 1), ("abc", "abcd", 1),
        ("abcd", "badc", 2), ("abcd", "bcda", 2), ("abc", "xyz", None), ("abcdef", "abc", None),
    ],
)  # fmt: skip
def test_a_swap_of_neighbours_is_one_edit(left: str, right: str, edits: int | None) -> None:
    assert distance(left, right, 2) == edits


@pytest.mark.parametrize(
    ("rule", "name", "said"),
    [("ab", "abc", '"c" put in'), ("abc", "ac", '"b" left out'), ("ab", "ba", '"ab" swapped to "ba"')],
)
def test_the_difference_is_said_in_words(rule: str, name: str, said: str) -> None:
    assert how(rule, name) == said


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True), ("a*", "abc", True), ("*c", "abc", True), ("a*c", "abc", True), ("a*b*c", "aXbXc", True),
        ("a?c", "abc", True), ("a?c", "ac", False), ("*a?c*", "xxabcxx", True), ("ab*ba", "aba", False),
        ("**", "x", True), ("A*", "abc", True), ("a.c", "abc", False), ("?", "\n", True), ("", "", True),
        ("", "a", False),
    ],
)  # fmt: skip
def test_a_pattern_fits_the_whole_text(pattern: str, text: str, fits: bool) -> None:
    assert Glob(pattern).matches(text) is fits


@pytest.mark.parametrize("pattern", ["*" * 9, "a" * 256, "?" * 9, "é" * 128])
def test_a_pattern_that_is_too_much_is_not_used(pattern: str) -> None:
    with pytest.raises(BadGlob):
        Glob(pattern)


def test_many_patterns_are_found_by_their_letters() -> None:
    globs = Globs()
    for number, pattern in enumerate(["@spam*:*", "@*bot:evil.example", "*", "@?:x.org", "*:x.org"]):
        globs.add(pattern, number)
    assert globs.matching("@spambot:evil.example") == [0, 1, 2]
    assert globs.matching("@a:x.org") == [2, 3, 4]
    globs.remove("*", 2)
    assert globs.matching("@ab:x.org") == [4]
    assert len(globs) == 4


def test_thousands_of_patterns_that_begin_alike_cost_no_more_than_their_letters() -> None:
    globs = Globs()
    for number in range(3000):
        globs.add(f"@spammers{number:04}x*:*", number)
    tried = Mock(wraps=Glob.matches)
    with patch.object(Glob, "matches", lambda glob, text: tried(glob, text)):
        assert globs.matching("@spammers2999xyz:evil.example") == [2999]
    assert tried.call_count < 100
    for number in range(3000):
        globs.remove(f"@spammers{number:04}x*:*", number)
    assert (globs.matching("@spammers2999xyz:evil.example"), len(globs)) == ([], 0)


@pytest.mark.parametrize(
    ("name", "rarity"),
    [
        ("anna", Rarity.COMMON), ("dragon", Rarity.COMMON), ("j.smith", Rarity.HALF), ("jsmith", Rarity.HALF),
        ("annab", Rarity.HALF), ("kvothrandir", Rarity.RARE), ("john.smith", Rarity.RARE), ("x", Rarity.COMMON),
    ],
)  # fmt: skip
def test_the_guard_knows_what_many_people_bear(name: str, rarity: Rarity) -> None:
    assert default_guard().rarity(reading(name)) is rarity


def test_the_guard_knows_names_of_many_cultures() -> None:
    guard = default_guard()
    names = ["aarav", "fatima", "hiroshi", "oluwaseun", "mehmet", "priyanka", "siti", "wanjiru", "zoltan"]
    assert [name for name in names if not guard.is_common(name)] == []


def test_a_packed_set_holds_what_was_put_in() -> None:
    words = PackedSet(f"word{i}" for i in range(5000))
    assert all(f"word{i}" in words for i in range(5000))
    assert not any(f"other{i}" in words for i in range(5000))


def test_a_packed_table_gives_all_numbers_of_a_hash() -> None:
    table = PackedTable(100)
    table.put([hash("a"), hash("b")], 1)
    table.put([hash("b"), hash("b")], 2)
    assert sorted(table.numbers([hash("b")])) == [1, 2]
    assert list(table.numbers([hash("c")])) == []
    assert table.used == 3


def test_all_that_waits_gets_one_table() -> None:
    names = Neighbours()
    for number in range(3000):
        names.add(f"{number:04}quixotic", 2, later=True)
    while names.tidy(50):
        assert names.tables == 1
    assert names.tables == 1
    assert [names.skeletons[n] for n, edits in names.near("0007qiuxotic") if edits == 1] == ["0007quixotic"]


@pytest.mark.parametrize(
    ("reaches", "text", "left_out"),
    [
        ({"quixotic": 1}, "quixoticquixotic", 1),
        ({"quixotic": 1, "quixoticquixotic": 2}, "quixoticquixo", 1),
        ({"quixotic": 1, "quixoticquixotic": 2}, "quixoticquixot", 2),
        ({"quixotics": 2}, "quixotic", 1),
        ({"quixotics": 2}, "quixoticx", 2),
    ],
)
def test_no_more_letters_are_left_out_than_can_lead_anywhere(
    reaches: dict[str, int], text: str, left_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two letters left out of ten are five times as many questions as one."""
    names = Neighbours()
    for skeleton, reach in reaches.items():
        names.add(skeleton, reach)
    asked = Mock(wraps=index._neighbourhood)
    monkeypatch.setattr(index, "_neighbourhood", asked)
    names.near(text)
    asked.assert_called_once_with(text, left_out)


def test_a_guard_that_knows_more_leaves_the_other_as_it_is() -> None:
    guard = default_guard(["vexillologist"])
    assert guard.rarity(reading("kvothrandir")) is Rarity.RARE
    more = guard.knowing(["Kvothrandir"])
    names = ("kvothrandir", "vexillologist", "anna")
    assert [more.rarity(reading(name)) for name in names] == [Rarity.COMMON] * 3
    assert guard.rarity(reading("kvothrandir")) is Rarity.RARE


def test_of_a_wave_of_names_under_one_hash_the_first_are_kept() -> None:
    table = PackedTable(5000)
    for number in range(5000):
        table.put([hash("quixotic")], number)
    assert table.numbers([hash("quixotic")])[:3] == [0, 1, 2]
    assert len(table.numbers([hash("quixotic")])) < 450


def test_tables_that_grew_are_merged_a_little_at_a_time() -> None:
    names = Neighbours()
    words = [
        f"{a}{b}{c}quixotic{d}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz" for d in "klmn"
    ]
    for word in words:
        names.add(word, 2)
    steps = 0
    while names.tidy(500):
        steps += 1
    assert steps > 3
    assert not names.untidy
    assert all(any(names.skeletons[n] == word for n, _ in names.near(word + "x")) for word in words[::97])


# --- lines of a block-list ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "key", "reason"),
    [
        ("@mallory:evil.example", RuleKind.USER, "@mallory:evil.example", ""),
        (
            "@Mallory:evil.example Reason: sold watches",
            RuleKind.USER,
            "@mallory:evil.example",
            "sold watches",
        ),
        ("@mallory:evil.example # sold watches", RuleKind.USER, "@mallory:evil.example", "sold watches"),
        ("@mallory*:*", RuleKind.USER_GLOB, "@mallory*:*", ""),
        ("evil.example", RuleKind.SERVER, "evil.example", ""),
        ("evil.example:8448", RuleKind.SERVER, "evil.example:8448", ""),
        ("*:evil.example reason: spam", RuleKind.SERVER, "evil.example", "spam"),
        ("@*:Evil.example", RuleKind.SERVER, "evil.example", ""),
        ("*.evil.example", RuleKind.SERVER_GLOB, "*.evil.example", ""),
        ("@*:*.evil.example", RuleKind.SERVER_GLOB, "*.evil.example", ""),
        ("*", RuleKind.SERVER_GLOB, "*", ""),
    ],
)
def test_a_line_is_a_rule(line: str, kind: RuleKind, key: str, reason: str) -> None:
    rule = rule_of(line, source="file", author="list.txt", at=5.0)
    assert rule
    assert (rule.kind, rule.key, rule.reason, rule.source, rule.at, rule.allow) == (
        kind, key, reason, "file", 5.0, False
    )  # fmt: skip


def test_an_allow_line_is_an_allow_rule() -> None:
    rule = rule_of("allow @alice:evil.example", source="file", author="", at=1.0)
    assert rule
    assert (rule.allow, rule.entity) == (True, "@alice:evil.example")


@pytest.mark.parametrize("line", ["", "   ", "# @mallory:evil.example"])
def test_a_comment_is_no_rule(line: str) -> None:
    assert rule_of(line, source="file", author="", at=1.0) is None


@pytest.mark.parametrize(
    "line",
    [
        "@mallory",
        "@mallory:evil.example and friends",
        "evil_example",
        "@ma llory:evil.example",
        "@:x.org",
        "@a?b",
        "allow no such thing",
    ],
)
def test_a_broken_line_is_said_to_be_broken(line: str) -> None:
    with pytest.raises(BadRuleLine):
        rule_of(line, source="file", author="", at=1.0)


def test_a_broken_line_is_told_by_its_number_and_the_rest_counts() -> None:
    rules, problems = read_rules(
        b"@a:x.org\nnonsense here\r\n\xff\xfe\n@b:x.org\n", source="f", author="", at=1.0
    )
    assert [rule.key for rule in rules] == ["@a:x.org", "@b:x.org"]
    assert [problem.line for problem in problems] == [2, 3]


def test_nothing_in_a_reason_begins_a_new_rule() -> None:
    data = "@a:x.org Reason: spam\r@b:x.org\u2028@c:x.org\x85@d:x.org\n".encode()
    rules, problems = read_rules(data, source="f", author="", at=1.0)
    assert [rule.key for rule in rules] == ["@a:x.org"]
    assert problems == []


# --- how far a rule reaches ---------------------------------------------------------------------

MEMBERS = [f"@member{name}:matrix.org" for name in "abcdefgh"]
PROTECTED = ["@knock:home.example", "@bob:home.example"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("*", "everybody"),
        ("@*:*", "everybody"),
        ("@*n*:*", "everybody"),
        ("*:matrix.org", "a server that anybody may be on"),
        ("m?trix.org", "a server that anybody may be on"),
        ("home.example", "Knock itself or moderators"),
        ("@bob:home.example", "Knock itself or moderators"),
        ("@member*:*", "8 people in the room, more than 5"),
    ],
)
def test_a_rule_that_would_hit_too_many_says_whom(line: str, words: str) -> None:
    rule = rule_of(line, source="api", author="bob", at=1.0)
    assert rule
    found = extent(rule, MEMBERS, PROTECTED, most=5, now=2.0)
    assert found.is_too_wide
    assert words in " ".join(found.problems)


@pytest.mark.parametrize("line", ["@mallory:evil.example", "evil.example", "@membera:matrix.org", "allow *"])
def test_a_rule_that_hits_few_is_harmless(line: str) -> None:
    rule = rule_of(line, source="api", author="bob", at=1.0)
    assert rule
    assert not extent(rule, MEMBERS, PROTECTED, most=5, now=2.0).is_too_wide


def test_whom_a_rule_would_hit_is_told() -> None:
    rule = rule_of("@membera:matrix.org", source="api", author="bob", at=1.0)
    assert rule
    found = extent(rule, MEMBERS, PROTECTED, most=5, now=2.0)
    assert (found.refused, found.protected) == (("@membera:matrix.org",), ())


def test_an_engine_without_rules_admits() -> None:
    assert Engine().look("@a:x.org", now=1.0).matches == ()
