"""What every form platform in the registry keeps, shown on a sample of each.

A new platform is held to it by one line in ``tests/samples/forms.py``; one that signs
by a delivery in ``tests/samples/signed.json`` as well.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.samples.forms import (
    JSON,
    MULTIPART,
    SAMPLES,
    SIGNED_SAMPLES,
    TYPED,
    URLENCODED,
    WHY,
    Sample,
    Signed,
)

from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo, Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import FORMS, SIGNED, FormPost, Platform, read
from mknock.forms.post import Payload
from mknock.forms.reading import LONGEST_ANSWER
from mknock.settings import Settings

WITHOUT_ANSWERS: dict[str, Any] = {
    "nextcloud_forms": {
        "event": {
            "class": "OCA\\Forms\\Events\\FormSubmittedEvent",
            "form": {"id": 4, "title": "Join our community"},
            "submission": {"id": 9, "formId": 4, "userId": "alice"},
        },
        "user": {"uid": "alice"},
        "time": 1795186821,
    },
    "airtable": {
        "base": {"id": "app00000000000000"},
        "webhook": {"id": "ach00000000000000"},
        "timestamp": "2026-11-20T15:00:21.000Z",
    },
}
"""Platforms that tell of a form without its answers, and what they send."""

HAVE_NO_ID = {"google_forms.named_values.json", "opnform.json"}
"""Samples of platforms that give a delivery no id."""

of_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)
of_every_json_sample = pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.content_type == JSON], ids=str
)
of_every_platform = pytest.mark.parametrize("platform", FORMS, ids=lambda platform: platform.name)
of_every_signed = pytest.mark.parametrize("signed", SIGNED_SAMPLES, ids=str)


def submitted(sample: Sample, *, default_server: str | None = None, **answers: Any) -> Submission:
    reading = replace(sample.reading, default_server=default_server)
    return read(sample.post(**answers), reading).submission


def as_json(data: Any, **headers: str) -> FormPost:
    return FormPost(json.dumps(data).encode(), {"content-type": JSON, **headers})


# --- the registry --------------------------------------------------------------------------------


@of_every_platform
def test_the_platform_has_a_sample(platform: Platform) -> None:
    assert platform.name in {sample.platform for sample in SAMPLES} | WITHOUT_ANSWERS.keys()


def test_no_two_platforms_share_a_name() -> None:
    assert len({platform.name for platform in FORMS}) == len(FORMS)


def test_whoever_signs_is_a_platform_or_the_scheme_that_anybody_may_use() -> None:
    assert SIGNED.keys() - {platform.name for platform in FORMS} == {"webhook"}


def test_whoever_signs_has_a_signed_sample() -> None:
    assert SIGNED.keys() == {signed.signer for signed in SIGNED_SAMPLES}


def test_whoever_signs_has_a_setting_and_no_other_setting_is_one() -> None:
    ending = "_signing_secret"
    named = {name.removesuffix(ending) for name in Settings.model_fields if name.endswith(ending)}
    assert named == SIGNED.keys()


@of_every_sample
def test_the_registry_picks_the_platform(sample: Sample) -> None:
    assert submitted(sample).platform == sample.platform


@of_every_sample
def test_no_other_platform_with_a_shape_of_its_own_recognises_it(sample: Sample) -> None:
    data = json.loads(sample.post().body) if sample.content_type == JSON else {}
    payload = Payload(data, sample.content_type != JSON, sample.post().headers)
    own = {sample.platform, "plain", "html_form"}
    assert {platform.name for platform in FORMS if platform.recognises(payload)} <= own


@of_every_sample
def test_the_platform_can_be_named(sample: Sample) -> None:
    named = read(sample.post(), sample.reading, sample.platform).submission
    assert named == submitted(sample)


@of_every_sample
def test_a_sample_is_not_taken_for_another_platforms(sample: Sample) -> None:
    another = "typeform" if sample.platform == "tally" else "tally"
    with pytest.raises(Unreadable, match=f"the shape that Knock knows of {another}"):
        read(sample.post(), sample.reading, another)


# --- who, and what they answered -----------------------------------------------------------------


@of_every_sample
def test_the_person_is_found(sample: Sample) -> None:
    assert str(submitted(sample).user_id) == TYPED


@of_every_sample
def test_a_readable_form_has_no_problem(sample: Sample) -> None:
    assert submitted(sample).problem == ""


@of_every_sample
def test_the_event_id_is_taken_over(sample: Sample) -> None:
    assert submitted(sample).event_id == sample.event_id


@of_every_sample
def test_the_moderator_gets_the_answers(sample: Sample) -> None:
    assert WHY in {answer.value for answer in submitted(sample).answers}


@of_every_sample
def test_the_id_is_not_repeated_among_the_answers(sample: Sample) -> None:
    assert not [answer for answer in submitted(sample).answers if TYPED in answer.value]


@of_every_sample
def test_no_answer_is_carried_along_twice(sample: Sample) -> None:
    answers = submitted(sample).answers
    assert len(answers) == len(set(answers))


@of_every_sample
def test_hidden_fields_are_not_carried_along(sample: Sample) -> None:
    assert b"newsletter" in sample.post().body
    assert not [answer for answer in submitted(sample).answers if "newsletter" in answer.value]


@of_every_sample
def test_what_browsers_tell_is_not_carried_along(sample: Sample) -> None:
    told = ("Mozilla", "198.51.100.4", "https://")
    assert not [answer for answer in submitted(sample).answers if any(one in answer.value for one in told)]


@of_every_sample
def test_the_same_delivery_reads_the_same(sample: Sample) -> None:
    assert submitted(sample) == submitted(sample)


@of_every_sample
def test_another_answer_leaves_the_event_id(sample: Sample) -> None:
    assert submitted(sample, why="another").event_id == sample.event_id


def test_the_platforms_without_an_id_are_known() -> None:
    platforms = [sample for sample in SAMPLES if sample.platform not in ("plain", "html_form")]
    assert {sample.file for sample in platforms if not sample.event_id} == HAVE_NO_ID


@of_every_sample
def test_an_empty_trap_is_no_trap(sample: Sample) -> None:
    assert submitted(sample).trap == ""


@of_every_sample
def test_a_filled_trap_is_reported(sample: Sample) -> None:
    assert submitted(sample, trapped=True).trap == "spam"


@of_every_sample
def test_a_filled_trap_is_reported_without_an_id(sample: Sample) -> None:
    assert submitted(sample, typed="", trapped=True).trap == "spam"


@of_every_sample
def test_the_trap_is_no_answer(sample: Sample) -> None:
    assert not [answer for answer in submitted(sample, trapped=True).answers if answer.value == "spam"]


@of_every_sample
def test_what_people_type_is_mended(sample: Sample) -> None:
    assert str(submitted(sample, typed=" https://matrix.to/#/@alice:Example.ORG ").user_id) == TYPED


@of_every_sample
def test_a_name_alone_belongs_to_the_default_server(sample: Sample) -> None:
    assert str(submitted(sample, default_server="example.org", typed="alice").user_id) == TYPED


@of_every_sample
def test_what_is_no_id_names_nobody(sample: Sample) -> None:
    assert submitted(sample, typed="none of your business").user_id is None


@of_every_sample
def test_what_is_no_id_is_a_problem(sample: Sample) -> None:
    assert "@alice:example.org" in submitted(sample, typed="none of your business").problem


@of_every_sample
def test_a_missing_id_is_a_problem(sample: Sample) -> None:
    assert "@alice:example.org" in submitted(sample, typed="").problem


@pytest.mark.promise(4)
@of_every_sample
def test_another_answer_never_replaces_an_unreadable_id(sample: Sample) -> None:
    assert submitted(sample, typed="none of your business", why="@victim:example.org").user_id is None


@pytest.mark.promise(4)
@of_every_sample
def test_an_id_in_another_answer_changes_nothing(sample: Sample) -> None:
    assert str(submitted(sample, why="@victim:example.org").user_id) == TYPED


@of_every_sample
def test_an_answer_of_any_script_arrives(sample: Sample) -> None:
    why = "Ich möchte dabei sein — 東京 👩‍🚀"
    assert why in {answer.value for answer in submitted(sample, why=why).answers}


@of_every_sample
def test_the_default_server_is_not_needed_for_a_full_id(sample: Sample) -> None:
    assert str(submitted(sample, default_server="other.example").user_id) == TYPED


@pytest.mark.parametrize("name", WITHOUT_ANSWERS)
def test_who_sends_no_answers_is_told_what_to_do_instead(name: str) -> None:
    with pytest.raises(Unreadable, match="so Knock cannot know who asks to come in: use "):
        read(as_json(WITHOUT_ANSWERS[name]), FormReading())


@pytest.mark.parametrize("name", WITHOUT_ANSWERS)
def test_who_sends_no_answers_is_recognised(name: str) -> None:
    payload = Payload(WITHOUT_ANSWERS[name])
    assert next(form for form in FORMS if form.recognises(payload)).name == name


# --- tests and drafts ----------------------------------------------------------------------------


def changed(platform: str, **changes: Any) -> FormPost:
    """The sample with other values on its top level."""
    sample = next(sample for sample in SAMPLES if sample.platform == platform)
    return as_json(json.loads(sample.post().body) | changes)


@pytest.mark.parametrize(
    ("post", "says"),
    [
        (as_json({"event": "testEndpoint"}), "the test of the endpoint by Formbricks"),
        (
            changed("formbricks", event="responseCreated", data={"finished": False, "data": {}}),
            "not finished",
        ),
        (changed("formbricks", event="responseUpdated", data={"data": {}}), "not finished"),
        (changed("typeform", event_type="form_response_partial"), "not finished"),
        (changed("paperform", trigger="partial_submission"), "not finished"),
        (changed("paperform", submission_id=None), "not finished"),
        (changed("nocodb", type="records.after.update"), "not about one new record"),
        (changed("nocodb", type="records.after.delete"), "not about one new record"),
        (changed("nocodb", type="records.after.bulkInsert"), "not about one new record"),
    ],
    ids=lambda value: "" if isinstance(value, FormPost) else value,
)
def test_a_test_a_draft_or_an_edit_asks_for_nothing(post: FormPost, says: str) -> None:
    with pytest.raises(NothingToDo, match=says):
        read(post, FormReading())


# --- damage --------------------------------------------------------------------------------------


def broken(post: FormPost) -> Iterator[FormPost]:
    """The delivery cut off at twenty places."""
    for part in range(1, 20):
        yield replace(post, body=post.body[: len(post.body) * part // 20])


@of_every_json_sample
def test_truncated_json_is_unreadable(sample: Sample) -> None:
    for post in broken(sample.post()):
        with pytest.raises(Unreadable):
            read(post, sample.reading)


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.content_type == MULTIPART], ids=str
)
def test_truncated_multipart_is_unreadable(sample: Sample) -> None:
    for post in broken(sample.post()):
        with pytest.raises(Unreadable):
            read(post, sample.reading)


@of_every_sample
def test_a_megabyte_is_read_and_kept_short(sample: Sample) -> None:
    answers = submitted(sample, why="x" * 1024 * 1024).answers
    assert max(len(answer.value) for answer in answers) <= LONGEST_ANSWER


@of_every_sample
def test_an_id_of_a_megabyte_names_nobody(sample: Sample) -> None:
    assert submitted(sample, typed="@" * 1024 * 1024).user_id is None


@of_every_json_sample
@pytest.mark.parametrize("content_type", ["", "text/plain", URLENCODED, MULTIPART, "application/xml", "é"])
def test_json_is_read_whatever_its_content_type_says(sample: Sample, content_type: str) -> None:
    post = sample.post()
    post = replace(post, headers={**post.headers, "content-type": content_type})
    assert read(post, sample.reading).submission == submitted(sample)


@pytest.mark.parametrize("sample", [one for one in SAMPLES if one.content_type != JSON], ids=str)
@pytest.mark.parametrize("content_type", ["", "text/plain", JSON, "multipart/form-data", "é"])
def test_a_browsers_form_needs_its_content_type(sample: Sample, content_type: str) -> None:
    post = sample.post()
    with pytest.raises(Unreadable):
        read(replace(post, headers={**post.headers, "content-type": content_type}), sample.reading)


HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    1e300,
    "",
    "\x00",
    [],
    [[]],
    [None],
    {},
    {"": {}},
    [{"": []}],
    "{{" * 99,
]


def places(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*here, key))


def put(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of the data with another value in one place."""
    whole = copy.deepcopy(data)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return whole


