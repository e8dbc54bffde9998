"""What every form platform in the registry keeps, shown on a sample of each.

A new platform is held to it by one line in ``tests/samples/forms.py``.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.samples.forms import SAMPLES, TYPED, WHY, Sample

from mknock.domain.doors import FormReading
from mknock.domain.knocks import Submission
from mknock.forms import FORMS, SIGNED, FormPost, Platform, Verifier, read
from mknock.forms.post import Payload

of_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)
of_every_platform = pytest.mark.parametrize("platform", FORMS, ids=lambda platform: platform.name)
of_every_signer = pytest.mark.parametrize("verifies", SIGNED.values(), ids=SIGNED)


def submitted(post: FormPost, reading: FormReading | None = None) -> Submission:
    return read(post, reading or FormReading()).submission


@of_every_platform
def test_the_platform_has_a_sample(platform: Platform) -> None:
    assert platform.name in {sample.platform for sample in SAMPLES}


def test_no_two_platforms_share_a_name() -> None:
    assert len({platform.name for platform in FORMS}) == len(FORMS)


def test_whoever_signs_is_a_platform() -> None:
    assert SIGNED.keys() <= {platform.name for platform in FORMS}


@of_every_sample
def test_the_registry_picks_the_platform(sample: Sample) -> None:
    assert submitted(sample.post()).platform == sample.platform


@of_every_sample
def test_the_person_is_found(sample: Sample) -> None:
    assert str(submitted(sample.post()).user_id) == TYPED


@of_every_sample
def test_a_readable_form_has_no_problem(sample: Sample) -> None:
    assert submitted(sample.post()).problem == ""


@of_every_sample
def test_the_event_id_is_taken_over(sample: Sample) -> None:
    assert submitted(sample.post()).event_id == sample.event_id


@of_every_sample
def test_the_moderator_gets_the_answers(sample: Sample) -> None:
    assert WHY in {answer.value for answer in submitted(sample.post()).answers}


@of_every_sample
def test_the_id_is_not_repeated_among_the_answers(sample: Sample) -> None:
    assert not [answer for answer in submitted(sample.post()).answers if TYPED in answer.value]


@of_every_sample
def test_hidden_fields_are_not_carried_along(sample: Sample) -> None:
    assert b"newsletter" in sample.post().body
    assert not [answer for answer in submitted(sample.post()).answers if "newsletter" in answer.value]


@of_every_sample
def test_the_same_delivery_reads_the_same(sample: Sample) -> None:
    assert submitted(sample.post()) == submitted(sample.post())


@of_every_sample
def test_an_empty_trap_is_no_trap(sample: Sample) -> None:
    assert submitted(sample.post()).trap == ""


@of_every_sample
def test_a_filled_trap_is_reported(sample: Sample) -> None:
    assert submitted(sample.post(trapped=True)).trap == "spam"


@of_every_sample
def test_a_filled_trap_is_reported_without_an_id(sample: Sample) -> None:
    assert submitted(sample.post(typed="", trapped=True)).trap == "spam"


@of_every_sample
def test_the_trap_is_no_answer(sample: Sample) -> None:
    assert not [answer for answer in submitted(sample.post(trapped=True)).answers if answer.value == "spam"]


@of_every_sample
def test_what_people_type_is_mended(sample: Sample) -> None:
    assert str(submitted(sample.post(typed=" https://matrix.to/#/@alice:Example.ORG ")).user_id) == TYPED


@of_every_sample
def test_a_name_alone_belongs_to_the_default_server(sample: Sample) -> None:
    reading = FormReading(default_server="example.org")
    assert str(submitted(sample.post(typed="alice"), reading).user_id) == TYPED


@of_every_sample
def test_what_is_no_id_names_nobody(sample: Sample) -> None:
    assert submitted(sample.post(typed="none of your business")).user_id is None


@of_every_sample
def test_what_is_no_id_is_a_problem(sample: Sample) -> None:
    assert "@alice:example.org" in submitted(sample.post(typed="none of your business")).problem


@of_every_sample
def test_a_missing_id_is_a_problem(sample: Sample) -> None:
    assert "@alice:example.org" in submitted(sample.post(typed="")).problem


@pytest.mark.promise(4)
@of_every_sample
def test_another_answer_never_replaces_an_unreadable_id(sample: Sample) -> None:
    post = sample.post(typed="none of your business", why="@victim:example.org")
    assert submitted(post).user_id is None


@pytest.mark.promise(4)
@of_every_sample
def test_an_id_in_another_answer_changes_nothing(sample: Sample) -> None:
    assert str(submitted(sample.post(why="@victim:example.org")).user_id) == TYPED


@of_every_sample
def test_an_answer_of_any_script_arrives(sample: Sample) -> None:
    why = "Ich möchte dabei sein — 東京 👩‍🚀"
    assert why in {answer.value for answer in submitted(sample.post(why=why)).answers}


@of_every_sample
def test_the_default_server_is_not_needed_for_a_full_id(sample: Sample) -> None:
    reading = FormReading(default_server="other.example")
    assert str(submitted(sample.post(), reading).user_id) == TYPED


ODD: list[Any] = [
    None,
    True,
    0,
    math.inf,
    "x",
    [],
    [None],
    ["x"],
    {},
    {"data": None},
    {"data": []},
    {"eventType": 7},
]


@of_every_platform
@pytest.mark.parametrize("data", ODD, ids=repr)
def test_a_platform_recognises_or_not_but_never_fails(platform: Platform, data: Any) -> None:
    assert platform.recognises(Payload(data)) in (True, False)


@of_every_signer
def test_a_missing_signature_does_not_verify(verifies: Verifier) -> None:
    assert not verifies(FormPost(b"{}", {}), "knock-test-secret")


@of_every_signer
@pytest.mark.parametrize("value", ["", "x", "é", "\udcff", "sha256=", "====", "A" * 44])
def test_a_wrong_signature_does_not_verify(verifies: Verifier, value: str) -> None:
    headers = {"tally-signature": value}
    assert not verifies(FormPost(b"{}", headers), "knock-test-secret")
