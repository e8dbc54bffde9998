"""The look-alike engine from its front door: who is meant by a rule, who is not, and what is said about it."""

from __future__ import annotations

import pytest

from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Action, BadGlob, Engine, Kind, Stance, Verdict, default_guard, names_in, rule_of
from mknock.matching.hashed import hash_of

NOW = 1000.0


def rule(line: str) -> Rule:
    made = rule_of(line, source="test", author="alice", at=1.0)
    assert made
    return made


def look(user: str, *lines: str, name: str = "") -> tuple[str, str]:
    """The verdict on somebody, and the kind of match that decided."""
    finding = Engine(map(rule, lines)).look(user, name, now=NOW)
    return finding.verdict.value, finding.decisive.kind.value if finding.decisive else ""


@pytest.mark.parametrize(
    ("user", "line", "kind"),
    [
        ("@mallory:evil.example", "@mallory:evil.example", "exact"),
        ("@Mallory:evil.example", "@mallory:evil.example", "exact"),
        ("@mallory:evil.example", "evil.example", "server"),
        ("@mallory:evil.example:8448", "evil.example", "server"),
        ("@mallory:evil.example", "*:evil.example", "server"),
        ("@mallory:a.evil.example", "*.evil.example", "server_glob"),
        ("@mallory99:any.example", "@mallory*:*", "glob"),
    ],
)
def test_what_a_rule_names_is_refused(user: str, line: str, kind: str) -> None:
    assert look(user, line) == ("refuse", kind)


@pytest.mark.parametrize(
    "disguise",
    [
        "4nna", "a.n.n.a", "annnna", "аnna", "an\u200bna", "a\u0301nna", "ａｎｎａ", "αnna", "@nna",
    ],
)  # fmt: skip
def test_a_disguise_is_refused_even_of_a_common_name(disguise: str) -> None:
    assert look(f"@{disguise}:x.org", "@anna:x.org") == ("refuse", "skeleton")


@pytest.mark.parametrize(
    ("user", "blocked", "kind"),
    [
        ("kvothrandir_", "kvothrandir", "skeleton"),
        ("kv0thr4nd1r", "kvothrandir", "skeleton"),
        ("kvoth.randir", "kvothrandir", "skeleton"),
        ("kvotthrandir", "kvothrandir", "skeleton"),
        ("rnarkvoth", "markvoth", "skeleton"),
        ("vvarkvoth", "warkvoth", "skeleton"),
        ("kvothrandir77", "kvothrandir", "number"),
        ("kvothrandir_1.5", "kvothrandir", "number"),
        ("123kvothrandir", "kvothrandir", "number"),
        ("kvothrandir8", "kvothrandir9", "number"),
        ("m4ri0123", "mario", "number"),
        ("8run1-c0113771", "bruni-colletti", "skeleton"),
        ("135113-h3rm4n550n22", "leslie-hermansson22", "skeleton"),
        ("m1k4y14-9", "mikayla-g", "skeleton"),
        ("930r91n4.c011377198", "georgina.colletti98", "skeleton"),
        ("melnaie", "melanie", "distance"),
        ("k_saldaa", "k_saldana", "distance"),
        ("official_kvothrandir", "kvothrandir", "affix"),
        ("kvothrandirbackup", "kvothrandir", "affix"),
        ("kvothradnir", "kvothrandir", "distance"),
        ("kvohtradnir", "kvothrandir", "distance"),
        ("kvothrandr", "kvothrandir", "distance"),
        ("kvothrandit", "kvothrandir", "distance"),
    ],
)
def test_a_look_alike_of_a_rare_name_is_refused(user: str, blocked: str, kind: str) -> None:
    assert look(f"@{user}:x.org", f"@{blocked}:x.org") == ("refuse", kind)


