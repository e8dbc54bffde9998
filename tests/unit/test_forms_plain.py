"""Generic JSON, in the shapes that scripts and automation services make."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import FormPost, read

ALICE = "@alice:example.org"
MALLORY = "@mallory:example.org"


def submitted(data: Any) -> Submission:
    return read(
        FormPost(json.dumps(data).encode(), {"content-type": "application/json"}), FormReading()
    ).submission


def answers(data: Any) -> list[tuple[str, str]]:
    return [(answer.label, answer.value) for answer in submitted(data).answers]


@pytest.mark.parametrize(
    "data",
    [
        {"matrix_id": ALICE},
        {"user_id": ALICE},
        {"contact": ALICE},
        {"Matrix ID": [ALICE]},
        {"data": {"matrix_id": ALICE}},
        {"fields": {"Matrix ID": ALICE}},
        {"form": {"answers": {"matrix_id": ALICE}}},
        {"fields": [{"label": "Matrix ID", "value": ALICE}]},
        {"answers": [{"question": "Matrix ID", "answer": ALICE}]},
        {"data": {"6f1c": {"name": "Matrix ID", "value": ALICE}}},
        {"data": {"matrix_id": {"value": ALICE, "name": None}}},
        {"rows": [{"Id": 1, "Title": "x", "Matrix ID": ALICE}]},
        [{"name": "matrix_id", "value": ALICE}],
        [{"key": "q1", "title": "Matrix ID", "value": ALICE}, None, "x", []],
        [{"Matrix ID": ALICE}],
        {"eventType": "FORM_RESPONSE", "data": {"matrix_id": ALICE}},
    ],
    ids=json.dumps,
)
def test_the_person_is_found(data: Any) -> None:
    assert str(submitted(data).user_id) == ALICE


@pytest.mark.parametrize("data", [None, True, 7, "x", ALICE, [], [ALICE], [[{"matrix_id": ALICE}]]], ids=repr)
def test_what_is_no_form_is_unreadable(data: Any) -> None:
    with pytest.raises(Unreadable, match="holds no form"):
        submitted(data)


def test_an_empty_object_names_nobody() -> None:
    assert submitted({}).user_id is None


@pytest.mark.parametrize("key", ["event_id", "eventId", "submission_id", "submissionId"])
def test_the_event_id_is_taken_from_the_top(key: str) -> None:
    assert submitted({key: "e1"}).event_id == "e1"


@pytest.mark.parametrize(
    "data",
    [{"id": "form-1"}, {"eventId": 7}, {"eventId": ""}, {"eventId": None}, {"data": {"eventId": "e1"}}],
)
def test_nothing_else_is_an_event_id(data: Any) -> None:
    assert submitted(data).event_id == ""


def test_an_event_id_outweighs_a_bare_id() -> None:
    assert submitted({"id": "form", "eventId": "e1"}).event_id == "e1"


@pytest.mark.parametrize(
    "data",
    [
        {"referrer": MALLORY},
        {"utm_source": MALLORY},
        {"_next": MALLORY},
        {"metadata": {"by": MALLORY}},
        {"hidden": {"contact": MALLORY}},
        {"urlParameters": [{"name": "contact", "value": MALLORY}]},
        {"meta": {"fields": [{"label": "Matrix ID", "value": MALLORY}]}},
        {"fields": [{"label": "contact", "type": "hidden", "value": MALLORY}]},
        {"fields": [{"label": "contact", "hidden": True, "value": MALLORY}]},
        {"fields": [{"label": "contact", "type": "EmailInput", "value": MALLORY}]},
        {"fields": [{"label": "contact", "kind": "choice", "value": MALLORY}]},
    ],
    ids=json.dumps,
)
def test_metadata_hidden_and_email_fields_are_not_searched(data: Any) -> None:
    assert submitted(data).user_id is None


def test_two_rows_with_two_people_name_nobody() -> None:
    assert submitted({"rows": [{"Matrix ID": ALICE}, {"Matrix ID": MALLORY}]}).user_id is None


def test_a_question_called_answer_does_not_hide_the_others() -> None:
    assert str(submitted({"name": "Al", "answer": "42", "matrix_id": ALICE}).user_id) == ALICE


@pytest.mark.promise(10)
@pytest.mark.parametrize("key", ["token", "form_token", "api_key", "secret", "Authorization"])
def test_a_secret_that_a_form_carries_reaches_no_moderator(key: str) -> None:
    assert answers({key: "canary", "data": {key: "canary"}}) == []


def test_answers_are_carried_along_from_everywhere() -> None:
    data = {"name": "Al", "data": {"why": "x"}, "more": [{"label": "Rooms", "value": ["A", "B"]}], "age": 7}
    assert answers(data) == [("name", "Al"), ("why", "x"), ("Rooms", "A, B"), ("age", "7")]


@pytest.mark.parametrize("value", [{"name": "me.png", "url": "u"}, [{"filename": "me.png", "url": "u"}]])
def test_files_are_shown_by_their_name(value: Any) -> None:
    assert answers({"portfolio": value}) == [("portfolio", "me.png")]


def test_deep_nesting_is_shown_and_not_searched() -> None:
    deep: Any = {"matrix_id": ALICE}
    for _ in range(8):
        deep = {"a": deep}
    assert submitted(deep).user_id is None


@pytest.mark.parametrize(
    "data",
    [
        {str(n): "x" for n in range(1001)},
        [{"label": "Q", "value": "x"}] * 1001,
        [{}] * 100_000,
        {"a": [{"b": [{}] * 300}] * 300},
    ],
    ids=["object", "questions", "empty objects", "nested"],
)
def test_a_form_of_too_many_fields_is_unreadable(data: Any) -> None:
    with pytest.raises(Unreadable, match="1000 fields"):
        submitted(data)
