"""A form as browsers post it."""

from __future__ import annotations

import pytest

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Answer, Submission
from mknock.forms import FormPost, read

FLAG = {"content-type": "application/x-www-form-urlencoded"}


def submitted(body: str, **reading: str) -> Submission:
    return read(FormPost(body.encode(), FLAG), FormReading(**reading)).submission


def test_a_person_waits_for_a_page() -> None:
    assert read(FormPost(b"a=1", FLAG), FormReading()).html


def test_a_program_does_not() -> None:
    assert not read(FormPost(b'{"a": 1}', FLAG), FormReading()).html


def test_repeated_names_are_one_answer() -> None:
    assert submitted("room=Lobby&room=Makers").answers == (Answer("room", "Lobby, Makers"),)


def test_it_has_no_event_id() -> None:
    assert submitted("event_id=e1&id=7").event_id == ""


def test_two_empty_traps_of_one_name_are_empty() -> None:
    assert submitted("honeypot=&honeypot=").trap == ""


def test_a_repeated_trap_is_filled_by_one() -> None:
    assert submitted("honeypot=&honeypot=spam").trap == "spam"


def test_a_configured_trap_may_look_like_metadata() -> None:
    assert submitted("_gotcha=spam", trap_field="_gotcha").trap == "spam"


@pytest.mark.parametrize("name", ["_next", "utm_source", "token"])
def test_what_the_page_filled_in_is_not_carried_along(name: str) -> None:
    assert submitted(f"{name}=x").answers == ()


def test_repeated_ids_that_differ_name_nobody() -> None:
    assert submitted("matrix_id=@a:example.org&matrix_id=@b:example.org").user_id is None
