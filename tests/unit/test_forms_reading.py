"""Fields become a Submission: the person, the trap, the answers."""

from __future__ import annotations

from typing import Any

import pytest

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Answer, Submission
from mknock.forms.reading import CHOICE, EMAIL, FILE, MOST_BYTES, Field, read_fields

ALICE = "@alice:example.org"
MALLORY = "@mallory:example.org"


def field(label: str, value: Any, *, key: str = "q", hidden: bool = False, kind: str = "") -> Field:
    return Field(key, label, value, hidden, kind)


def read(*fields: Field, **reading: str) -> Submission:
    return read_fields(fields, FormReading(**reading), "test")


def who(*fields: Field, **reading: str) -> str:
    return str(read(*fields, **reading).user_id)


# --- the person ---


def test_the_first_field_is_not_taken_for_the_id() -> None:
    assert who(field("Your name", "Dave Smith"), field("Matrix ID", ALICE)) == ALICE


def test_a_configured_key_outweighs_every_label() -> None:
    assert who(field("Matrix ID", MALLORY), field("Contact", ALICE, key="c7"), id_field="c7") == ALICE


def test_a_configured_label_outweighs_every_other() -> None:
    assert who(field("Matrix ID", MALLORY), field("Your contact?", ALICE), id_field="your contact") == ALICE


def test_a_configured_key_outweighs_the_same_label() -> None:
    assert who(field("contact", MALLORY), field("Other", ALICE, key="contact"), id_field="contact") == ALICE


def test_without_the_configured_field_labels_are_asked() -> None:
    assert who(field("Matrix ID", ALICE), id_field="c7") == ALICE


@pytest.mark.parametrize("empty", [None, "", "  ", [], {}, False])
def test_an_empty_field_counts_as_absent(empty: Any) -> None:
    assert who(field("Matrix ID", empty), field("Contact", ALICE)) == ALICE


def test_a_clear_label_outweighs_a_bare_user_id() -> None:
    assert who(field("user_id", 17), field("Matrix ID", ALICE)) == ALICE


def test_a_bare_user_id_outweighs_the_search() -> None:
    assert who(field("user_id", ALICE), field("Friend", MALLORY)) == ALICE


def test_the_only_value_that_is_an_id_is_taken() -> None:
    assert who(field("Name", "Alice"), field("Contact", [None, ALICE])) == ALICE


def test_an_id_inside_a_sentence_is_not_searched_out() -> None:
    assert who(field("Why?", f"My friend {MALLORY} told me")) == "None"


@pytest.mark.parametrize("kind", [EMAIL, CHOICE, FILE])
def test_what_nobody_typed_freely_is_not_searched(kind: str) -> None:
    assert who(field("Which?", MALLORY, kind=kind)) == "None"


def test_a_hidden_field_is_not_searched() -> None:
    assert who(field("ref", MALLORY, hidden=True)) == "None"


def test_a_hidden_field_with_the_right_label_is_not_taken() -> None:
    assert who(field("Matrix ID", MALLORY, hidden=True), field("Contact", ALICE)) == ALICE


def test_an_email_field_with_the_right_label_is_not_taken() -> None:
    assert who(field("Matrix ID", "alice@example.org", kind=EMAIL)) == "None"


def test_a_trap_is_not_searched() -> None:
    assert who(field("honeypot", MALLORY)) == "None"


def test_a_number_is_a_user_name_when_asked_for() -> None:
    assert who(field("Matrix ID", 12345), default_server="example.org") == "@12345:example.org"


@pytest.mark.promise(4)
def test_an_unreadable_id_is_final() -> None:
    assert who(field("Matrix ID", "ask my friend"), field("Friend", MALLORY)) == "None"


@pytest.mark.promise(4)
@pytest.mark.parametrize("label", ["Matrix ID", "Contact"])
def test_two_different_ids_name_nobody(label: str) -> None:
    assert who(field(label, ALICE), field(label, MALLORY)) == "None"


@pytest.mark.parametrize("label", ["Matrix ID", "Contact"])
def test_two_different_ids_are_a_problem(label: str) -> None:
    assert "two different Matrix IDs" in read(field(label, ALICE), field(label, MALLORY)).problem


@pytest.mark.parametrize("label", ["Matrix ID", "Contact"])
def test_the_same_id_twice_is_one(label: str) -> None:
    assert who(field(label, ALICE), field(label, [f"  {ALICE}", "https://matrix.to/#/" + ALICE])) == ALICE


