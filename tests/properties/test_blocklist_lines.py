"""The block-list's file: whatever is in it, reading it never fails in a way of its own; what is written reads back."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from mknock.domain.rules import Rule, RuleKind
from mknock.matching.glob import BadGlob
from mknock.matching.rule_lines import BadRuleLine, rule_of
from mknock.services.blocklist_lines import NoText, line_of, one_line, read_listing

NAMES = st.from_regex(r"[a-z0-9._=/+*?-]{1,20}", fullmatch=True)
SERVERS = st.from_regex(r"[a-z0-9*?][a-z0-9*?.-]{0,15}[a-z0-9*?]", fullmatch=True) | st.sampled_from(
    ["allow", "reason", "localhost:8448", "[::1]:80"]
)
ENTITIES = (
    st.builds(lambda name, server: f"@{name}:{server}", NAMES, SERVERS)
    | st.builds(lambda name, server: f"{name}:{server}", NAMES, SERVERS)
    | SERVERS
)
TRICKS = ["\n", "\r", "#", ":", " ", "x", "Reason: ", "allow ", "@a:b", "\u2028", "\0"]
TEXTS = st.text() | st.lists(st.sampled_from(TRICKS)).map("".join)


def rule(entity: str, reason: str, *, allow: bool) -> Rule | None:
    with contextlib.suppress(BadRuleLine, BadGlob):
        read = rule_of(entity, source="api", author="api", at=0.0)
        if read is not None:
            return Rule(read.kind, entity, read.key, reason, "api", "api", 0.0, allow=allow)
    return None


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_reading_any_bytes_gives_rules_or_one_error(data: bytes) -> None:
    with contextlib.suppress(NoText):
        read_listing(data, 0.0)


@given(ENTITIES, TEXTS, st.booleans())
@example("allow", "# x", False)
@example("@a:b.example", "x" * 999 + "  y", True)
def test_what_is_written_reads_back_as_the_same(entity: str, reason: str, allow: bool) -> None:
    made = rule(entity, reason, allow=allow)
    line = line_of(made) if made else None
    if made is None or line is None:
        return
    listing = read_listing(f"{line}\n".encode(), 0.0)
    assert (list(listing.rules), listing.problems) == ([made.id], ())
    assert next(iter(listing.rules.values())).reason in (one_line(reason), "")


@given(TEXTS)
def test_a_reason_stays_on_one_line_and_is_not_lost(reason: str) -> None:
    made = Rule(RuleKind.USER, "@a:b.example", "@a:b.example", reason, "api", "api", 0.0)
    line = line_of(made)
    assert line is not None
    assert len(line.splitlines()) == 1
    assert read_listing(line.encode("utf-8"), 0.0).rules[made.id].reason == one_line(reason)


@given(TEXTS)
def test_a_reason_on_one_line_is_so_already(reason: str) -> None:
    assert one_line(one_line(reason)) == one_line(reason)


@given(st.lists(ENTITIES, max_size=8), st.data())
def test_deleting_lines_leaves_every_other_byte(entities: list[str], data: st.DataObject) -> None:
    text = "".join(f"{entity}{data.draw(st.sampled_from([' # x', '', chr(13)]))}\n" for entity in entities)
    listing = read_listing(text.encode(), 0.0)
    gone = set(data.draw(st.lists(st.sampled_from(sorted(listing.rules)))) if listing.rules else [])
    after = read_listing(listing.without(gone), 0.0)
    assert after.rules.keys() == listing.rules.keys() - gone
    kept = [line for number, line in enumerate(text.split("\n"), 1) if listing.ids.get(number) not in gone]
    assert listing.without(gone).decode().split("\n") == (kept or [""])
