"""What holds for every delivery: it is read or unreadable, and what was read can be stored."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.samples.forms import JSON, MULTIPART, SAMPLES, SIGNED_SAMPLES, URLENCODED, Signed

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import SIGNED, FormPost, read
from mknock.forms.reading import LONGEST_ANSWER, LONGEST_LABEL, LONGEST_TRAP, MOST_ANSWERS, MOST_BYTES
from mknock.forms.text import clean

in_time = settings(deadline=timedelta(seconds=2))

any_character = st.characters(
    categories=("L", "N", "P", "S", "Z", "C", "M")
)  # "C" has lone surrogates and NUL
awkward = st.sampled_from(
    ["", " ", "\x00", "\ud800", "\u202e", "@", "@a:b.c", "@mallory:example.org", "alice@example.org", "Matrix ID",
     "honeypot", "matrix_id", "Email", "HIDDEN_FIELDS", "CHECKBOXES", "question_wQ1K7w", "x" * 3000, "@" * 3000]
)  # fmt: skip
texts = st.text(any_character, max_size=20) | awkward
keys = texts | st.sampled_from(
    [
        "data",
        "fields",
        "label",
        "key",
        "value",
        "type",
        "options",
        "name",
        "id",
        "eventType",
        "eventId",
        "url",
        "rows",
        "answers",
        "submission",
        "questions",
        "payload",
        "event",
        "event_type",
        "form_response",
        "form",
        "keys",
        "rawRequest",
        "namedValues",
        "matrix_id",
        "1",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)
names = st.none() | texts
readings = st.builds(FormReading, names, names, st.sampled_from([None, "example.org"]))
content_types = (
    st.sampled_from([JSON, URLENCODED, MULTIPART, "text/plain", "multipart/form-data", ""]) | st.text()
)


def read_or_not(post: FormPost, reading: FormReading) -> Submission | None:
    """Return what was read; anything but Unreadable fails the test."""
    try:
        return read(post, reading).submission
    except Unreadable:
        return None


def as_json(data: Any) -> FormPost:
    return FormPost(json.dumps(data).encode(), {"content-type": JSON})


def strings(submission: Submission) -> Iterator[str]:
    yield from (submission.platform, submission.problem, submission.event_id, submission.trap)
    yield from (submission.sender_address, str(submission.user_id))
    for answer in submission.answers:
        yield from (answer.label, answer.value)


def assert_storable(submission: Submission | None) -> None:
    for text in strings(submission) if submission else ():
        text.encode()  # a lone surrogate raises
        assert "\x00" not in text


def assert_bounded(submission: Submission | None) -> None:
    if submission is None:
        return
    assert len(submission.trap) <= LONGEST_TRAP
    assert len(submission.answers) <= MOST_ANSWERS
    assert all(len(answer.label) <= LONGEST_LABEL for answer in submission.answers)
    assert all(len(answer.value) <= LONGEST_ANSWER for answer in submission.answers)
    assert sum(len((answer.label + answer.value).encode()) for answer in submission.answers) <= MOST_BYTES


def assert_sound(submission: Submission | None) -> None:
    assert_storable(submission)
    assert_bounded(submission)
    assert submission is None or (submission.user_id is None) == bool(submission.problem)


@st.composite
def spoilt_samples(draw: st.DrawFn) -> FormPost:
    """A JSON sample in which up to three nodes were replaced by any JSON value."""
    sample = draw(st.sampled_from([sample for sample in SAMPLES if sample.content_type == JSON]))
    data = json.loads(sample.post().body)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(data))))
        data = replaced(data, path, draw(json_values))
    return FormPost(as_json(data).body, sample.post().headers)


def paths(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from paths(value, (*here, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    data = copy.copy(data)
    data[path[0]] = replaced(data[path[0]], path[1:], value)
    return data


@st.composite
def spoilt_bytes(draw: st.DrawFn) -> FormPost:
    """Any sample, cut somewhere and with some bytes put in."""
    post = draw(st.sampled_from(SAMPLES)).post()
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(post.body))] * 2)))
    body = post.body[:start] + draw(st.binary(max_size=20)) + post.body[draw(st.sampled_from([start, end])) :]
    return FormPost(body, post.headers)


@in_time
@given(st.binary(max_size=300), content_types, readings)
def test_any_bytes_are_read_or_unreadable(body: bytes, content_type: str, reading: FormReading) -> None:
    assert_sound(read_or_not(FormPost(body, {"content-type": content_type}), reading))


@in_time
@given(json_values, readings)
def test_any_json_is_read_or_unreadable(data: Any, reading: FormReading) -> None:
    assert_sound(read_or_not(as_json(data), reading))


@in_time
@given(st.lists(st.tuples(keys, texts), max_size=10), readings)
def test_any_browser_form_is_read(pairs: list[tuple[str, str]], reading: FormReading) -> None:
    body = urlencode(pairs, errors="surrogatepass").encode()
    assert_sound(read(FormPost(body, {"content-type": URLENCODED}), reading).submission)


@in_time
@given(spoilt_samples(), readings)
def test_any_spoilt_delivery_is_read_or_unreadable(post: FormPost, reading: FormReading) -> None:
    assert_sound(read_or_not(post, reading))


@in_time
@given(spoilt_bytes(), readings)
def test_any_damaged_delivery_is_read_or_unreadable(post: FormPost, reading: FormReading) -> None:
    assert_sound(read_or_not(post, reading))


signature_texts = st.text(any_character) | st.text("tv1=,. 0123456789abcdefg+/", max_size=80)
times = st.floats(0, 1e10) | st.just(1_700_000_000.0)


@given(st.sampled_from(sorted(SIGNED)), st.binary(max_size=50), signature_texts, st.text(), times)
def test_no_made_up_signature_verifies(
    signer: str, body: bytes, signature: str, secret: str, now: float
) -> None:
    stamps = {f"{name}-timestamp": f"{now:.0f}" for name in ("webhook", "svix", "x-webflow")}
    ids = {"webhook-id": "msg_1", "svix-id": "msg_1"}
    headers = {**dict.fromkeys(SIGNED[signer].headers, signature), **stamps, **ids}
    assert not SIGNED[signer].verifies(FormPost(body, headers), secret, now)


@given(st.sampled_from(SIGNED_SAMPLES), st.data())
def test_no_signature_with_another_character_verifies(signed: Signed, data: st.DataObject) -> None:
    given_as = signed.post.headers[signed.signature]
    known = given_as.rindex(
        "," if "," in given_as and signed.signer in ("webhook", "formbricks") else given_as[0]
    )
    place = data.draw(st.integers(known, len(given_as) - 1))
    spoilt = (
        given_as[:place]
        + data.draw(st.characters(exclude_characters=given_as[place]))
        + given_as[place + 1 :]
    )
    post = signed.with_header(signed.signature, spoilt)
    assert not SIGNED[signed.signer].verifies(post, signed.secret, signed.clock)


@given(st.sampled_from(SIGNED_SAMPLES), st.data())
def test_no_body_with_another_byte_verifies(signed: Signed, data: st.DataObject) -> None:
    body = bytearray(signed.post.body)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    post = FormPost(bytes(body), signed.post.headers)
    assert not SIGNED[signed.signer].verifies(post, signed.secret, signed.clock)


@given(st.text(any_character), st.integers(1, 50))
def test_cleaning_twice_is_cleaning_once(text: str, longest: int) -> None:
    assert clean(clean(text, longest), longest) == clean(text, longest)


@given(st.lists(st.tuples(keys, scalars), max_size=8), st.permutations(range(8)))
def test_the_order_of_the_fields_does_not_change_the_person(
    fields: list[tuple[str, Any]], order: list[int]
) -> None:
    items = [{"label": label, "value": value} for label, value in fields]
    shuffled = [items[n] for n in order if n < len(items)]
    first, second = read_or_not(as_json({"fields": items}), FormReading()), None
    second = read_or_not(as_json({"fields": shuffled}), FormReading())
    assert key_of(first) == key_of(second)


def key_of(submission: Submission | None) -> str | None:
    return submission.user_id.key if submission and submission.user_id else None
