"""The documentation is held to the code: links, commands, words and defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.plugin_promises import PROMISES
from tools.draw_lifecycle import PAGE, with_drawing

from mknock.domain.knocks import KnockState, Reason
from mknock.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TARGET_NAMED = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
TARGET_MADE = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)
SETTING_ROW = re.compile(r"^\| (`[A-Z_`, ]+`) \|[^|]*\|([^|]*)\|", re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """The anchor that a heading gets when it is shown as HTML."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(FENCED.sub("", text_of(page)))}


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(FENCED.sub("", text_of(page))):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (fragment and fragment not in anchors_of(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_the_index_leads_to_every_page() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(DOCS / "README.md"))}
    assert set(DOCS.rglob("*.md")) - {DOCS / "README.md"} == linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    made = set(TARGET_MADE.findall(text_of(ROOT / "Makefile")))
    assert set(TARGET_NAMED.findall(text_of(page))) <= made


@pytest.mark.parametrize("word", [*KnockState, *Reason], ids=lambda word: f"{type(word).__name__}-{word}")
def test_the_glossary_explains_every_state_and_reason(word: KnockState | Reason) -> None:
    title = "## States of a knock" if isinstance(word, KnockState) else "## Reasons"
    section = text_of(DOCS / "reference" / "glossary.md").partition(title)[2].partition("\n## ")[0]
    assert f"| `{word.value}` | " in section


def test_the_lifecycle_is_drawn_from_the_table_of_moves() -> None:
    assert text_of(PAGE) == with_drawing(text_of(PAGE)), "run: make docs"


def settings_in_the_readme() -> Iterator[tuple[str, str]]:
    """Each setting of the README's table with the default given there."""
    for names, default in SETTING_ROW.findall(text_of(ROOT / "README.md")):
        for name in re.findall(r"`([A-Z_]+)`", names):
            yield name, default.strip()


def default_of(name: str) -> str:
    default = Settings.model_fields[name.lower()].get_default()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_readme_names_only_settings_that_exist() -> None:
    assert {name.lower() for name, _ in settings_in_the_readme()} <= set(Settings.model_fields)


def test_the_readme_gives_the_defaults_that_are_used() -> None:
    given = {
        name: default.strip("`") for name, default in settings_in_the_readme() if default.startswith("`")
    }
    assert given == {name: default_of(name) for name in given}


def test_every_promise_has_its_chapter() -> None:
    chapters = re.findall(r"^## (\d+)\.", text_of(DOCS / "explanation" / "promises.md"), re.MULTILINE)
    assert [int(number) for number in chapters] == list(range(1, 12))


def test_the_build_asks_for_tests_of_promises_that_exist() -> None:
    assert set(range(1, 12)) >= PROMISES
