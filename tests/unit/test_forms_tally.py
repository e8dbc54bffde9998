"""Tally's own shapes: doubles, option ids, nulls, signatures."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from tests.samples.forms import SAMPLES

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Answer, Submission
from mknock.forms import FormPost, read, tally

ALICE = {"key": "question_a", "label": "Matrix ID", "type": "INPUT_TEXT", "value": "@alice:example.org"}
SECRET = "knock-test-secret"
NOW = 1_700_000_000.0
SAMPLE = next(sample for sample in SAMPLES if sample.platform == "tally")


def submitted(event: Any, **reading: str) -> Submission:
    return read(FormPost(json.dumps(event).encode(), {}), FormReading(**reading)).submission


def event(*fields: Any) -> dict[str, Any]:
    return {"eventId": "e1", "eventType": "FORM_RESPONSE", "data": {"fields": [ALICE, *fields]}}


def field(
    kind: str, value: Any, label: str | None = "Q", key: str = "question_b", **more: Any
) -> dict[str, Any]:
    return {"key": key, "label": label, "type": kind, "value": value, **more}


def answers(*fields: Any) -> list[tuple[str, str]]:
    return [(answer.label, answer.value) for answer in submitted(event(*fields)).answers]


def test_the_sample_reads_as_it_was_filled_in() -> None:
    assert read(SAMPLE.post(), FormReading()).submission.answers == (
        Answer("Why do you want to join?", "I run the local repair café and would like to help with events."),
        Answer("Which room?", "Makers"),
        Answer("I agree to", "Code of conduct"),
        Answer("Portfolio", "me.png"),
    )


@pytest.mark.parametrize(
    "odd",
    [
        field("INPUT_TEXT", None),
        field("INPUT_NUMBER", 17),
        field("RATING", 4.5),
        field("CHECKBOXES", ["x"]),
        field("CHECKBOXES", True),
        field("FILE_UPLOAD", [{"id": "f", "name": "me.png", "url": "https://x.example/me.png"}]),
        field("MATRIX", {"r1": ["c1"]}),
        field("INPUT_TEXT", "x", label=None),
        field("INPUT_TEXT", "x", key=None),  # type: ignore[arg-type]
        field("DROPDOWN", ["x"], options=None),
        field("DROPDOWN", [None, {}], options=[None, "x", {"id": []}, {"text": "no id"}]),
        field("DROPDOWN", "x", options="x"),
        field("PAYMENT", {"amount": 5}),
        field("INPUT_TEXT", ["@", {"name": 3, "url": 4}]),
        {},
        {"type": []},
        None,
        "x",
        7,
        [],
    ],
    ids=repr,
)
def test_no_other_field_keeps_the_person_from_being_found(odd: Any) -> None:
    assert str(submitted(event(odd)).user_id) == "@alice:example.org"


@pytest.mark.parametrize(
    "data", [None, [], [None], {"fields": None}, {"fields": [None]}, {"fields": ["x"]}, {}, 7]
)
def test_an_event_without_answers_names_nobody(data: Any) -> None:
    assert submitted({"eventType": "FORM_RESPONSE", "data": data}).user_id is None


def test_choices_are_shown_by_their_text() -> None:
    options = [{"id": "1", "text": "Lobby"}, {"id": "2", "text": "Makers"}]
    assert answers(field("MULTIPLE_CHOICE", ["2", "1"], options=options)) == [("Q", "Makers, Lobby")]


def test_an_unknown_choice_is_shown_as_it_came() -> None:
    assert answers(field("DROPDOWN", ["9"], options=[{"id": "1", "text": "Lobby"}])) == [("Q", "9")]


def test_a_grid_is_shown_by_its_texts() -> None:
    grid = field(
        "MATRIX", {"r": ["c"]}, rows=[{"id": "r", "text": "Mon"}], columns=[{"id": "c", "text": "8 am"}]
    )
    assert answers(grid) == [("Q", "Mon: 8 am")]


@pytest.mark.parametrize("value", [["o1"], None])
def test_options_of_a_list_of_checkboxes_are_not_repeated(value: Any) -> None:
    double = field("CHECKBOXES", True, label="Q (Yes)", key="question_b_o1")
    options = [{"id": "o1", "text": "Yes"}]
    assert ("Q (Yes)", "yes") not in answers(field("CHECKBOXES", value, options=options), double)


def test_a_lone_checkbox_is_an_answer() -> None:
    assert answers(field("CHECKBOXES", True)) == [("Q", "yes")]


@pytest.mark.parametrize("kind", ["HIDDEN_FIELDS", "CALCULATED_FIELDS"])
def test_what_nobody_answered_is_not_carried_along(kind: str) -> None:
    assert answers(field(kind, "newsletter")) == []


def test_the_owners_options_are_not_searched_for_an_id() -> None:
    choice = field("DROPDOWN", ["1"], options=[{"id": "1", "text": "@owner:example.org"}])
    assert submitted({"eventType": "FORM_RESPONSE", "data": {"fields": [choice]}}).user_id is None


def test_a_ticked_trap_is_reported() -> None:
    assert submitted(event(field("CHECKBOXES", ["1"], label="Honeypot"))).trap == "1"


def test_the_id_can_be_configured_by_key() -> None:
    other = field("INPUT_TEXT", "@bob:example.org", key="question_c")
    assert str(submitted(event(other), id_field="question_c").user_id) == "@bob:example.org"


@pytest.mark.parametrize("kind", ["FORM_PARTIAL", "", "form_response"])
def test_another_event_is_unreadable_and_says_so(kind: str) -> None:
    with pytest.raises(Unreadable, match="not a submitted form"):
        submitted(event() | {"eventType": kind})


@pytest.mark.parametrize("event_id", [None, 7, {}])
def test_an_event_without_an_id_is_read(event_id: Any) -> None:
    assert submitted(event() | {"eventId": event_id}).event_id == ""


# --- the signature ---


BODY = json.dumps(json.loads(SAMPLE.post().body), ensure_ascii=False, separators=(",", ":")).encode()
GOOD = "VrjI5B+tWSodBbHcAFT7aBklprWPICI3YuZ4xKS0YcU="
"""What Tally sends for the sample, which it writes without blanks, and the secret "knock-test-secret"."""


def signed(signature: str, body: bytes = BODY) -> FormPost:
    return FormPost(body, {"tally-signature": signature})


def test_a_signature_over_the_raw_body_verifies() -> None:
    assert tally.verifies(signed(GOOD), SECRET, NOW)


def test_a_signature_over_other_bytes_does_not() -> None:
    assert not tally.verifies(signed(GOOD, BODY + b" "), SECRET, NOW)


@pytest.mark.parametrize("secret", ["", "another", SECRET + " "])
def test_another_secret_does_not_verify(secret: str) -> None:
    assert not tally.verifies(signed(GOOD), secret, NOW)


@pytest.mark.parametrize(
    "signature", ["", "sha256=" + GOOD, GOOD[:-1], GOOD.lower(), "é" + GOOD, "\udc80", "☃"]
)
def test_another_signature_does_not_verify(signature: str) -> None:
    assert not tally.verifies(signed(signature), SECRET, NOW)


def test_an_empty_secret_signs_nothing() -> None:
    mac = hmac.digest(b"", BODY, "sha256")
    assert not tally.verifies(signed(base64.b64encode(mac).decode()), "", NOW)
