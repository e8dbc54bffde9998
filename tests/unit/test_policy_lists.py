"""What the events of policy rooms say, in every shape in which they are seen in the wild."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from mknock.domain.policy_lists import (
    ABOUT_ROOMS,
    GONE,
    OTHER_ADVICE,
    SENSELESS,
    TOO_LONG,
    PolicyList,
    Unread,
    is_name,
    room_in,
    rule_in,
)
from mknock.domain.rules import Rule, RuleKind

LIST = PolicyList(
    name="spam",
    room_id="!list:example.org",
    alias="",
    look_alikes=False,
    allow_wide=False,
    author="cli",
    at=0.0,
)


def event(kind: str = "m.policy.rule.user", key: str = "rule", **content: Any) -> dict[str, Any]:
    usual = {"entity": "@spam:evil.example", "recommendation": "m.ban", "reason": "spam"}
    return {
        "type": kind,
        "state_key": key,
        "sender": "@moderator:example.org",
        "origin_server_ts": 1_800_000_000_500,
        "content": usual | content,
    }


def read(**about: Any) -> Rule:
    found = rule_in(event(**about), LIST)
    assert isinstance(found, Rule), found
    return found


def hashed(entity: str, *, padded: bool = True) -> dict[str, str]:
    text = b64encode(sha256(entity.encode()).digest()).decode()
    return {"sha256": text if padded else text.rstrip("=")}


def test_a_rule_is_read_whole() -> None:
    assert read() == Rule(
        RuleKind.USER,
        "@spam:evil.example",
        "@spam:evil.example",
        "spam",
        source="list:spam",
        author="@moderator:example.org",
        at=1_800_000_000.5,
        look_alikes=False,
        origin=read().origin,
    )


@pytest.mark.parametrize("prefix", ["m.policy.rule", "m.room.rule", "org.matrix.mjolnir.rule"])
@pytest.mark.parametrize(("what", "kind"), [("user", RuleKind.USER), ("server", RuleKind.SERVER)])
def test_every_name_of_a_type_is_known(prefix: str, what: str, kind: RuleKind) -> None:
    entity = "@spam:evil.example" if what == "user" else "evil.example"

    assert read(kind=f"{prefix}.{what}", entity=entity).kind is kind


@pytest.mark.parametrize("prefix", ["m.policy.rule", "m.room.rule", "org.matrix.mjolnir.rule"])
def test_rules_about_rooms_are_none_of_ours(prefix: str) -> None:
    assert rule_in(event(f"{prefix}.room", entity="!spam:evil.example"), LIST) is ABOUT_ROOMS


@pytest.mark.parametrize(
    ("kind", "entity", "expected"),
    [
        ("m.policy.rule.user", "@*:evil.example", RuleKind.USER_GLOB),
        ("m.policy.rule.user", "@spam?:evil.example", RuleKind.USER_GLOB),
        ("m.policy.rule.server", "*.evil.example", RuleKind.SERVER_GLOB),
        ("m.policy.rule.server", "Evil.Example", RuleKind.SERVER),
    ],
)
def test_a_pattern_is_told_from_a_name(kind: str, entity: str, expected: RuleKind) -> None:
    rule = read(kind=kind, entity=entity)

    assert (rule.kind, rule.entity, rule.key) == (expected, entity, entity.lower())


@pytest.mark.parametrize(
    "advice", ["m.ban", "org.matrix.mjolnir.ban", "m.takedown", "org.matrix.msc4204.takedown"]
)
def test_a_ban_and_a_takedown_block(advice: str) -> None:
    assert not read(recommendation=advice).allow


@pytest.mark.parametrize("advice", ["org.matrix.mjolnir.allow", "fi.mau.meowlnir.unban"])
def test_an_allow_and_an_unban_let_in(advice: str) -> None:
    assert read(recommendation=advice).allow


@pytest.mark.parametrize("advice", ["m.mute", "M.BAN", "m.ban ", "ban", "org.example.warn", ""])
def test_any_other_recommendation_is_ignored(advice: str) -> None:
    assert rule_in(event(recommendation=advice), LIST) is OTHER_ADVICE


@pytest.mark.parametrize("name", ["hashes", "org.matrix.msc4205.hashes"])
@pytest.mark.parametrize("padded", [True, False])
def test_a_hash_stands_for_a_name(name: str, padded: bool) -> None:
    rule = read(entity=None, **{name: hashed("@spam:evil.example", padded=padded)})

    assert rule.kind is RuleKind.USER_HASH
    assert rule.key == hashed("@spam:evil.example", padded=False)["sha256"]


def test_a_servers_hash_stands_for_a_server() -> None:
    rule = read(kind="m.policy.rule.server", entity=None, hashes=hashed("evil.example"))

    assert rule.kind is RuleKind.SERVER_HASH


@pytest.mark.parametrize(
    "hashes",
    [
        None,
        [],
        {},
        {"md5": "x"},
        {"sha256": 7},
        {"sha256": ""},
        {"sha256": "short"},
        {"sha256": "ü" * 44},
        {"sha256": "A" * 10**6},
    ],
)
def test_what_is_no_hash_names_nobody(hashes: object) -> None:
    assert rule_in(event(entity=None, hashes=hashes), LIST) is SENSELESS


def test_an_emptied_event_is_a_rule_that_is_gone() -> None:
    assert rule_in(event() | {"content": {}}, LIST) is GONE


@pytest.mark.parametrize(
    "content",
    [
        {"entity": 7},
        {"entity": ""},
        {"entity": ["@spam:evil.example"]},
        {"entity": "spam"},
        {"entity": "@spam"},
        {"entity": "@spam:evil.example\n@bob:example.org"},
        {"entity": "@spam :evil.example"},
        {"entity": "@\ud800:evil.example"},
        {"recommendation": None},
        {"recommendation": ["m.ban"]},
        {"recommendation": {"m.ban": True}},
    ],
)
def test_a_field_that_makes_no_sense_is_no_rule(content: dict[str, Any]) -> None:
    assert rule_in(event(**content), LIST) is SENSELESS


@pytest.mark.parametrize("missing", ["entity", "recommendation"])
def test_a_field_that_is_missing_is_no_rule(missing: str) -> None:
    said = event()
    del said["content"][missing]

    assert rule_in(said, LIST) is SENSELESS


@pytest.mark.parametrize(
    "about",
    [{"type": "m.room.member"}, {"type": None}, {"state_key": None}, {"state_key": 7}, {"type": ["x"]}],
)
def test_what_is_no_policy_event_is_no_rule(about: dict[str, Any]) -> None:
    assert isinstance(rule_in(event() | about, LIST), Unread)


def test_a_name_that_is_too_long_is_no_rule() -> None:
    assert rule_in(event(entity="@" + "ü" * 130 + ":evil.example"), LIST) is TOO_LONG


@pytest.mark.parametrize("reason", [None, 7, [], ""])
def test_a_rule_needs_no_reason(reason: object) -> None:
    assert read(reason=reason).reason == ""


def test_a_reason_is_one_short_line() -> None:
    reason = read(reason="spam\n@bob:example.org Reason: more\x1b[2J\u202e" + "x" * 5000).reason

    assert reason.startswith("spam @bob:example.org Reason: more [2J x")
    assert len(reason) == 200
    assert reason.isprintable()


@pytest.mark.parametrize("at", [None, "now", True, -5, float("nan"), float("inf"), 10**400, [1]])
def test_a_time_that_makes_no_sense_is_none(at: object) -> None:
    found = rule_in(event() | {"origin_server_ts": at}, LIST)

    assert isinstance(found, Rule)
    assert found.at == 0.0


def test_what_names_a_rule_is_its_place_and_not_what_it_says() -> None:
    one, changed = read(key="a"), read(key="a", entity="@other:evil.example")
    elsewhere = [read(key="b"), read(key="a", kind="m.room.rule.user")]

    assert one.id == changed.id
    assert one.id not in {rule.id for rule in elsewhere}


def test_look_alikes_count_only_where_the_owner_wants_them() -> None:
    wanted = PolicyList("spam", "!r:x", "", True, False, "cli", 0.0)
    block, allow = event(), event(recommendation="org.matrix.mjolnir.allow")

    assert [getattr(rule_in(each, wanted), "look_alikes", None) for each in (block, allow)] == [True, False]


@pytest.mark.promise(5)
def test_a_rule_does_not_tell_its_room() -> None:
    assert LIST.room_id not in repr(read())
    assert LIST.room_id not in repr(LIST)


@pytest.mark.parametrize("name", ["spam", "matrix-org", "a", "list.2", "x_y", "0" * 40])
def test_a_list_may_be_called(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "Spam", "a:b", "a b", "-a", "ä", "a" * 41, "a\n", "!room:x"])
def test_a_list_may_not_be_called(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("typed", "room", "via"),
    [
        ("#list:example.org", "#list:example.org", ()),
        (" !abc ", "!abc", ()),
        ("https://matrix.to/#/#list:example.org", "#list:example.org", ()),
        ("https://matrix.to/#/%23list%3Aexample.org", "#list:example.org", ()),
        ("https://matrix.to/#/!abc?via=a.example&via=b.example", "!abc", ("a.example", "b.example")),
        ("https://evil.example/#/!abc", "https://evil.example/#/!abc", ()),
    ],
)
def test_a_room_is_named_by_id_alias_or_link(typed: str, room: str, via: tuple[str, ...]) -> None:
    assert room_in(typed) == (room, via)