@pytest.mark.parametrize(
    ("user", "blocked", "kind"),
    [
        ("anna12", "anna", "number_common"),
        ("_anna_", "anna", "skeleton_common"),
        ("j.smith", "jsmith", "skeleton_common"),
        ("real_anna", "anna", "affix_loose"),
        ("backupzoe", "zoe", "affix_loose"),
        ("sherritv", "sherri", "affix_loose"),
        ("256becky.6", "becky.6", "number_common"),
        ("5arah66", "sarah", "number_common"),
        ("joann37", "joanne", "number_common"),
        ("lonni3198205", "lonnie1982", "number_common"),
        ("laec", "alec", "distance_loose"),
        ("natakie", "natalie", "distance_loose"),
        ("xkcdkvothrandir", "kvothrandir", "affix_loose"),
        ("qichele", "michele", "distance_loose"),
        ("kvothsandit", "kvothrandir", "distance_loose"),
    ],
)
def test_what_an_innocent_may_bear_is_held_at_most(user: str, blocked: str, kind: str) -> None:
    expected = ("hold", kind) if kind else ("admit", "")
    assert look(f"@{user}:x.org", f"@{blocked}:x.org") == expected


@pytest.mark.parametrize(
    ("user", "blocked"),
    [
        ("rob", "bob"),
        ("marvin", "martin"),
        ("amy", "mary"),
        ("nathan", "natan"),
        ("vera4362", "vera91"),
        ("k.smith", "j.smith"),
        ("jan.kowalski", "jon.kowalski"),
        ("12345678", "12345679"),
        ("1234", "4321"),
        ("julia", "juulia"),
        ("anna_b", "anna_c"),
        ("zo37", "zoe"),
        ("kelso", "kelly"),
        ("annam", "anna"),
    ],
)
def test_somebody_else_is_let_in(user: str, blocked: str) -> None:
    assert look(f"@{user}:x.org", f"@{blocked}:x.org") == ("admit", "")


def test_the_same_rare_name_on_another_server_is_held() -> None:
    assert look("@kvothrandir7:y.org", "@kvothrandir:x.org") == ("hold", "other_server")


def test_the_same_common_name_on_another_server_is_somebody_else() -> None:
    assert look("@anna:y.org", "@anna:x.org") == ("admit", "")


def test_a_display_name_like_a_blocked_user_is_held() -> None:
    assert look("@q:x.org", "@kvothrandir:y.org", name="Kvоth Randir") == ("hold", "display_name")


@pytest.mark.parametrize("name", ["1martin", "martin.1"])
def test_one_digit_is_no_number_of_somebodys_own(name: str) -> None:
    assert look(f"@{name}:y.org", f"@{name}:x.org") == ("admit", "")
    assert look("@q:x.org", f"@{name}:x.org", name=name) == ("admit", "")


def test_two_digits_are_wherever_they_stand() -> None:
    assert look("@1martin2:y.org", "@1martin2:x.org") == ("hold", "other_server")


def test_a_rule_counts_once_however_it_fits() -> None:
    engine = Engine([rule("*.example"), rule("evil.example")])
    matches = engine.look("@q:evil.example:8448", now=NOW, thorough=True).matches
    assert [match.kind for match in matches] == ["server", "server_glob"]


def test_a_common_display_name_says_nothing() -> None:
    assert look("@q:x.org", "@anna:y.org", name="Anna") == ("admit", "")


def test_an_allow_rule_beats_everything() -> None:
    lines = ("@mallory:evil.example", "evil.example", "@m*:*", "allow @mallory:evil.example")
    assert look("@mallory:evil.example", *lines) == ("admit", "allow")


def test_an_allow_rule_lets_in_nobody_else() -> None:
    lines = ("evil.example", "allow @alice:evil.example")
    assert look("@al1ce:evil.example", *lines) == ("refuse", "server")


@pytest.mark.parametrize("padding", ["", "="])
def test_a_hashed_user_is_refused(padding: str) -> None:
    hashed = Rule(RuleKind.USER_HASH, "", hash_of("@mallory:x.org") + padding, "", "list", "eve", 1.0)
    finding = Engine([hashed]).look("@mallory:x.org", now=NOW)
    assert (finding.verdict, finding.matches[0].kind) == (Verdict.REFUSE, Kind.HASH)


def test_a_hashed_server_is_refused() -> None:
    hashed = Rule(RuleKind.SERVER_HASH, "", hash_of("evil.example"), "", "list", "eve", 1.0)
    assert Engine([hashed]).look("@anybody:evil.example", now=NOW).verdict is Verdict.REFUSE


