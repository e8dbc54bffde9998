"""The description of the API, and the page that is made of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from tests.api.running import API_KEY, Json, Running

from mknock.api.reference_page import curl, page_of

DOORS_FORM = "/d/{slug}/forms/{platform}"
FORM_STATUSES = {"200", "401", "413", "429", "503"}


def references(part: object) -> Iterator[str]:
    yield from re.findall(r'"\$ref": "([^"]+)"', json.dumps(part))


@pytest.fixture
def schema(knock: Running) -> Json:
    return knock.schema()


@pytest.fixture
async def page(knock: Running) -> str:
    return (await knock.call("GET", "/docs")).text


# --- the description -----------------------------------------------------------------------------


async def test_the_description_is_served_as_it_is(knock: Running, schema: Json) -> None:
    assert (await knock.call("GET", "/openapi.json")).json() == schema


async def test_every_reference_leads_somewhere(schema: Json) -> None:
    shapes = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(references(schema)) <= shapes


async def test_every_endpoint_of_the_seed_is_described(schema: Json) -> None:
    assert set(schema["paths"]) >= {
        "/",
        "/invite_from_form",
        "/block_user",
        "/unblock_user",
        "/rescind_invite",
        "/blocklist",
        "/pending_invites",
        "/room_members",
        "/room_state",
    }


async def test_every_moderators_endpoint_needs_the_key(schema: Json) -> None:
    needing = {
        path
        for path, operations in schema["paths"].items()
        for operation in operations.values()
        if operation.get("security") == [{"api_key": []}] and "401" in operation["responses"]
    }
    assert needing == set(schema["paths"]) - {"/", "/healthz", "/readyz", "/invite_from_form", DOORS_FORM}


async def test_every_error_is_the_same_shape(schema: Json) -> None:
    errors = {
        answer["content"]["application/json"]["schema"]["$ref"]
        for path, operations in schema["paths"].items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status >= "400" and path != "/readyz"
    }
    assert errors == {"#/components/schemas/Problem"}


async def test_the_form_takes_what_forms_send(schema: Json) -> None:
    operation = schema["paths"]["/invite_from_form"]["post"]
    assert set(operation["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }


async def test_the_form_answers_nothing_that_is_not_described(schema: Json) -> None:
    assert set(schema["paths"]["/invite_from_form"]["post"]["responses"]) == FORM_STATUSES


async def test_the_forms_answers_have_examples(schema: Json) -> None:
    answers = schema["paths"]["/invite_from_form"]["post"]["responses"]
    assert all(answer["content"]["application/json"]["examples"] for answer in answers.values())


async def test_nothing_of_the_framework_is_left_over(schema: Json) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(schema["components"]["schemas"])


# --- the page ------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a page with what they lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}


def test_the_page_needs_no_key(page: str) -> None:
    assert page.startswith("<!doctype html>")


async def test_the_page_runs_no_script(page: str) -> None:
    tags = Tags(page)
    handlers = {name for name in tags.attributes if name.startswith("on")}
    assert (tags.names & {"script", "iframe", "img", "link", "object", "form"}, handlers) == (set(), set())


async def test_the_page_asks_no_other_host(page: str) -> None:
    assert {link for link in Tags(page).links if not link.startswith("#")} == {"openapi.json"}


async def test_every_link_on_the_page_has_its_place(page: str) -> None:
    places = set(re.findall(r'id="(\w+)"', page))
    assert {link[1:] for link in Tags(page).links if link.startswith("#")} <= places


async def test_the_policy_allows_the_pages_own_style_and_nothing_else(knock: Running) -> None:
    answer = await knock.call("GET", "/docs")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )


async def test_the_page_shows_every_endpoint(schema: Json, page: str) -> None:
    shown = set(re.findall(r"<h3 id=\"\w+\"><code>(\w+ /[\w/{}]*)</code></h3>", page))
    assert shown == {
        f"{method.upper()} {path}" for path, operations in schema["paths"].items() for method in operations
    }


async def test_the_page_shows_every_field(schema: Json, page: str) -> None:
    fields = {
        field for shape in schema["components"]["schemas"].values() for field in shape.get("properties", ())
    }
    assert fields <= set(re.findall(r"<td><code>(\w+)</code></td>", page))


async def test_a_description_cannot_put_tags_on_the_page(schema: Json) -> None:
    evil = json.loads(json.dumps(schema).replace("The person's Matrix ID.", "<script>alert(1)</script>"))
    assert "<script" not in page_of(evil)


async def test_the_page_is_the_same_for_everybody(knock: Running, page: str) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    assert (await knock.call("GET", "/docs", headers=headers)).text == page


# --- the examples --------------------------------------------------------------------------------


def examples(knock: Running) -> Iterator[tuple[str, str, str]]:
    schema = knock.schema()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, curl(method.upper(), path, operation, schema["components"]["schemas"])


def options_of(command: str) -> dict[str, Any]:
    """What a curl command sends."""
    words = shlex.split(command.replace("$API_KEY", API_KEY))
    headers = dict(word.split(": ", 1) for before, word in pairwise(words) if before == "-H")
    bodies = [word for before, word in pairwise(words) if before == "-d"]
    return {"headers": headers, **({"content": bodies[0]} if bodies else {})}


def address_in(command: str) -> str:
    """Where a curl command goes, with its query."""
    return shlex.split(command)[-1].removeprefix("$KNOCK")


async def call_of(knock: Running, wanted: str) -> None:
    """Run the example of one path."""
    (found,) = [(method, command) for method, path, command in examples(knock) if path == wanted]
    await knock.call(found[0], address_in(found[1]), **options_of(found[1]))


async def test_every_example_is_understood(knock: Running) -> None:
    statuses: dict[str, int] = {}
    for method, path, command in examples(knock):
        if path == "/rescind_invite":  # the block before it has ended the knock of the first form
            await call_of(knock, "/invite_from_form")
        answer = await knock.call(method, address_in(command), **options_of(command))
        statuses[path] = answer.status_code
    refused = dict.fromkeys(
        ("/approve", "/refuse", "/links"), 404
    )  # nobody is held, and the example's link is none
    refused[DOORS_FORM] = 401
    assert statuses == {path: refused.get(path, 200) for path in statuses}


async def test_an_example_shows_no_key(knock: Running) -> None:
    assert not [command for _, _, command in examples(knock) if API_KEY in command]
