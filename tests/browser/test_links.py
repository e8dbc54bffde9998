"""The page of an invite link in a real Chromium."""

from __future__ import annotations

import pytest
from tests.browser.visits import Knock, Visits, faults_of, fill_in, send

pytestmark = pytest.mark.xdist_group("browser")


def test_who_comes_by_a_link_knocks_with_the_work_done(visits: Visits, knock: Knock) -> None:
    link = knock.link(door="garden", label="browser", greeting="Hello from **Ada**")
    page = visits.page(link=link)
    assert page.inner_text(".greeting strong") == "Ada"
    fill_in(page, "@linked:knock.test")
    send(page)
    assert page.inner_text("h1") == "You have knocked"
    kept = knock.record("@linked:knock.test")
    assert (kept["state"], kept["reason"], bool(kept["link"])) == ("admitted", "passed", True)


def test_a_link_works_without_javascript(visits: Visits, knock: Knock) -> None:
    page = visits.page(link=knock.link(door="garden"), java_script_enabled=False)
    fill_in(page, "@plainlink:knock.test")
    send(page)
    assert knock.record("@plainlink:knock.test")["reason"] == "no_proof_of_work"


def test_a_door_without_a_page_has_one_for_its_links(visits: Visits, knock: Knock) -> None:
    page = visits.page("?lang=de", link=knock.link(door="main"))
    assert page.inner_text("h1") == "Um Einlass bitten"
    page.fill("#matrix_id", "@door:knock.test")
    send(page)
    assert "/i/" in page.url
    assert knock.record("@door:knock.test")["door"] == "main"


def test_a_link_that_was_used_says_so_kindly(visits: Visits, knock: Knock) -> None:
    link = knock.link(door="main")
    page = visits.page(link=link)
    page.fill("#matrix_id", "@once:knock.test")
    send(page)
    assert page.reload() is not None  # the status page stays
    assert page.inner_text("h1") == "You have knocked"
    assert visits.page(link=link).inner_text("h1") == "This link leads nowhere any more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "?lang=de", "/s/receipt"])
@pytest.mark.parametrize("door", ["garden", "main"])
def test_axe_finds_nothing_wrong(visits: Visits, knock: Knock, path: str, scheme: str, door: str) -> None:
    link = knock.link(door=door, greeting="Hello from **Ada**")
    assert faults_of(visits.page(path, link=link, color_scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_a_link_that_is_over(visits: Visits, scheme: str) -> None:
    assert faults_of(visits.page(link="/i/nowhere", color_scheme=scheme)) == []