@of_every_json_sample
def test_any_hostile_value_in_any_place_is_read_or_unreadable(sample: Sample) -> None:
    post = sample.post()
    data = json.loads(post.body)
    for place in places(data):
        for value in HOSTILE:
            spoilt = replace(post, body=json.dumps(put(data, place, value)).encode())
            try:
                submission = read(spoilt, sample.reading).submission
            except Unreadable:
                continue
            assert submission.user_id is None or str(submission.user_id) == TYPED


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
    {"answers": [], "fields": [], "formId": "x"},
    {"submission": []},
    {"payload": 7},
    {"event": {"class": 7}},
    {"base": "app", "webhook": "ach"},
    {"namedValues": 7},
    {"Timestamp": None},
    {"form_id": [], "date_created": "x", "source_url": "x"},
    {7: 7},
]


@of_every_platform
@pytest.mark.parametrize("data", ODD, ids=repr)
@pytest.mark.parametrize("html", [True, False])
def test_a_platform_recognises_or_not_but_never_fails(platform: Platform, data: Any, html: bool) -> None:
    assert platform.recognises(Payload(data, html)) in (True, False)


# --- signatures ----------------------------------------------------------------------------------


def verifies(
    signed: Signed, post: FormPost | None = None, *, secret: str | None = None, at: float = 0
) -> bool:
    """Whether it verifies, ``at`` seconds after it was signed."""
    chosen = signed.secret if secret is None else secret
    return SIGNED[signed.signer].verifies(post or signed.post, chosen, signed.clock + at)