@pytest.mark.parametrize(("now", "verdict"), [(99.0, "refuse"), (100.0, "admit")])
def test_an_expired_rule_does_not_match(now: float, verdict: str) -> None:
    blocked = Rule(RuleKind.USER, "@mallory:x.org", "@mallory:x.org", "", "api", "bob", 1.0, expires=100.0)
    engine = Engine([blocked])
    assert engine.look("@mallory:x.org", now=now).verdict == verdict
    assert engine.look("@m4llory:x.org", now=now).verdict == verdict


def test_a_strangers_list_matches_no_look_alikes() -> None:
    theirs = Rule(
        RuleKind.USER, "@kvothrandir:x.org", "@kvothrandir:x.org", "", "list", "eve", 1.0, look_alikes=False
    )
    engine = Engine([theirs])
    assert engine.look("@kvothrandir:x.org", now=NOW).verdict is Verdict.REFUSE
    assert engine.look("@kv0thrandir:x.org", now=NOW).verdict is Verdict.ADMIT


@pytest.mark.parametrize(
    ("action", "verdict"), [(Action.REFUSE, "refuse"), (Action.HOLD, "hold"), (Action.LOG, "admit")]
)
def test_a_door_says_what_a_kind_of_match_does(action: Action, verdict: str) -> None:
    finding = Engine([rule("@anna:x.org")]).look(
        "@anna12:x.org", now=NOW, stance=Stance({Kind.NUMBER_COMMON: action})
    )
    assert (finding.verdict, finding.matches[0].kind) == (verdict, Kind.NUMBER_COMMON)


def test_a_door_may_ask_for_its_own_server_alone() -> None:
    engine = Engine([rule("@kvothrandir:x.org")])
    finding = engine.look("@kvothrandir:y.org", now=NOW, stance=Stance(other_servers=False))
    assert finding.verdict is Verdict.ADMIT


def test_what_the_owner_teaches_the_guard_is_common() -> None:
    engine = Engine([rule("@kvothrandir:x.org")], guard=default_guard(["kvothrandir", "Kvothrandin"]))
    assert engine.look("@kvothrandin:x.org", now=NOW).verdict is Verdict.ADMIT
    assert engine.look("@kvothrandir7:x.org", now=NOW).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("user", "kind", "milder"),
    [
        ("@kvothrandin:x.org", Kind.DISTANCE, Kind.DISTANCE_LOOSE),
        ("@kvothrandir7:x.org", Kind.NUMBER, Kind.NUMBER_COMMON),
        ("@_kvothrandir_:x.org", Kind.SKELETON, Kind.SKELETON_COMMON),
        ("@real.kvothrandir:x.org", Kind.AFFIX, Kind.AFFIX_LOOSE),
    ],
)
def test_who_bears_what_members_are_called_is_held_instead_of_refused(
    user: str, kind: Kind, milder: Kind
) -> None:
    engine = Engine([rule("@kvothrandir:x.org")])
    for names, expected in [((), kind), (("kvothrandir", "kvothrandin"), milder), ((), kind)]:
        engine.know(names)
        assert [match.kind for match in engine.look(user, now=NOW).matches] == [expected]


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("@kv0thrandir:x.org", ""), ("@k.v.o.t.h.r.a.n.d.i.r:x.org", ""), ("@kvothr\u0430ndir:x.org", ""),
        ("@kvothrandir:x.org", ""), ("@kvothrandir:y.org", ""), ("@kvothrandir7:y.org", ""),
        ("@kvothrandirxyz:x.org", ""), ("@kvothrandni7:x.org", ""), ("@someone:x.org", "Kvothrandir"),
    ],
)  # fmt: skip
def test_what_members_are_called_lets_nobody_in(user: str, name: str) -> None:
    """Nor is anything milder than a refusal, or what nobody writes by accident, taken for less."""
    engine = Engine([rule("@kvothrandir:x.org")])
    before = engine.look(user, name, now=NOW)
    assert before.verdict is not Verdict.ADMIT
    engine.know(["kvothrandir", "kvothrandin", "kvothrandni", "kvothrandirxyz", "xyz"])
    assert engine.look(user, name, now=NOW) == before


@pytest.mark.parametrize(
    ("user", "names"),
    [
        ("@kvothrandin.okafor77:x.org", {"kvothrandinokafor", "kvothrandin", "okafor"}),
        ("@Kvothrandin:x.org", {"kvothrandin"}),
        ("@a.b.kvothrandin.c.d:x.org", {"abkvothrandincd", "a", "d"}),
        ("@kv0thrandin.okafor:x.org", {"okafor"}),
        ("@1990:x.org", set()),
        ("", set()),
        ("@" + "é" * 400, {"e" * 255}),
    ],
)
def test_what_a_user_name_consists_of(user: str, names: set[str]) -> None:
    assert names_in(user) == names


