"""What holds for every text: reading an ID never fails otherwise than by saying so."""

from __future__ import annotations

import contextlib
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MAX_ID_BYTES, MatrixID, as_the_only_value, parse_matrix_id

SERVERS = ["example.org", "matrix.example.org:8448", "localhost", "10.0.0.1", "[2001:db8::1]", "[::1]:443"]
INVISIBLE = "\u200b\u200d\u200f\u202e\u2060\ufeff\u00ad\u034f\ufe0f\x00\x1f\x85\u2028"

modern_localparts = st.text("abcdefghijklmnopqrstuvwxyz0123456789._=-/+", min_size=1, max_size=200)
modern_ids = st.builds("@{}:{}".format, modern_localparts, st.sampled_from(SERVERS))
historical_ids = st.builds("@{}:{}".format, st.text(min_size=1, max_size=20), st.sampled_from(SERVERS))
links = st.builds(
    str.format,
    st.sampled_from(["https://matrix.to/#/{}", "matrix:u/{}?action=chat", "({})", "Al {} x", "%40{}", "{}."]),
    modern_ids,
)
tricky = st.text("@:.[]%#/! a1" + INVISIBLE, max_size=60)
tricky_links = st.builds(
    str.__add__, st.sampled_from(["https://matrix.to/#/", "matrix:u/", "a%40b%3A"]), tricky
)


@st.composite
def mutated_ids(draw: st.DrawFn) -> str:
    """An ID or a link in which a few characters were put in, or put in the place of others."""
    text = draw(modern_ids | historical_ids | links)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        put = draw(st.text(max_size=2) | st.text("@:.[]%#/! aÜ＠：" + INVISIBLE, max_size=3))
        text = text[:at] + put + text[at + draw(st.integers(0, 2)) :]
    return text


surrogates = st.text(st.characters(categories=["Cs", "Ll", "Po"]), max_size=20)
texts = st.text() | tricky | tricky_links | mutated_ids() | surrogates
default_servers = st.none() | st.sampled_from(SERVERS) | st.text(max_size=10)


def parsed(text: str, default_server: str | None = None) -> MatrixID | None:
    """The ID, or None when the text was refused; any other error fails the test."""
    try:
        return parse_matrix_id(text, default_server=default_server)
    except InvalidMatrixID:
        return None


def is_seen(character: str) -> bool:
    """Whether it is neither a blank nor a control, format or unassigned character."""
    return unicodedata.category(character)[0] not in "CZ" and character not in INVISIBLE


@given(texts, default_servers)
def test_reading_raises_nothing_but_its_own_error_and_is_idempotent(text: str, default: str | None) -> None:
    found = parsed(text, default)

    assert found is None or parse_matrix_id(str(found)) == found


@given(texts, default_servers)
def test_what_was_read_is_short_enough_and_all_of_it_is_seen(text: str, default: str | None) -> None:
    found = str(parsed(text, default) or "")

    assert len(found.encode()) <= MAX_ID_BYTES
    assert all(map(is_seen, found))


@given(texts, default_servers)
def test_what_was_read_is_a_full_id_to_the_strict_reader(text: str, default: str | None) -> None:
    found = parsed(text, default)

    assert found is None or MatrixID.of(str(found)) == found


@given(texts)
def test_the_strict_reader_raises_nothing_but_its_own_error_and_changes_nothing(text: str) -> None:
    with contextlib.suppress(InvalidMatrixID):
        assert str(MatrixID.of(text)) == text


@given(texts, default_servers)
def test_the_only_value_is_what_the_helpful_reader_reads(text: str, default: str | None) -> None:
    only = as_the_only_value(text)

    assert only is None or only == parse_matrix_id(text, default_server=default)


@given(modern_ids)
def test_every_modern_id_is_read_as_itself_by_every_reader(text: str) -> None:
    assert {str(parse_matrix_id(text)), str(MatrixID.of(text)), str(as_the_only_value(text))} == {text}


@given(modern_ids)
def test_a_link_to_a_person_leads_to_that_person(text: str) -> None:
    assert str(as_the_only_value(f"https://matrix.to/#/{text}?via=example.org")) == text


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._=\-/+]{0,30}", fullmatch=True))
def test_the_case_of_a_user_name_is_kept(localpart: str) -> None:
    assert parse_matrix_id(f"{localpart}:example.org").localpart == localpart


@given(modern_ids)
def test_the_key_of_an_id_does_not_depend_on_the_case_it_was_typed_in(text: str) -> None:
    assert parse_matrix_id(text.upper()).key == parse_matrix_id(text).key == text
