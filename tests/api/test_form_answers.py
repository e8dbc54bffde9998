"""What a person or a platform is answered, apart from the decision."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.running import FORM, Running

from mknock.domain import ids

SENTENCES = {
    "alice@mail.example.org": ids.E_MAIL,
    "#room:example.org": ids.ROOM_ALIAS,
    "!room:example.org": ids.ROOM_ID,
    "https://matrix.to/#/!room:example.org": ids.ROOM_LINK,
    "@:example.org": ids.NO_LOCALPART,
    "@alice:exa mple!": ids.BAD_SERVER,
    "@" + "a" * 300 + ":example.org": ids.TOO_LONG,
    "@alice:example.org @bob:example.org": ids.SEVERAL,
}


@pytest.mark.parametrize("typed", SENTENCES, ids=range(len(SENTENCES)))
async def test_what_cannot_be_mended_is_told_in_a_sentence(knock: Running, typed: str) -> None:
    answer = await knock.post(typed)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "not_understood", "message": SENTENCES[typed]},
    )


@pytest.mark.parametrize("typed", SENTENCES, ids=range(len(SENTENCES)))
async def test_a_plain_form_is_told_the_same_on_a_page(knock: Running, typed: str) -> None:
    answer = await knock.call("POST", FORM, data={"matrix_id": typed})
    assert SENTENCES[typed] in answer.text


@pytest.mark.parametrize(
    "form", [{"json": {}}, {"json": {"name": "Alice"}}, {"json": []}, {"json": None}, {"content": b""}]
)
async def test_a_form_that_names_nobody_is_acknowledged_and_told(
    knock: Running, form: dict[str, Any]
) -> None:
    answer = await knock.call("POST", FORM, **form)
    assert (answer.status_code, answer.json()["status"]) == (200, "not_understood")


async def test_two_different_ids_are_refused_rather_than_guessed(knock: Running) -> None:
    answer = await knock.post("@alice:example.org", fields={"Matrix-ID": "@bob:example.org"})
    assert answer.json()["message"] == "The form names two different Matrix IDs; give only your own."


async def test_a_page_escapes_what_a_stranger_wrote(knock: Running) -> None:
    label = "<script>alert(1)</script> Matrix ID"
    answer = await knock.call("POST", FORM, data={label: "", "x": "y"})
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    "shape", [{"data": {"matrix_id": "@a:b.example"}}, {"files": {"matrix_id": (None, "@a:b.example")}}]
)
async def test_a_plain_form_gets_a_page(knock: Running, shape: dict[str, Any]) -> None:
    answer = await knock.call("POST", FORM, **shape)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", None, "application/x-www-form-urlencoded"]
)
async def test_json_gets_json_whatever_it_is_called(knock: Running, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    good = await knock.call("POST", FORM, content=b'{"matrix_id": "@a:b.example"}', headers=headers)
    bad = await knock.call("POST", FORM, content=b'{"matrix_id": "x@y.example"}', headers=headers)
    assert {answer.headers["content-type"] for answer in (good, bad)} == {"application/json"}


async def test_a_page_runs_no_script_and_asks_no_other_host(knock: Running) -> None:
    answer = await knock.call("POST", FORM, data={"matrix_id": "@a:b.example"})
    policy = answer.headers["content-security-policy"]
    assert (policy.startswith("default-src 'none'"), "http" in answer.text) == (True, False)


async def test_a_page_is_not_kept_by_a_browser(knock: Running) -> None:
    answer = await knock.call("POST", FORM, data={"matrix_id": "@a:b.example"})
    assert answer.headers["cache-control"] == "no-store"


async def test_what_a_tally_form_leaves_open_is_no_trouble(knock: Running) -> None:
    fields = [
        {"key": "q1", "label": "Matrix ID", "type": "INPUT_TEXT", "value": "@tara:knock.test"},
        {"key": "q2", "label": None, "type": "INPUT_TEXT", "value": None},
        {"key": "q3", "label": "Age", "type": "INPUT_NUMBER", "value": 42},
        {
            "key": "q4",
            "label": "Rules",
            "type": "CHECKBOXES",
            "value": ["a"],
            "options": [{"id": "a", "text": "Yes"}],
        },
        {
            "key": "q5",
            "label": "Proof",
            "type": "FILE_UPLOAD",
            "value": [{"name": "me.png", "url": "https://x.example"}],
        },
        {"key": "q6", "label": "Sure?", "type": "CHECKBOXES", "value": True},
    ]
    payload = {"eventId": "e1", "eventType": "FORM_RESPONSE", "data": {"fields": fields}}
    await knock.call("POST", FORM, json=payload)
    (known,) = await knock.knocks_of("@tara:knock.test")
    assert [(answer.label, answer.value) for answer in known.answers][:2] == [("Age", "42"), ("Rules", "Yes")]


async def test_a_name_alone_is_of_the_default_server(knock: Running) -> None:
    await knock.post("tara")
    assert len(await knock.knocks_of("@tara:knock.test")) == 1