def test_a_rule_that_was_removed_matches_nobody() -> None:
    lines = ["@mallory:x.org", "evil.example", "*.evil.example", "@m*:*", "allow @mallory:x.org"]
    engine = Engine(map(rule, lines))
    assert all(engine.remove(rule(line)) for line in lines)
    assert len(engine) == 0
    for user in ("@mallory:x.org", "@m4llory:x.org", "@a:evil.example", "@a:b.evil.example"):
        assert engine.look(user, now=NOW).matches == ()


def test_removing_what_is_not_there_changes_nothing() -> None:
    engine = Engine([rule("@mallory:x.org")])
    assert not engine.remove(rule("@eve:x.org"))
    assert len(engine) == 1


def test_two_sources_may_block_the_same_person_and_one_may_take_it_back() -> None:
    theirs = Rule(RuleKind.USER, "@mallory:x.org", "@mallory:x.org", "", "list", "eve", 1.0)
    engine = Engine([rule("@mallory:x.org"), theirs])
    engine.remove(theirs)
    assert [match.rule.source for match in engine.look("@mallory:x.org", now=NOW).matches] == ["test"]


def test_adding_a_rule_again_replaces_it() -> None:
    engine = Engine([rule("@mallory:x.org Reason: old"), rule("@mallory:x.org Reason: new")])
    assert len(engine) == 1
    assert engine.look("@mallory:x.org", now=NOW).matches[0].rule.reason == "new"


def test_a_bad_pattern_is_said_to_be_bad() -> None:
    bad = Rule(RuleKind.USER_GLOB, "@*a*b*c*d*e*f*g*h*:x", "@*a*b*c*d*e*f*g*h*:x", "", "list", "eve", 1.0)
    with pytest.raises(BadGlob, match="at most 8 wildcards"):
        Engine([bad])


@pytest.mark.parametrize(
    ("user", "blocked", "steps"),
    [
        ("mаri0", "mario", ("а → a", "0 → o")),
        ("mario_12", "mario", ("number 12 dropped",)),
        ("mar\u200bio", "mario", ("zero width space dropped",)),
        ("kvothrandr", "kvothrandir", ('"i" left out',)),
        ("kvotrhandir", "kvothrandir", ('"hr" swapped to "rh"',)),
        ("official_kvothrandir", "kvothrandir", ('"official" before it',)),
        ("kvothrandirtv", "kvothrandir", ('"tv" behind it',)),
    ],
)
def test_a_match_tells_its_steps(user: str, blocked: str, steps: tuple[str, ...]) -> None:
    finding = Engine([rule(f"@{blocked}:x.org")]).look(f"@{user}:x.org", now=NOW)
    assert finding.matches[0].steps == steps


def test_the_strictest_match_comes_first_and_all_are_told_when_asked() -> None:
    engine = Engine(map(rule, ["@anna:x.org", "@anna1*:*", "x.org"]))
    kinds = [match.kind for match in engine.look("@anna12:x.org", now=NOW, thorough=True).matches]
    assert kinds == [Kind.SERVER, Kind.GLOB, Kind.NUMBER_COMMON]


def test_a_very_long_list_finds_slips_once_it_has_settled() -> None:
    engine = Engine(
        rule(f"@{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}quexolo{i}:x.org") for i in range(20_500)
    )
    assert engine.look("@aaqu3xolo0:x.org", now=NOW).verdict is Verdict.REFUSE
    engine.settle()
    assert not engine.tidy()
    assert engine.look("@zzquexoloo675:x.org", now=NOW).verdict is Verdict.REFUSE
    assert engine.look("@zzquezolo675:x.org", now=NOW).verdict is Verdict.REFUSE


def test_a_wave_of_one_name_costs_no_more_than_its_first_rules() -> None:
    engine = Engine(rule(f"@spammer{i}:x.org") for i in range(3000))
    finding = engine.look("@spammerx:x.org", now=NOW, thorough=True)
    assert len(finding.matches) < 50
