"""A door's own page: what it shows, in which language, and what its script may ask."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.api.running import Running, Starting
from tests.api.visiting import DOORS, PAGE, TARA, sent
from tests.kit.processes import wait_until

from mknock.web.languages import languages

# --- what is shown


async def test_the_page_shows_what_its_owner_wrote(garden: Running) -> None:
    page = (await garden.call("GET", PAGE)).text
    assert "<h1>Garden &lt;group&gt;</h1>" in page
    assert "Hello <strong>you</strong>" in page
    assert "Be <em>kind</em>." in page


async def test_the_owners_text_runs_no_script_and_has_no_second_headline(garden: Running) -> None:
    page = (await garden.call("GET", PAGE)).text
    assert "<script>" not in page
    assert "<h2>Big</h2>" in page
    assert page.count("<h1>") == 1


async def test_every_question_is_asked(garden: Running) -> None:
    page = (await garden.call("GET", PAGE)).text
    assert re.findall(r'name="(answer-\w+)"', page) == [
        "answer-why",
        *["answer-day"] * 2,
        *["answer-likes"] * 3,
        "answer-adult",
    ]


async def test_a_door_of_the_environment_may_have_a_page(starting: Starting) -> None:
    async with starting(page_title="Main door") as running:
        assert "<h1>Main door</h1>" in (await running.call("GET", "/d/main")).text


@pytest.mark.promise(6)
async def test_a_door_without_a_page_is_no_other_than_none(garden: Running) -> None:
    for method, below in [
        ("GET", ""),
        ("POST", ""),
        ("POST", "/check"),
        ("GET", "/challenge"),
        ("GET", "/s/x"),
    ]:
        one, other = [await garden.call(method, f"/d/{slug}{below}") for slug in ("cellar", "none")]
        assert (one.status_code, one.headers, one.content) == (404, other.headers, other.content)


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/s/token", "/d/none", f"{PAGE}?lang=de"])
async def test_every_page_keeps_itself_to_itself(garden: Running, path: str) -> None:
    headers = (await garden.call("GET", path)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/s/token", "/d/none"])
async def test_a_page_holds_no_style_or_script_of_its_own_and_asks_nobody_else(
    garden: Running, path: str
) -> None:
    page = (await garden.call("GET", path)).text
    assert not re.search(r"<style|\bstyle=|\bon\w+=|javascript:", page)
    loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', page)
    assert all(address.startswith(("../", "data:,")) for address in loaded)


async def test_all_that_a_page_loads_is_there_for_ever(garden: Running) -> None:
    page = (await garden.call("GET", PAGE)).text
    named = re.findall(r'"\.\./(static/[^"]+)"', page)
    assert len(named) == 5
    for name in named:
        answer = await garden.call("GET", f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_of_another_release_is_not_kept(garden: Running) -> None:
    answer = await garden.call("GET", "/static/0000000000000000/page.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/static/0/none.css",
        "/static/0/../web/public.py",
        "/static/colour/red.css",
        "/static/0/%2e%2e/x",
        f"{PAGE}/logo/0",
    ],
)
async def test_there_is_no_other_file(garden: Running, path: str) -> None:
    assert (await garden.call("GET", path)).status_code == 404


async def test_the_licence_of_what_is_taken_from_others_is_served_with_it(garden: Running) -> None:
    assert "MIT License" in (await garden.call("GET", "/static/0/altcha/LICENSE.txt")).text


async def test_a_slash_too_much_leads_to_the_page_of_any_door(garden: Running) -> None:
    for slug in ("garden", "none"):
        answer = await garden.call("GET", f"/d/{slug}/?lang=de")
        assert (answer.status_code, answer.headers["location"]) == (308, f"../{slug}?lang=de")


async def test_the_logo_is_served_as_what_it_is(starting: Starting, tmp_path: Path) -> None:
    (tmp_path / "logo.txt").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    async with starting(page_title="Main", page_logo=tmp_path / "logo.txt") as running:
        page = (await running.call("GET", "/d/main")).text
        address = re.findall(r'src="\.\./(d/main/logo/\w+)"', page)[0]
        answer = await running.call("GET", f"/{address}")
        assert (answer.headers["content-type"], answer.content[-4:]) == ("image/png", b"rest")
        assert "immutable" in answer.headers["cache-control"]


async def test_a_page_that_is_taken_away_is_gone_without_a_restart(garden: Running) -> None:
    file = garden.installation.parts.settings.doors_file
    assert file is not None
    file.write_text(file.read_text().replace("title =", "on = false\ntitle ="))
    garden.installation.read_doors_anew()

    async def gone() -> bool:
        return (await garden.call("GET", PAGE)).status_code == 404

    assert await wait_until(gone)


# --- languages


@pytest.mark.parametrize(
    ("query", "header", "code"),
    [
        ("", "", "en"),
        ("", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "fr, de;q=0.5", "de"),
        ("", "de;q=0.2, en;q=0.7", "en"),
        ("", "de;q=0", "en"),
        ("?lang=de", "en", "de"),
        ("?lang=xx", "de", "de"),
        ("?lang=../en", "\x7f;;q=,,", "en"),
    ],
)
async def test_the_visitors_language_is_spoken(garden: Running, query: str, header: str, code: str) -> None:
    answer = await garden.call("GET", PAGE + query, headers={"Accept-Language": header})
    assert f'<html lang="{code}"' in answer.text
    assert answer.headers["content-language"] == code
    assert languages()[code]["page"]["send"] in answer.text


async def test_the_language_stays_after_knocking(garden: Running) -> None:
    answer = await sent(garden, TARA, params={"lang": "de"})
    assert answer.headers["location"].endswith("?lang=de")


async def test_what_is_wrong_is_said_in_the_visitors_language(garden: Running) -> None:
    answer = await sent(garden, "nobody@mail.example", params={"lang": "de"})
    assert "Das sieht wie eine E-Mail-Adresse aus" in answer.text


# --- the inline check


@pytest.mark.parametrize(
    ("typed", "good", "text"),
    [
        ("@tara:knock.test", True, "You knock as @tara:knock.test."),
        (" tara : Knock.test", True, "Understood as @tara:knock.test"),
        ("tara", True, "Understood as @tara:knock.test"),
        ("tara@mail.example", False, "e-mail address"),
        ("<b>a b c</b>", False, "not a Matrix ID"),
    ],
)
async def test_an_id_is_checked_as_it_is_typed(garden: Running, typed: str, good: bool, text: str) -> None:
    answer = await garden.call("POST", f"{PAGE}/check", data={"matrix_id": typed})
    assert answer.json()["good"] is good
    assert text in answer.json()["text"]
    assert answer.headers["cache-control"] == "no-store"


async def test_checking_an_id_keeps_nothing_and_counts_nothing(starting: Starting) -> None:
    async with starting(doors=DOORS, max_requests_per_sender=1) as running:
        for _ in range(5):
            answer = await running.call("POST", f"{PAGE}/check", data={"matrix_id": TARA})
            assert answer.status_code == 200
        assert await running.knocks_of(TARA) == []


async def test_a_check_is_small(garden: Running) -> None:
    answer = await garden.call("POST", f"{PAGE}/check", data={"matrix_id": "x" * 9000})
    assert answer.status_code == 413