TIMED = [
    signed for signed in SIGNED_SAMPLES if signed.signer not in ("tally", "typeform", "opnform", "netlify")
]


@of_every_signed
def test_a_valid_signature_verifies(signed: Signed) -> None:
    assert verifies(signed)


@of_every_signed
def test_what_is_signed_is_read(signed: Signed) -> None:
    submission = read(signed.post, FormReading(), signed.signer).submission
    assert (submission.platform, str(submission.user_id)) == (signed.platform, TYPED)


@of_every_signed
@pytest.mark.parametrize("change", [lambda body: body + b" ", lambda body: body[:-1], lambda body: body[:0]])
def test_a_signature_over_other_bytes_does_not_verify(signed: Signed, change: Any) -> None:
    assert not verifies(signed, replace(signed.post, body=change(signed.post.body)))


@of_every_signed
@pytest.mark.parametrize("secret", ["", "another", "whsec_", "whsec_bm90IG91cnM=", "\udcff"])
def test_another_secret_does_not_verify(signed: Signed, secret: str) -> None:
    assert not verifies(signed, secret=secret)


@of_every_signed
@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "é",
        "\udcff",
        "☃",
        "sha256=",
        "v1,",
        "v1",
        "t=,v1=",
        "t=1700000000",
        ".",
        "..",
        "====",
        "A" * 44,
    ],
)
def test_a_wrong_signature_does_not_verify(signed: Signed, value: str) -> None:
    assert not verifies(signed, signed.with_header(signed.signature, value))


