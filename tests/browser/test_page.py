"""A door's own page in a real Chromium: by keyboard, without JavaScript, in the dark, on a phone, and for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.browser.visits import BOT, Knock, Visits, faults_of, fill_in, send

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}

pytestmark = pytest.mark.xdist_group("browser")


def focused(page: Page) -> str:
    """The field that has the focus."""
    name: str = page.evaluate("document.activeElement.id || document.activeElement.name || ''")
    return name


def tab_to(page: Page, name: str) -> None:
    for _ in range(30):
        if focused(page) == name:
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not lead to {name}")


def places(page: Page) -> Iterator[str]:
    """Where the Tab key leads, one after the other, until it leaves the page."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            return
        yield focused(page)


# --- knocking


def test_the_keyboard_alone_leads_to_the_status_page_with_the_work_done(visits: Visits, knock: Knock) -> None:
    page = visits.page()
    tab_to(page, "matrix_id")
    page.keyboard.type("@keyboard:knock.test")
    tab_to(page, "answer-why")
    page.keyboard.type("I like beans.")
    tab_to(page, "answer-day")
    page.keyboard.press("Space")
    tab_to(page, "answer-adult")
    page.keyboard.press("Space")
    tab_to(page, "rules")
    page.keyboard.press("Space")
    page.wait_for_timeout(3600)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*")

    assert page.inner_text("h1") == "You have knocked"
    kept = knock.record("@keyboard:knock.test")
    assert (kept["state"], kept["reason"]) == ("admitted", "passed")
    assert [answer["value"] for answer in kept["answers"]] == ["I like beans.", "Saturday", "yes", "accepted"]


def test_without_javascript_a_moderator_looks_first(visits: Visits, knock: Knock) -> None:
    page = visits.page(java_script_enabled=False)
    assert page.is_visible("noscript p")
    fill_in(page, "@plain:knock.test")
    send(page)
    assert knock.record("@plain:knock.test")["reason"] == "no_proof_of_work"


def test_without_javascript_what_is_wrong_is_said_and_the_answers_stay(visits: Visits) -> None:
    page = visits.page(java_script_enabled=False)
    fill_in(page, "plain@mail.example")
    page.click("button")
    assert "looks like an e-mail address" in page.inner_text("#matrix_id-wrong")
    assert page.input_value("#matrix_id") == "plain@mail.example"
    assert page.is_checked("text=Sunday")
    assert page.is_checked("[name=rules]")


def test_where_a_browser_may_not_work_a_moderator_looks_first(visits: Visits, knock: Knock) -> None:
    page = visits.page(host="knock.test")  # no HTTPS and not this machine's own name: no secure context
    fill_in(page, "@insecure:knock.test")
    send(page)
    assert knock.record("@insecure:knock.test")["reason"] == "no_proof_of_work"


def test_who_comes_back_and_knocks_for_somebody_else_works_again(visits: Visits, knock: Knock) -> None:
    page = visits.page()
    fill_in(page, "@first:knock.test")
    send(page)
    page.go_back()
    fill_in(page, "@second:knock.test")
    send(page)
    assert knock.record("@second:knock.test")["reason"] == "passed"


def test_a_mistake_that_is_mended_needs_no_patience(visits: Visits, knock: Knock) -> None:
    page = visits.page()
    fill_in(page, "mistake@mail.example")
    page.wait_for_timeout(3600)
    page.click("button")
    page.wait_for_selector(".problems")
    page.fill("#matrix_id", "@mended:knock.test")
    page.click("button")
    page.wait_for_url("**/s/*")
    assert knock.record("@mended:knock.test")["reason"] == "passed"


# --- proving the account


def test_a_visitor_is_led_from_the_form_to_the_code_and_the_bot(visits: Visits, knock: Knock) -> None:
    page = visits.page("-shed", java_script_enabled=False)
    page.fill("#matrix_id", "@shedder:knock.test")
    page.click("button")
    page.wait_for_url("**/s/*")

    assert re.fullmatch("[0-9A-Z]{4}-[0-9A-Z]{4}", page.inner_text(".code"))
    assert page.get_attribute("ol a", "href") == f"https://matrix.to/#/{BOT}"
    assert page.inner_text("ol a") == BOT
    assert knock.record("@shedder:knock.test")["reason"] == "unproven"


