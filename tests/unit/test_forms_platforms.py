"""What is particular to each platform, beyond what the contract asks of all. Tally has a file of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.samples.forms import JSON, SAMPLES, URLENCODED, Sample

from mknock.domain.doors import FormReading
from mknock.domain.errors import Unreadable
from mknock.domain.knocks import Submission
from mknock.forms import FormPost, formspree, netlify, read, standard_webhooks, webflow
from mknock.forms.signatures import is_recent, same, time_and_mac

ALICE = "@alice:example.org"
SECRET = "knock-test-secret"
NOW = 1_700_000_000.0


def sample_of(file: str) -> Sample:
    return next(sample for sample in SAMPLES if sample.file.startswith(file))


def data_of(file: str) -> Any:
    return json.loads(sample_of(file).post().body)


def submitted(data: Any, headers: dict[str, str] | None = None, **reading: str) -> Submission:
    post = FormPost(json.dumps(data).encode(), {"content-type": JSON, **(headers or {})})
    return read(post, FormReading(**reading)).submission


def posted(data: dict[str, str], **headers: str) -> Submission:
    body = urlencode(data).encode()
    return read(FormPost(body, {"content-type": URLENCODED, **headers}), FormReading()).submission


def answers(submission: Submission) -> list[tuple[str, str]]:
    return [(answer.label, answer.value) for answer in submission.answers]


# --- Typeform ------------------------------------------------------------------------------------


def typeform(*asked: tuple[dict[str, Any], dict[str, Any] | None]) -> dict[str, Any]:
    """A response to these questions, each with its answer if it has one."""
    given = [{**answer, "field": {"id": question["id"]}} for question, answer in asked if answer]
    return {
        "event_type": "form_response",
        "form_response": {
            "token": "t",
            "definition": {"fields": [one for one, _ in asked]},
            "answers": given,
        },
    }


ASKED = {"id": "a", "title": "Matrix ID", "ref": "r"}
OTHER = {"id": "b", "title": "Which?", "ref": "s"}


def test_typeform_a_question_that_was_not_answered_is_named() -> None:
    assert 'The question "Matrix ID" was not answered' in submitted(typeform((ASKED, None))).problem


@pytest.mark.parametrize("name", ["b", "s", "Which?"])
def test_typeform_a_question_is_named_by_its_id_its_reference_or_its_title(name: str) -> None:
    response = typeform((ASKED, None), (OTHER, {"type": "text", "text": ALICE}))
    assert str(submitted(response, id_field=name).user_id) == ALICE


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"type": "choice", "choice": {"label": "Makers"}}, "Makers"),
        ({"type": "choice", "choice": {"other": "The garden"}}, "The garden"),
        ({"type": "choices", "choices": {"labels": ["Lobby", "Makers"]}}, "Lobby, Makers"),
        ({"type": "choices", "choices": {"other": "The garden"}}, "The garden"),
        ({"type": "number", "number": 0}, "0"),
        ({"type": "boolean", "boolean": False}, "no"),
        ({"type": "date", "date": "2026-11-20"}, "2026-11-20"),
        ({"type": "phone_number", "phone_number": "+4930123"}, "+4930123"),
        ({"type": "file_url", "file_url": "https://x.example/files/me.png?key=secret"}, "me.png"),
    ],
)
def test_typeform_answers_are_shown_as_they_were_given(answer: dict[str, Any], shown: str) -> None:
    assert answers(submitted(typeform((OTHER, answer)))) == [("Which?", shown)]


def test_typeform_an_answer_repeated_in_a_title_is_cut() -> None:
    asked = {"id": "b", "title": "Hello {{field:a}}, why?"}
    assert answers(submitted(typeform((asked, {"type": "text", "text": "x"})))) == [("Hello …, why?", "x")]


def test_typeform_an_answer_of_no_known_question_is_read() -> None:
    response = typeform((ASKED, {"type": "text", "text": ALICE}))
    response["form_response"]["definition"] = None
    assert str(submitted(response).user_id) == ALICE


def test_typeform_the_response_has_an_id_where_the_event_has_none() -> None:
    assert submitted(typeform((ASKED, None))).event_id == "t"


def test_typeform_another_event_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="not a submitted form"):
        submitted(typeform() | {"event_type": "form_deleted"})


# --- Jotform -------------------------------------------------------------------------------------


def jotform(raw: Any, pretty: str = "") -> Submission:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return posted({"formID": "1", "submissionID": "2", "rawRequest": text, "pretty": pretty})


def test_jotform_labels_are_found_before_their_answers() -> None:
    pretty = "What, now?:a, b: c, Note\N{COLON}x:1, Last:e"
    raw = {"q1_whatNow": "a, b: c", "q2_note": "1", "q3_last": "e"}
    assert answers(jotform(raw, pretty)) == [("What, now?", "a, b: c"), ("note", "1"), ("Last", "e")]


def test_jotform_a_label_after_an_answer_that_reads_otherwise_is_found() -> None:
    pretty = "When:20 Nov 2026, Why?:because"
    raw = {"q1_when": {"day": "20", "month": "11"}, "q2_why": "because"}
    assert answers(jotform(raw, pretty)) == [("when", "day: 20; month: 11"), ("Why?", "because")]


@pytest.mark.parametrize("pretty", ["", "Why", ":", "because", "x:because!", ", :because, "])
def test_jotform_without_its_label_an_answer_goes_by_its_slug(pretty: str) -> None:
    assert answers(jotform({"q2_whyDoYou": "because"}, pretty)) == [("why Do You", "because")]


def test_jotform_the_id_is_found_by_its_slug() -> None:
    assert str(jotform({"q3_matrixId": ALICE, "q4_other": "@bob:example.org"}).user_id) == ALICE


@pytest.mark.parametrize("name", ["q4_other", "other", "Somebody else"])
def test_jotform_a_question_is_named_by_its_key_its_slug_or_its_label(name: str) -> None:
    raw = json.dumps({"q3_matrixId": "@bob:example.org", "q4_other": ALICE})
    data = {"formID": "1", "submissionID": "2", "rawRequest": raw, "pretty": f"Somebody else:{ALICE}"}
    post = FormPost(urlencode(data).encode(), {"content-type": URLENCODED})
    assert str(read(post, FormReading(id_field=name)).submission.user_id) == ALICE


def test_jotform_parts_are_joined() -> None:
    raw = {"q1_name": {"first": "Alice", "last": "Example"}, "q2_phone": {"area": "030", "phone": "123"}}
    assert answers(jotform(raw)) == [("name", "Alice Example"), ("phone", "030 123")]


@pytest.mark.parametrize("raw", ["", "x", "[]", "null", "{", '"x"', "\udcff"])
def test_jotform_without_its_answers_is_unreadable(raw: str) -> None:
    data = {"formID": "1", "submissionID": "2", "rawRequest": raw or " "}
    with pytest.raises(Unreadable, match="rawRequest"):
        submitted(data)


def test_jotform_as_json_is_read_too() -> None:
    data = {"formID": "1", "submissionID": "2", "rawRequest": json.dumps({"q3_matrixId": ALICE})}
    assert str(submitted(data).user_id) == ALICE


# --- Fillout, HeyForm, Paperform, OpnForm --------------------------------------------------------


def test_fillout_an_email_address_is_not_searched() -> None:
    data = {
        "submissionId": "1",
        "questions": [{"id": "a", "name": "Q", "type": "EmailInput", "value": ALICE}],
    }
    assert submitted(data).user_id is None


def test_fillout_what_a_link_fills_in_is_hidden() -> None:
    data = {"submissionId": "1", "questions": [], "urlParameters": [{"id": "matrix_id", "value": ALICE}]}
    assert submitted(data).user_id is None


def heyform(**answer: Any) -> list[tuple[str, str]]:
    answers_given = [{"id": "a", "title": "Q", "kind": "x", **answer}]
    return answers(submitted({"formId": "f", "fields": [], "answers": answers_given}))


CHOICES = {"choices": [{"id": "1", "label": "Lobby"}, {"id": "2", "label": "Makers"}]}


def test_heyform_choices_are_shown_by_their_texts() -> None:
    assert heyform(properties=CHOICES, value={"value": ["2", "9"], "other": "The garden"}) == [
        ("Q", "Makers, 9, The garden")
    ]


@pytest.mark.parametrize("value", ["", None, {"value": []}, {"value": [], "other": ""}])
def test_heyform_an_empty_answer_is_none(value: Any) -> None:
    assert heyform(properties=CHOICES, value=value) == []


def test_heyform_a_file_is_shown_by_its_name() -> None:
    file = {"filename": "me.png", "url": "https://x.example/1"}
    assert heyform(kind="file_upload", value=file) == [("Q", "me.png")]


def test_paperform_a_question_is_named_by_either_key() -> None:
    data = data_of("paperform")
    data["data"][0]["title"] = "Who?"
    assert [str(submitted(data, id_field=key).user_id) for key in ("7f3l1", "matrix_id")] == [ALICE, ALICE]


@pytest.mark.parametrize("data", [[], None, {}, 7])
def test_opnform_the_old_answers_are_read_where_the_new_are_missing(data: Any) -> None:
    event = {"form_title": "t", "form_slug": "s", "submission": {"Matrix ID": ALICE}, "data": data}
    expected = None if data == {} else ALICE
    found = submitted(event)
    assert (found.platform, str(found.user_id) if found.user_id else None) == ("opnform", expected)


# --- Formbricks ----------------------------------------------------------------------------------


def formbricks(event: str, **response: Any) -> Submission:
    data = {"data": {"matrix_id": ALICE}, **response}
    return submitted({"webhookId": "w", "event": event, "data": data}, {"webhook-id": "msg_1"})


def test_formbricks_a_change_of_a_finished_response_is_the_same_as_its_end() -> None:
    changed, finished = (
        formbricks(event, id="r", finished=True) for event in ("responseUpdated", "responseFinished")
    )
    assert changed == finished


def test_formbricks_a_response_without_an_id_goes_by_the_delivery() -> None:
    assert formbricks("responseFinished").event_id == "msg_1"


@pytest.mark.parametrize("answered", [None, [], "x"])
def test_formbricks_a_response_without_answers_is_unreadable(answered: Any) -> None:
    with pytest.raises(Unreadable, match="holds no answers"):
        formbricks("responseFinished", data=answered)


# --- Google Forms --------------------------------------------------------------------------------


def test_google_forms_named_values_may_be_wrapped() -> None:
    wrapped = submitted({"namedValues": {"Matrix ID": [ALICE], "Zeitstempel": ["20.11.2026"]}})
    assert (wrapped.platform, str(wrapped.user_id)) == ("google_forms", ALICE)


def test_google_forms_questions_of_one_title_are_all_kept() -> None:
    asked = [{"id": str(n), "title": "Q", "type": "TEXT", "value": f"answer {n}"} for n in range(2)]
    data = {"provider": "google_forms", "answers": asked}
    assert answers(submitted(data)) == [("Q", "answer 0"), ("Q", "answer 1")]


def test_google_forms_an_edited_row_without_the_id_names_nobody() -> None:
    edited = {"Timestamp": ["11/20/2026 15:00:21"], "Why?": ["because"], "Matrix ID": [""]}
    assert 'The question "Matrix ID" was not answered' in submitted(edited).problem


# --- NocoDB, Webflow, Netlify, Cognito -----------------------------------------------------------


@pytest.mark.parametrize(
    "rows", [None, [], [None], [{"Matrix ID": ALICE}, {"Matrix ID": "@bob:example.org"}]]
)
def test_nocodb_not_exactly_one_record_is_unreadable(rows: Any) -> None:
    with pytest.raises(Unreadable, match="one person at a time"):
        submitted({"type": "records.after.insert", "data": {"table_id": "t", "rows": rows}})


@pytest.mark.parametrize(
    "event",
    [{"triggerType": "page_created", "payload": {}}, {"triggerType": "form_submission", "payload": {}}],
)
def test_webflow_another_event_is_unreadable(event: Any) -> None:
    with pytest.raises(Unreadable, match="not a submitted form"):
        submitted(event)


def test_netlify_titles_are_shown_where_there_are_any() -> None:
    found = answers(submitted(data_of("netlify.json")))
    assert [label for label, _ in found] == ["Why Do You Want To Join", "Room"]


def test_cognito_forms_links_to_the_entry_are_not_carried_along() -> None:
    data = data_of("cognito_forms")
    data["Entry"]["AdminLink"] = "https://x.example/secret"
    assert "secret" not in str(submitted(data).answers)


# --- the plugins of WordPress --------------------------------------------------------------------


def gravity(**fields: Any) -> Submission:
    entry = {"id": 7, "form_id": 3, "date_created": "2026-11-20 15:00:21", "source_url": "https://x.example"}
    return submitted(entry | fields)


def test_gravity_forms_parts_of_a_field_are_one_answer() -> None:
    assert answers(gravity(**{"4.1": "Lobby", "4.2": "", "4.3": "Makers"})) == [("Field 4", "Lobby, Makers")]


def test_gravity_forms_an_id_may_be_a_number() -> None:
    assert gravity().event_id == "7"


def test_gravity_forms_passes_the_visitors_address_on() -> None:
    assert gravity(ip="198.51.100.4").sender_address == "198.51.100.4"


@pytest.mark.parametrize("key", ["payment_status", "created_by", "1x", "x1", "1.", "1234567"])
def test_gravity_forms_only_numbers_are_answers(key: str) -> None:
    assert answers(gravity(**{key: "x"})) == []


def test_gravity_forms_as_a_form_is_read_too() -> None:
    found = posted({"id": "7", "form_id": "3", "date_created": "x", "source_url": "x", "1": ALICE})
    assert (found.platform, str(found.user_id)) == ("gravity_forms", ALICE)


def test_wpforms_without_its_headers_is_read_as_any_form() -> None:
    assert submitted(data_of("wpforms.json")).platform == "plain"


def test_wpforms_several_values_are_told_apart() -> None:
    found = submitted({"rooms": "Makers||Lobby"}, {"x-wpforms-webhook-id": "3"})
    assert answers(found) == [("rooms", "Makers, Lobby")]


# --- signatures ----------------------------------------------------------------------------------


def jws(header: Any, claims: Any, body: bytes = b"{}", secret: str = SECRET) -> bool:
    """Whether Netlify's check accepts a JWS with that header and those claims, rightly signed."""
    parts = [
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (header, claims)
    ]
    signed = b".".join(part.rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
    return netlify.verifies(
        FormPost(body, {"x-webhook-signature": f"{signed.decode()}.{mac.decode()}"}), SECRET, NOW
    )


HASH = {"sha256": hashlib.sha256(b"{}").hexdigest()}


def test_netlify_a_token_with_the_bodys_hash_verifies() -> None:
    assert jws({"alg": "HS256"}, HASH)


@pytest.mark.parametrize(
    "claims", [{}, {"sha256": ""}, {"sha256": None}, {"iss": "netlify"}, [], b"x", b"\xff", b"[" * 9999]
)
def test_netlify_a_token_without_the_bodys_hash_does_not(claims: Any) -> None:
    assert not jws({"alg": "HS256"}, claims)


@pytest.mark.parametrize(
    "header", [{}, {"alg": "none"}, {"alg": "HS512"}, {"alg": "hs256"}, {"alg": None}, [], b"x"]
)
def test_netlify_a_token_of_another_algorithm_does_not(header: Any) -> None:
    assert not jws(header, HASH)


def test_netlify_a_token_of_another_secret_does_not() -> None:
    assert not jws({"alg": "HS256"}, HASH, secret="another")


def test_formspree_one_of_several_signatures_is_enough() -> None:
    mac = hmac.digest(SECRET.encode(), b"1700000000.{}", "sha256").hex()
    post = FormPost(b"{}", {"formspree-signature": f"t=1700000000, v1=00, v1={mac}"})
    assert formspree.verifies(post, SECRET, NOW)


def test_formspree_two_times_are_none() -> None:
    assert time_and_mac("t=1,t=2,v1=x", "v1") == ("", ["x"])


def test_webflow_its_time_is_in_milliseconds() -> None:
    mac = hmac.digest(SECRET.encode(), b"1700000000:{}", "sha256").hex()
    headers = {"x-webflow-timestamp": "1700000000", "x-webflow-signature": mac}
    assert not webflow.verifies(FormPost(b"{}", headers), SECRET, NOW)


@pytest.mark.parametrize("name", ["webhook-id", "svix-id"])
def test_standard_webhooks_the_delivery_has_an_id(name: str) -> None:
    assert standard_webhooks.delivery_id({name: "msg_1"}) == "msg_1"


def test_standard_webhooks_a_body_may_be_no_text() -> None:
    key, body = b"k" * 32, b"\xff\xfe"
    mac = base64.b64encode(hmac.digest(key, b"msg_1.1700000000." + body, "sha256")).decode()
    headers = {"svix-id": "msg_1", "svix-timestamp": "1700000000", "svix-signature": f"v1,{mac}"}
    post = FormPost(body, headers)
    assert standard_webhooks.verifies(post, "whsec_" + base64.b64encode(key).decode(), NOW)


@pytest.mark.parametrize("time", ["", "x", "-1", "1.5", "١", "9" * 15])
def test_what_is_no_time_is_not_recent(time: str) -> None:
    assert not is_recent(time, NOW)


@pytest.mark.parametrize("presented", ["", "é", "\udcff", "☃", "\x00"])
def test_any_text_can_be_compared(presented: str) -> None:
    assert not same(presented, "right")
