"""The pages about form platforms name every platform and every secret, and say how sure they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mknock.domain.doors import FormReading
from mknock.forms import FORMS, SIGNED, FormPost, read

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
OVERVIEW = (PAGES / "connect-any-form.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \|(.+)\|$", OVERVIEW, re.MULTILINE))
LINKED = sorted(set(re.findall(r"\((connect-[\w-]+\.md)\)", OVERVIEW)))


def text_of(page: str) -> str:
    return (PAGES / page).read_text(encoding="utf-8")


def test_the_overview_names_every_platform_and_no_other() -> None:
    assert set(ROWS) == {platform.name for platform in FORMS}


@pytest.mark.parametrize("name", [name for name in SIGNED if name != "webhook"])
def test_the_overview_names_the_secret_of_whoever_signs(name: str) -> None:
    assert f"`{name.upper()}_SIGNING_SECRET`" in ROWS[name]


@pytest.mark.parametrize("name", SIGNED)
def test_a_secret_is_explained_on_a_page(name: str) -> None:
    assert any(f"`{name.upper()}_SIGNING_SECRET`" in text_of(page) for page in LINKED)


def test_every_page_is_linked_from_the_overview() -> None:
    assert {page.name for page in PAGES.glob("connect-*.md")} - {"connect-any-form.md"} == set(LINKED)


@pytest.mark.parametrize("page", LINKED)
def test_a_page_says_how_sure_it_is(page: str) -> None:
    assert "\n## How sure this is\n\n" in text_of(page)


@pytest.mark.parametrize("page", LINKED)
def test_a_page_gives_the_address_to_paste(page: str) -> None:
    assert "https://knock.example.org/invite_from_form" in text_of(page)


def test_the_script_for_google_forms_sends_what_is_read() -> None:
    (script,) = re.findall(r"```javascript\n(.*?)```", text_of("connect-google-forms.md"), re.DOTALL)
    sent = {"provider": "google_forms", "formId": "f", "responseId": "r"}
    answer = {"id": "1", "title": "Matrix ID", "type": "TEXT", "value": "@alice:example.org"}
    body = json.dumps(sent | {"answers": [answer]}).encode()
    submission = read(FormPost(body, {}), FormReading()).submission
    assert submission.event_id == "r"
    assert all(re.search(rf"\b{name}: ", script) for name in (*sent, "answers", *answer))
