"""Which rules of strangers Knock uses, and which it leaves out."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from mknock.domain.policy_lists import PolicyList
from mknock.services.list_survey import TOO_WIDE, survey, usable

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
