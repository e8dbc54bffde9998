"""Which rules of strangers Knock uses, and which it leaves out."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from mknock.domain.policy_lists import PolicyList
from mknock.services.list_survey import MOST_EXAMPLES, MOST_SHOWN, TOO_WIDE, survey, usable

LIST = PolicyList("spam", "!list:example.org", "", False, False, "cli", 0.0)
GENEROUS = PolicyList("spam", "!list:example.org", "", False, True, "cli", 0.0)
OURS = "Home.Example"


def event(entity: str | None, what: str = "user", key: str = "", **content: Any) -> dict[str, Any]:
    told = {"entity": entity, "recommendation": "m.ban", "reason": "spam"} | content
    return {"type": f"m.policy.rule.{what}", "state_key": key or str(entity), "content": told}


WIDE = [
    ("user", "*"),
    ("user", "@*"),
    ("user", "@*:*"),
    ("user", "*:matrix.org"),
    ("user", "@*:home.example"),
    ("user", "@*:*.example"),
    ("user", "*e*"),
    ("server", "*"),
    ("server", "*.*"),
    ("server", "matrix.org"),
    ("server", "home.example"),
    ("server", "HOME.EXAMPLE"),
    ("server", "*.org"),
    ("server", "home.*"),
]
NARROW = [
    ("user", "@mallory:home.example"),
    ("user", "@spam*:*"),
    ("user", "@*:evil.example"),
    ("user", "@*spam*:matrix.org"),
    ("server", "evil.example"),
    ("server", "*.evil.example"),
    ("server", "matrix.org.evil.example"),
]


@pytest.mark.parametrize(("what", "entity"), WIDE)
def test_a_rule_that_names_too_many_is_left_out(what: str, entity: str) -> None:
    assert usable(event(entity, what), LIST, OURS) is TOO_WIDE


@pytest.mark.parametrize(("what", "entity"), WIDE)
def test_it_is_used_where_the_owner_wants_it(what: str, entity: str) -> None:
    assert survey([event(entity, what)], GENEROUS, OURS).rules


@pytest.mark.parametrize(("what", "entity"), WIDE)
def test_too_many_are_not_let_in_either(what: str, entity: str) -> None:
    found = usable(event(entity, what, recommendation="org.matrix.mjolnir.allow"), LIST, OURS)

    assert found is TOO_WIDE


@pytest.mark.parametrize(("what", "entity"), NARROW)
def test_other_rules_are_used(what: str, entity: str) -> None:
    assert survey([event(entity, what)], LIST, OURS).rules


def test_a_hash_hides_no_server_of_many() -> None:
    hashes = {"sha256": b64encode(sha256(b"matrix.org").digest()).decode()}

    assert usable(event(None, "server", hashes=hashes), LIST, OURS) is TOO_WIDE


@pytest.mark.parametrize(("wildcards", "used"), [(8, 1), (9, 0)])
def test_a_pattern_has_at_most_eight_wildcards(wildcards: int, used: int) -> None:
    entity = "@" + "a*" * wildcards + ":evil.example"

    assert len(survey([event(entity)], LIST, OURS).rules) == used


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    state = [
        event("@mallory:evil.example"),
        event("!room:evil.example", "room"),
        event("!other:evil.example", "room"),
        event("@a:b", recommendation="org.example.mute"),
        event("*"),
        event("@" + "a*" * 9 + ":b"),
        event("not an id"),
        {"type": "m.policy.rule.user", "state_key": "gone", "content": {}},
        {"type": "m.room.member", "state_key": "@a:b", "content": {"membership": "join"}},
        {"type": 7},
    ]
    found = survey(state, LIST, OURS)

    assert [rule.entity for rule in found.rules.values()] == ["@mallory:evil.example"]
    assert sorted(found.left_out.values()) == [1, 1, 1, 1, 2]


def test_which_entries_are_left_out_is_told_with_the_reason() -> None:
    found = survey([event("*"), event("not an id"), event("@mallory:evil.example")], LIST, OURS)

    assert [(one.entity, one.why) for one in found.examples] == [
        ("*", TOO_WIDE.why),
        ("not an id", "rules whose fields make no sense"),
    ]


@pytest.mark.promise(5)
def test_of_a_rule_about_a_room_the_room_is_not_told() -> None:
    (one,) = survey([event("!room:evil.example", "room")], LIST, OURS).examples

    assert (one.entity, one.why) == ("", "rules about rooms")


@pytest.mark.parametrize("entity", [None, 7, ["*"], {"a": "b"}, "*\x1b[2J\n\u202e" + "x" * 100_000, "\ud800"])
def test_whatever_a_stranger_wrote_is_told_on_one_short_line(entity: object) -> None:
    told = {"type": "m.policy.rule.user", "state_key": "x", "sender": entity}
    (one,) = survey([told | {"content": {"entity": entity, "recommendation": "m.ban"}}], LIST, OURS).examples

    assert len(one.entity) <= MOST_SHOWN
    assert (one.entity + one.author).isprintable()


def test_of_very_many_the_first_are_told_and_all_are_counted() -> None:
    state = [event("@" + "a*" * 9 + f":server{number}.example") for number in range(MOST_EXAMPLES + 50)]
    for number, each in enumerate(state):
        each["state_key"] = f"rule:{number}"
    found = survey(state, LIST, OURS)

    assert len(found.examples) == MOST_EXAMPLES
    assert sum(found.left_out.values()) == MOST_EXAMPLES + 50
