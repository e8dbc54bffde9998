"""Whatever stands in a policy room, it is read without an error, and what is kept stays within bounds."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.contract.store_cases import rule

from mknock.domain.policy_lists import ALLOWS, BANS, KINDS, MOST_BYTES, MOST_REASON, PolicyList
from mknock.domain.rules import Rule
from mknock.matching import Engine
from mknock.services.list_publishing import changes_of, events_of
from mknock.services.list_survey import survey, usable

LIST = PolicyList("spam", "!list:example.org", "", True, False, "cli", 0.0)

texts = st.text(st.characters(codec=None), max_size=40)
entities = texts | st.text("@:*?.ab", max_size=20) | st.text("*?a:@", min_size=200, max_size=400)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
hashes = st.dictionaries(st.just("sha256"), anything) | anything
contents = (
    st.fixed_dictionaries(
        {},
        optional={
            "entity": entities | anything,
            "recommendation": st.sampled_from(sorted(BANS | ALLOWS)) | anything,
            "reason": texts | anything,
            "hashes": hashes,
            "org.matrix.msc4205.hashes": hashes,
        },
    )
    | anything
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(sorted(KINDS)) | anything,
        "state_key": texts | anything,
        "sender": texts | anything,
        "origin_server_ts": st.integers() | anything,
        "content": contents,
    },
)


@given(events)
def test_any_event_is_read(event: dict[str, Any]) -> None:
    found = usable(event, LIST, "example.org")
    if not isinstance(found, Rule):
        assert found.why.isprintable()
        return
    assert len(found.entity.encode()) <= MOST_BYTES
    assert len(found.reason) <= MOST_REASON
    for text in (found.entity, found.key, found.reason, found.author):
        assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


@given(st.lists(events, max_size=8), texts)
def test_what_is_read_can_be_used_and_asked(state: list[dict[str, Any]], name: str) -> None:
    found = survey(state, LIST, "example.org")
    engine = Engine(found.rules.values())
    engine.naming(f"@{name}:evil.example", now=0.0)
    engine.look(f"@{name}:evil.example", now=0.0)
    assert all(rule.id == rule_id for rule_id, rule in found.rules.items())


@given(st.lists(events, max_size=8))
def test_whatever_others_wrote_our_own_rule_is_published_once(state: list[dict[str, Any]]) -> None:
    mallory = rule("mallory")
    wanted = dict(events_of(mallory, reasons=True))
    changes = changes_of(state, wanted, "@knock:example.org")
    assert changes in ({}, wanted)
    ours = [as_written(place, content) for place, content in wanted.items()]
    assert changes_of([*state, *ours], wanted, "@knock:example.org") == {}


def as_written(place: tuple[str, str], content: Any) -> dict[str, Any]:
    return {"type": place[0], "state_key": place[1], "sender": "@knock:example.org", "content": content}