@of_every_signed
def test_a_signature_cut_short_does_not_verify(signed: Signed) -> None:
    given = signed.post.headers[signed.signature]
    assert not any(verifies(signed, signed.with_header(signed.signature, given[:-n])) for n in range(1, 40))


@of_every_signed
def test_without_any_of_its_headers_it_does_not_verify(signed: Signed) -> None:
    needed = [name for name in signed.post.headers if name not in ("content-type", "x-wpforms-webhook-id")]
    for name in needed:
        headers = {key: value for key, value in signed.post.headers.items() if key != name}
        assert not verifies(signed, replace(signed.post, headers=headers))


@of_every_signed
def test_the_signature_is_seen_in_the_headers(signed: Signed) -> None:
    assert signed.signature in SIGNED[signed.signer].headers or signed.signer == "webhook"


@of_every_signed
def test_nobody_elses_check_accepts_it(signed: Signed) -> None:
    allowed = {"webhook", "formbricks"} if signed.signer in ("webhook", "formbricks") else {signed.signer}
    accepted = {
        name for name, one in SIGNED.items() if one.verifies(signed.post, signed.secret, signed.clock)
    }
    assert accepted == allowed


@pytest.mark.parametrize("signed", TIMED, ids=str)
@pytest.mark.parametrize("at", [-300, 300])
def test_a_signature_is_good_for_five_minutes(signed: Signed, at: float) -> None:
    assert verifies(signed, at=at)


@pytest.mark.parametrize("signed", TIMED, ids=str)
@pytest.mark.parametrize("at", [-301, 301, 86400.0, -1e9, 1e12])
def test_an_old_signature_or_one_of_the_future_does_not_verify(signed: Signed, at: float) -> None:
    assert not verifies(signed, at=at)


@pytest.mark.parametrize("signed", TIMED, ids=str)
@pytest.mark.parametrize("time", ["", "x", "-1", "1e9", "1700000000.0", "１７", "9" * 400, " 1700000000"])
def test_a_time_that_is_none_does_not_verify(signed: Signed, time: str) -> None:
    stamped = {
        name: value.replace("1700000000000", time).replace("1700000000", time)
        for name, value in signed.post.headers.items()
    }
    assert not verifies(signed, replace(signed.post, headers=stamped))


@pytest.mark.parametrize("signed", SIGNED_SAMPLES, ids=str)
def test_a_signature_vouches_for_its_platforms_shape_alone(signed: Signed) -> None:
    flat = as_json({"matrix_id": TYPED})
    if signed.signer == "webhook":
        assert str(read(flat, FormReading(), signed.signer).submission.user_id) == TYPED
    else:
        with pytest.raises(Unreadable, match="does not have the shape"):
            read(flat, FormReading(), signed.signer)
