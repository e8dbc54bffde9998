"""The owner's Markdown is rendered; what strangers call themselves is only ever text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.services.welcome_text import (
    DEFAULT_WELCOME,
    LARGEST,
    LONGEST_NAME,
    LONGEST_TEXT,
    MARKER,
    PLACEHOLDERS,
    WelcomeTemplate,
)

CAROL = "@carol:example.org"
PILL = '<a href="https://matrix.to/#/@carol:example.org">'
EVERYTHING = "# {room}\n\nHello {user}, or **{name}**:\n\n- `{name}`\n- [rules](https://example.org/)"


def content(
    text: str = DEFAULT_WELCOME, *, name: str = "Carol", room: str = "Repair Café"
) -> dict[str, object]:
    return WelcomeTemplate.parse(text).render(user_id=CAROL, display_name=name, room_name=room, marker="01A")


def formatted(text: str = DEFAULT_WELCOME, *, name: str = "Carol", room: str = "Repair Café") -> str:
    return str(content(text, name=name, room=room)["formatted_body"])


def body(text: str = DEFAULT_WELCOME, *, name: str = "Carol") -> str:
    return str(content(text, name=name)["body"])


# What the owner writes


def test_the_usual_welcome_mentions_the_joiner_by_a_pill() -> None:
    assert formatted() == f"<p>Welcome to Repair Café, {PILL}Carol</a>!</p>"


def test_the_plain_text_reads_well_by_itself() -> None:
    assert body() == "Welcome to Repair Café, Carol!"


def test_the_joiner_is_pinged() -> None:
    assert content()["m.mentions"] == {"user_ids": [CAROL]}


def test_a_name_alone_pings_nobody() -> None:
    assert content("Hello {name}")["m.mentions"] == {}


def test_markdown_is_rendered() -> None:
    assert formatted("**Hello** {name}\n\n- one") == (
        "<p><strong>Hello</strong> Carol</p>\n<ul>\n<li>one</li>\n</ul>"
    )


def test_a_line_break_stays_one() -> None:
    assert formatted("one\ntwo") == "<p>one<br>\ntwo</p>"


def test_doubled_braces_are_braces() -> None:
    assert body("{{user}} is {name}") == "{user} is Carol"


def test_html_of_the_owner_is_shown_as_it_is() -> None:
    assert formatted("<script>x</script>") == "<p>&lt;script&gt;x&lt;/script&gt;</p>"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc"])
def test_only_links_that_lead_somewhere_are_links(address: str) -> None:
    assert "href" not in formatted(f"[x]({address})")


@pytest.mark.parametrize(
    "address", ["https://example.org/", "mailto:a@example.org", "matrix:u/a:example.org"]
)
def test_links_of_the_owner_are_kept(address: str) -> None:
    assert f'href="{address}"' in formatted(f"[x]({address})")


def test_no_picture_is_loaded() -> None:
    assert "<img" not in formatted("![x](https://example.org/x.png)")


def test_the_event_can_be_found_again() -> None:
    assert content()[MARKER] == "01A"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("  \n ", "is empty"),
        ("x" * (LONGEST_TEXT + 1), "at most"),
        ("{usr}", "did you mean {user}?"),
        ("{password}", "there are {user}, {name}, {room}."),
        ("{}", "unknown placeholder"),
        ("{user", "brace without"),
        ("user}", "brace without"),
        ("{user.__class__}", "unknown placeholder"),
        ("[x](https://example.org/{name})", "address of a link"),
        ("\ue000", "private use"),
        ("{name}" * 600, "too large"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        WelcomeTemplate.parse(text)


# What strangers call themselves


@pytest.mark.parametrize(
    "name",
    [
        "**bold**",
        "[click](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "</a><h1>x",
        '"><script>x</script>',
        "{user}",
        "{{room}}",
        "a\n\n# big",
        "`code`",
        "&lt;b&gt;",
    ],
)
def test_a_name_is_nothing_but_text(name: str) -> None:
    tags = re.findall(r"</?([a-z0-9]+)", formatted("Hello {name}", name=name))

    assert tags == ["p", "p"]


def test_a_name_cannot_ping_the_room() -> None:
    said = content("Hello {name}", name="@room")

    assert said["m.mentions"] == {}
    assert "@room" not in str(said["body"])


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u202e\u2066", "\0", "\ud800"])
def test_who_shows_no_name_is_called_by_their_id(name: str) -> None:
    assert body("Hello {name}", name=name) == "Hello carol"


def test_a_name_stays_on_one_line() -> None:
    assert body("Hello {name}", name="a\nb\u2028c\r\nd") == "Hello a b c d"


def test_a_name_cannot_turn_the_text_around() -> None:
    assert body("Hello {name}!", name="\u202eevil\u202c") == "Hello evil!"


def test_a_long_name_is_cut() -> None:
    assert len(body("{name}", name="x" * 10_000)) == LONGEST_NAME


def test_a_room_without_a_name_is_the_room() -> None:
    assert "the room" in str(content(room="")["body"])


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_name_adds_a_tag_or_a_mention(name: str, room: str) -> None:
    said = content(EVERYTHING, name=name, room=room)
    plain = content(EVERYTHING, name="x", room="x")

    assert said["m.mentions"] == plain["m.mentions"]
    assert _tags(said) == _tags(plain)


@given(st.text(), st.text())
def test_whatever_the_names_are_it_is_a_small_event(name: str, room: str) -> None:
    said = content(EVERYTHING, name=name * 100, room=room * 100)

    assert len(json.dumps(said, ensure_ascii=False).encode()) < LARGEST


@given(st.text(alphabet=st.sampled_from("{} aurse*_[]()<>`#\n-nmo"), max_size=60))
def test_no_template_is_anything_but_used_or_refused(text: str) -> None:
    try:
        template = WelcomeTemplate.parse(text)
    except ValueError:
        return
    template.render(user_id=CAROL, display_name="<b>", room_name="<i>", marker="")


def test_every_placeholder_is_documented_in_the_class() -> None:
    assert all(f"{{{name}}}" in str(WelcomeTemplate.__doc__) for name in PLACEHOLDERS)


def _tags(said: dict[str, object]) -> list[str]:
    return re.findall(r"<[^>]*?[a-z0-9]+", re.sub(r'href="[^"]*"', "", str(said["formatted_body"])))