def test_many_different_ids_are_not_all_tried() -> None:
    ids = [f"@user{n}:example.org" for n in range(500)]
    assert "two different Matrix IDs" in read(field("Matrix ID", ids)).problem


def test_the_problem_names_the_configured_question() -> None:
    assert '"c7"' in read(field("Why?", "x"), id_field="c7").problem


def test_the_problem_names_the_question_that_was_left_empty() -> None:
    assert '"Your Matrix ID"' in read(field("Your Matrix ID", "")).problem


def test_the_problem_says_what_an_id_looks_like() -> None:
    assert "@alice:example.org" in read().problem


# --- the honeypot ---


@pytest.mark.parametrize(("value", "trap"), [("spam", "spam"), (True, "yes"), (["a", "b"], "a, b"), (7, "7")])
def test_whatever_is_in_the_trap_is_reported(value: Any, trap: str) -> None:
    assert read(field("Honeypot (leave empty)", value)).trap == trap


@pytest.mark.parametrize("value", [None, "", " ", False, [], ["", None]])
def test_an_empty_trap_is_not_reported(value: Any) -> None:
    assert read(field("Honeypot", value)).trap == ""


def test_a_trap_filled_with_invisible_characters_is_reported() -> None:
    assert read(field("Honeypot", "\x00\u202e")).trap == "(filled)"


def test_the_trap_is_cut() -> None:
    assert len(read(field("honeypot", "x" * 5000)).trap) == 200


@pytest.mark.parametrize("name", ["website", "Your website!"])
def test_a_configured_trap_is_known_by_key_or_label(name: str) -> None:
    assert read(field("your website", "spam", key="website"), trap_field=name).trap == "spam"


def test_a_configured_trap_may_be_hidden() -> None:
    assert read(field("_gotcha", "spam", hidden=True), trap_field="_gotcha").trap == "spam"


def test_any_filled_trap_counts() -> None:
    assert read(field("honeypot", ""), field("honeypot 2", "spam")).trap == "spam"


@pytest.mark.parametrize("name", ["", "??"])
def test_a_setting_without_letters_makes_no_trap_of_untitled_fields(name: str) -> None:
    assert read(field("", "hello"), trap_field=name).trap == ""


# --- the answers ---


def test_answers_come_in_order_as_text() -> None:
    submission = read(field("Name", "Al"), field("Age", 7), field("Agreed", True), field("Rooms", ["A", "B"]))
    assert submission.answers == (
        Answer("Name", "Al"),
        Answer("Age", "7"),
        Answer("Agreed", "yes"),
        Answer("Rooms", "A, B"),
    )


def test_unanswered_questions_are_left_out() -> None:
    assert read(field("Name", None), field("Age", ""), field("Rooms", [])).answers == ()


def test_an_untitled_question_says_so() -> None:
    assert read(field("", "x")).answers == (Answer("(untitled)", "x"),)


def test_the_field_that_named_the_person_is_no_answer() -> None:
    assert read(field("Contact", ALICE), field("Name", "Al")).answers == (Answer("Name", "Al"),)


def test_labels_are_one_line() -> None:
    assert read(field("Your\nname\u202e", "x")).answers[0].label == "Your name"


def test_answers_keep_their_lines() -> None:
    assert read(field("Why?", "a\r\nb\x00")).answers[0].value == "a\nb"


def test_long_labels_are_cut() -> None:
    assert len(read(field("L" * 5000, "x")).answers[0].label) == 200


def test_long_answers_are_cut() -> None:
    assert len(read(field("Why?", "x" * 5000)).answers[0].value) == 2000


def test_there_are_at_most_forty_answers() -> None:
    assert len(read(*[field("Why?", "x")] * 100).answers) == 40


def test_all_answers_together_are_bounded() -> None:
    answers = read(*[field("Why?", "é" * 5000)] * 40).answers
    assert 0 < sum(len((one.label + one.value).encode()) for one in answers) <= MOST_BYTES


# --- the rest ---


@pytest.mark.parametrize("event_id", [None, 7, [], "", "x" * 201])
def test_what_is_no_short_text_is_no_event_id(event_id: Any) -> None:
    assert read_fields([], FormReading(), "test", event_id).event_id == ""


def test_the_event_id_can_be_stored() -> None:
    assert read_fields([], FormReading(), "test", "a\x00\ud800b").event_id == "ab"


def test_the_senders_address_is_passed_on() -> None:
    assert read_fields([], FormReading(), "test", "", "198.51.100.4").sender_address == "198.51.100.4"


def test_a_form_of_too_many_fields_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="1000 fields"):
        read(*[field("Why?", "x")] * 1001)
