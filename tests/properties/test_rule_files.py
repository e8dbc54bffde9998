"""Rules from and for other programs: what goes out comes back, nothing in it runs, and no bytes fail in another way."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from mknock.domain.errors import Unreadable
from mknock.domain.ids import MatrixID
from mknock.domain.rules import Rule, RuleKind
from mknock.matching.hashed import hash_of
from mknock.matching.rule_lines import LONGEST_REASON, rule_of
from mknock.services.rule_files import RUN, Format, defused, read, restored, written

NOW = 1_800_000_000.0
TRICKS = [*RUN, "'", '"', ",", ";", "\n", "\r\n", " ", "x", "\x00", "@a:b", "=cmd|'/c calc'!A1"]
TEXTS = st.text(max_size=LONGEST_REASON) | st.lists(st.sampled_from(TRICKS), max_size=20).map("".join)
NAMES = st.from_regex(r"[a-z0-9._=/+*?-]{1,20}", fullmatch=True)
SERVERS = st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,6}", fullmatch=True)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    name, server = draw(NAMES), draw(SERVERS)
    reason, allow = draw(TEXTS), draw(st.booleans())
    expires = draw(st.none() | st.integers(1, 10**8).map(lambda seconds: NOW + seconds / 8))
    more: Mapping[str, Any] = {"expires": expires, "allow": allow}
    kind = draw(st.sampled_from(RuleKind))
    match kind:
        case RuleKind.USER:
            user = MatrixID(name, server)
            return Rule(kind, str(user), user.key, reason, "import", "cli", NOW, **more)
        case RuleKind.USER_HASH | RuleKind.SERVER_HASH:
            key = hash_of(name)
            return Rule(kind, key, key, reason, "import", "cli", NOW, **more)
    entity = {RuleKind.USER_GLOB: f"@{name}*:{server}", RuleKind.SERVER: server}.get(kind, f"*.{server}")
    assume(sum(map(entity.count, "*?")) <= 8)
    read_as = rule_of(entity, source="import", author="cli", at=NOW)
    assert read_as is not None
    return Rule(read_as.kind, entity, read_as.key, reason, "import", "cli", NOW, **more)


# --- cells


@given(TEXTS)
@example("'")
@example("''=x")
@example("'@a:b")
def test_a_cell_comes_back_as_it_was(text: str) -> None:
    assert restored(defused(text)) == text


@given(TEXTS)
def test_no_cell_is_run_by_a_spreadsheet(text: str) -> None:
    assert not defused(text).startswith(RUN)


@given(TEXTS)
def test_a_cell_that_nobody_defused_stays_as_it_is(text: str) -> None:
    assume(not text.startswith("'"))
    assert restored(text) == text


@given(st.lists(rules(), max_size=5))
def test_no_cell_of_a_sheet_is_run(made: list[Rule]) -> None:
    cells = [cell for row in csv.reader(io.StringIO(written(made, Format.CSV), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(RUN)]


# --- whole files


@given(st.lists(rules(), max_size=5), st.sampled_from([Format.CSV, Format.JSON]), st.booleans())
def test_what_is_written_comes_back(made: list[Rule], form: Format, named: bool) -> None:
    found = read(written(made, form).encode(), form if named else None, author="cli", at=NOW)
    assert (found.rules, found.problems) == (tuple(made), ())


@given(st.lists(rules(), max_size=5))
def test_policy_rules_come_back_but_for_those_that_end(made: list[Rule]) -> None:
    found = read(written(made, Format.DRAUPNIR).encode(), author="cli", at=NOW)
    said = [(rule.id, rule.reason) for rule in found.rules]
    lasting = [rule for rule in made if rule.expires is None and not _looks_like_a_pattern(rule)]
    assert said == [(rule.id, rule.reason) for rule in lasting] or any(map(_looks_like_a_pattern, made))


def _looks_like_a_pattern(rule: Rule) -> bool:
    """An ID of old with a star in it: in a policy list it can only be a pattern."""
    return rule.kind is RuleKind.USER and bool({"*", "?"} & set(rule.entity))


@given(st.binary(max_size=300), st.none() | st.sampled_from(Format))
def test_no_bytes_make_reading_fail_in_another_way(data: bytes, form: Format | None) -> None:
    with contextlib.suppress(Unreadable):
        read(data, form, author="cli", at=NOW)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = st.sampled_from(
    [
        "entity",
        "reason",
        "effect",
        "kind",
        "expires_at",
        "type",
        "content",
        "recommendation",
        "hashes",
        "sha256",
    ]
)


@given(st.lists(st.dictionaries(FIELDS, VALUES | st.dictionaries(FIELDS, VALUES, max_size=3), max_size=5)))
def test_no_entries_make_reading_fail_in_another_way(entries: list[Any]) -> None:
    read(json.dumps(entries).encode(), Format.JSON, author="cli", at=NOW)