def test_one_click_selects_the_whole_code(visits: Visits) -> None:
    page = visits.page("-shed/s/token")
    page.click(".code")
    assert page.evaluate("getSelection().toString()") == page.inner_text(".code")


# --- while it is filled in


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("@tara:knock.test", "You knock as @tara:knock.test."),
        ("Tara : Knock.Test", "Understood as @Tara:knock.test. If that is not you, please correct it."),
    ],
)
def test_an_id_is_shown_as_it_is_understood(visits: Visits, typed: str, said: str) -> None:
    page = visits.page()
    page.type("#matrix_id", typed)
    expect(page.locator("#matrix_id-check")).to_have_text(said)


def test_what_is_not_yet_an_id_is_no_mistake_until_the_field_is_left(visits: Visits) -> None:
    page = visits.page()
    page.type("#matrix_id", "#room:knock.test")
    page.wait_for_timeout(1000)
    assert page.inner_text("#matrix_id-check") == ""
    page.keyboard.press("Tab")
    expect(page.locator("#matrix_id-check")).to_contain_text("address of a room")


def test_the_first_mistake_has_the_focus_and_says_what_is_wrong(visits: Visits) -> None:
    page = visits.page()
    page.fill("#matrix_id", "@tara:knock.test")
    page.click("button")
    page.wait_for_selector(".problems")
    assert focused(page) == "answer-why"
    described = (page.get_attribute("#answer-why", "aria-describedby") or "").split()
    assert [page.inner_text(f"#{name}") for name in described] == [
        "Please answer this.",
        "A sentence or two will do.",
    ]
    assert page.get_attribute("#answer-why", "aria-invalid") == "true"
    assert page.title().startswith("Not sent yet: ")


def test_the_keyboard_passes_every_field_in_order_and_no_trap(visits: Visits) -> None:
    page = visits.page()
    assert [place for place in places(page) if place] == [
        "matrix_id",
        "answer-why",
        "answer-name",
        "answer-day",
        "answer-likes",
        "answer-likes",
        "answer-likes",
        "answer-district",
        "answer-adult",
        "rules",
    ]


# --- how it looks


def test_german_is_spoken_to_who_speaks_it(visits: Visits) -> None:
    page = visits.page(locale="de-DE")
    assert page.inner_text("button") == "Um Einlass bitten"
    assert page.get_attribute("html", "lang") == "de"
    page.fill("#matrix_id", "tara : knock.test")
    expect(page.locator("#matrix_id-check")).to_contain_text("Verstanden als @tara:knock.test.")
    page.click("text=English")
    assert page.inner_text("button") == "Ask to join"


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(32, 33, 38)")])
def test_the_page_is_light_or_dark_as_the_visitor_likes(visits: Visits, scheme: str, paper: str) -> None:
    page = visits.page(color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor") == paper


def test_the_button_has_the_owners_colour(visits: Visits) -> None:
    page = visits.page(color_scheme="dark")
    colours = page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.querySelector('button')))"
    )
    assert colours == ["rgb(242, 194, 0)", "rgb(0, 0, 0)"]


@pytest.mark.parametrize("path", ["", "/s/token", "-shed/s/token", "-shed/s/token?lang=de"])
def test_nothing_is_wider_than_a_phone(visits: Visits, path: str) -> None:
    page = visits.page(path, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_what_is_to_be_tapped_is_large_enough(visits: Visits) -> None:
    page = visits.page(**PHONE)
    heights = page.evaluate(
        "[...document.querySelectorAll('button, .tick, select, textarea, [type=text]:not([tabindex])')]"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44


def test_nothing_moves_for_who_does_not_like_it(visits: Visits) -> None:
    page = visits.page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"


def test_the_logo_is_there(visits: Visits) -> None:
    page = visits.page()
    assert page.evaluate("document.querySelector('.logo').naturalWidth") == 1


# --- for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "?lang=de", "/s/token", "-shed", "-shed/s/token", "-that-is-none"])
def test_axe_finds_nothing_wrong(visits: Visits, path: str, scheme: str) -> None:
    assert faults_of(visits.page(path, color_scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_mistakes(visits: Visits, scheme: str) -> None:
    page = visits.page(color_scheme=scheme)
    page.click("button")
    page.wait_for_selector(".problems")
    assert faults_of(page) == []


def test_axe_would_find_something(visits: Visits) -> None:
    page = visits.page()
    page.evaluate("document.querySelector('label').remove()")
    assert re.match("label", faults_of(page)[0])
