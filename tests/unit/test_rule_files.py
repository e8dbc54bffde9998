"""Rules as files of other programs: what each kind of file says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mknock.domain.errors import Unreadable
from mknock.domain.rules import Rule, RuleKind
from mknock.services.rule_files import Format, Found, read, written

NOW = 1_800_000_000.0
EVE = "@eve:evil.example"


def found(text: str, form: Format | None = None) -> Found:
    return read(text.encode(), form, author="cli", at=NOW)


def said(text: str, form: Format | None = None) -> list[tuple[str, str, bool]]:
    return [(rule.entity, rule.reason, rule.allow) for rule in found(text, form).rules]


@pytest.mark.parametrize(
    "text",
    [
        f"entity,reason\n{EVE},spam\n",
        f"Reason;Entity\nspam;{EVE}\n",
        f"reason\tuser_id\nspam\t'{EVE}\n",
        f"\ufeffmxid,reason,effect\r\n{EVE},spam,block\r\n",
        f"{EVE},spam\n",
        f"'{EVE},spam\n",
    ],
)
def test_sheets_of_many_programs_are_read(text: str) -> None:
    assert said(text) == [(EVE, "spam", False)]


@pytest.mark.parametrize(
    "text",
    [
        f'[{{"entity": "{EVE}", "reason": "spam"}}]',
        f'{{"rules": [{{"entity": "{EVE}", "reason": "spam", "extra": 1}}], "count": 1}}',
        f"{EVE} Reason: spam\n# nobody\n",
        f"# ours, and yours\n{EVE} Reason: spam\n",
        f"entity\treason\n{EVE}\tspam\n",
        f"reason,entity\nspam,{EVE}\n",
    ],
)
def test_the_format_is_guessed(text: str) -> None:
    assert said(text) == [(EVE, "spam", False)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{EVE} Reason: a, b; c\n", (EVE, "a, b; c", False)),
        (f"allow {EVE} # a, b\n", (EVE, "a, b", True)),
        ("*spam*:*,many of them\n", ("*spam*:*", "many of them", False)),
        (f"entity\n{EVE}\n", (EVE, "", False)),
    ],
)
def test_commas_mislead_nobody(text: str, expected: tuple[str, str, bool]) -> None:
    assert said(text) == [expected]


def test_a_list_of_bare_ids_is_enough() -> None:
    assert said(json.dumps([EVE, "evil.example"])) == [(EVE, "", False), ("evil.example", "", False)]


def test_what_is_no_rule_is_told_by_its_number_and_the_rest_counts() -> None:
    listed = found(
        f"entity,effect,expires_at\n{EVE},block,\n@bad,,\nx.example,maybe,\ny.example,,1\nz.example,,soon\n"
    )
    assert ([rule.entity for rule in listed.rules], [one.line for one in listed.problems]) == (
        [EVE],
        [3, 4, 5, 6],
    )


@pytest.mark.parametrize(
    ("text", "form"),
    [("[", None), ('"x"', Format.JSON), ('{"a": [], "b": []}', None), ('{"a": 1}', None)],
)
def test_a_file_of_another_kind_is_refused(text: str, form: Format | None) -> None:
    with pytest.raises(Unreadable):
        found(text, form)


def event(about: str = "m.policy.rule.user", **content: object) -> dict[str, object]:
    return {"type": about, "state_key": "k", "sender": "@mod:x.example", "content": content}


@pytest.mark.parametrize("family", ["m.policy.rule", "m.room.rule", "org.matrix.mjolnir.rule"])
@pytest.mark.parametrize(
    "ban", ["m.ban", "org.matrix.mjolnir.ban", "m.takedown", "org.matrix.msc4204.takedown"]
)
def test_policy_rules_of_every_name_are_read(family: str, ban: str) -> None:
    events = [
        event(f"{family}.user", entity="@spam*:*", recommendation=ban, reason="spam"),
        event(f"{family}.server", entity="*.evil.example", recommendation=ban),
    ]
    assert said(json.dumps(events)) == [("@spam*:*", "spam", False), ("*.evil.example", "", False)]


@pytest.mark.parametrize("recommendation", ["org.matrix.mjolnir.allow", "fi.mau.meowlnir.unban"])
def test_a_policy_rule_may_allow(recommendation: str) -> None:
    assert said(json.dumps([event(entity=EVE, recommendation=recommendation)])) == [(EVE, "", True)]


def test_a_policy_rule_may_name_somebody_by_their_hash() -> None:
    hashes = {"sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="}
    (rule,) = found(json.dumps([event(recommendation="m.ban", hashes=hashes)])).rules
    assert (rule.kind, rule.key) == (RuleKind.USER_HASH, "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg")


def test_what_a_policy_list_says_of_rooms_or_took_back_is_passed_over() -> None:
    listed = found(json.dumps([event("m.policy.rule.room", entity="!r:x", recommendation="m.ban"), event()]))
    assert (listed.rules, listed.problems) == ((), ())


@pytest.mark.parametrize("recommendation", ["m.mute", "unban", 7, None])
def test_no_other_recommendation_is_taken_for_a_ban(recommendation: object) -> None:
    listed = found(json.dumps([event(entity=EVE, recommendation=recommendation)]))
    assert (listed.rules, len(listed.problems)) == ((), 1)


def test_policy_rules_are_written_as_other_bots_read_them() -> None:
    rules = [
        Rule(RuleKind.USER, EVE, EVE, "spam", "api", "api", NOW),
        Rule(RuleKind.SERVER, "@*:evil.example", "evil.example", "", "api", "api", NOW, allow=True),
    ]
    assert json.loads(written(rules, Format.DRAUPNIR)) == [
        {
            "type": "m.policy.rule.user",
            "state_key": f"rule:{EVE}",
            "content": {"entity": EVE, "recommendation": "m.ban", "reason": "spam"},
        },
        {
            "type": "m.policy.rule.server",
            "state_key": "rule:evil.example",
            "content": {
                "entity": "evil.example",
                "recommendation": "org.matrix.mjolnir.allow",
                "reason": "",
            },
        },
    ]


def test_a_name_with_capitals_is_written_in_small_letters_as_well() -> None:
    rule = Rule(RuleKind.USER, "@Eve:Evil.example", "@eve:evil.example", "spam", "api", "api", NOW)
    events = json.loads(written([rule], Format.DRAUPNIR))

    assert [each["content"]["entity"] for each in events] == ["@Eve:Evil.example", "@eve:evil.example"]
    assert len({each["state_key"] for each in events}) == 2
    back = found(json.dumps(events)).rules
    assert ({each.id for each in back}, back[0].entity) == ({rule.id}, rule.entity)


def test_an_entity_counts_whatever_stands_beside_it() -> None:
    (rule,) = found(json.dumps([event(entity=EVE, recommendation="m.ban", hashes={})])).rules
    assert (rule.kind, rule.key) == (RuleKind.USER, EVE)


def test_a_hash_may_stand_under_its_older_name_beside_an_empty_one() -> None:
    hashes = {"sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="}
    content: dict[str, Any] = {
        "entity": None,
        "recommendation": "m.ban",
        "hashes": {},
        "org.matrix.msc4205.hashes": hashes,
    }
    (rule,) = found(json.dumps([event(**content)])).rules
    assert rule.kind is RuleKind.USER_HASH


def test_a_sheet_shows_whom_and_why() -> None:
    rule = Rule(RuleKind.USER, EVE, EVE, "=1+1", "api", "alice", NOW, expires=NOW + 60)
    assert written([rule], Format.CSV).splitlines() == [
        "entity,reason,effect,kind,expires_at,source,author,at",
        f"'{EVE},'=1+1,block,user,2027-01-15T08:01:00+00:00,api,alice,2027-01-15T08:00:00+00:00",
    ]


def test_one_rule_a_line_is_what_the_block_lists_file_holds() -> None:
    rule = Rule(RuleKind.USER, EVE, EVE, "a\nb", "api", "api", NOW, allow=True)
    assert written([rule], Format.TXT) == f"allow {EVE} Reason: a b\n"
