"""docs/reference/doors.md and doors.example.toml say what the code does, of every key and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mknock.domain.doors import Policy, QuestionKind
from mknock.settings import NAMES, SettingsError, load_settings
from mknock.settings.door_table import BY_NAME
from mknock.settings.doors_file import keys
from mknock.wiring.doors import doors_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/doors.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "doors.example.toml").read_text(encoding="utf-8")
KEYS = [".".join(key) for key in keys() if not key[-1].endswith(("_file", "_env"))]
CHAPTER = re.compile(r"^## (\w+).*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def rows() -> Iterator[tuple[str, str]]:
    """Every key on the page, with its line."""
    for chapter in CHAPTER.finditer(PAGE):
        table = chapter[1].lower() + "." if chapter[1] not in ("The", "Questions") else ""
        for line in chapter[0].splitlines():
            if name := re.match(r"\| `([a-z_.]+)` \|", line):
                yield table + name[1], line


ROWS = dict(rows())


def test_every_key_has_its_row_and_every_row_is_a_key() -> None:
    assert sorted(ROWS) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_page_marks_what_can_be_named(key: str) -> None:
    assert ("**By name.**" in ROWS[key]) is (tuple(key.split(".")) in BY_NAME)


def test_the_page_names_only_settings_that_exist() -> None:
    assert set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE)) <= {*NAMES}


@pytest.mark.parametrize("value", [*Policy, *QuestionKind])
def test_the_page_names_every_value(value: str) -> None:
    assert f"`{value}`" in PAGE


def test_the_example_as_it_is_asks_for_what_is_to_be_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as refused:
        loaded_example(EXAMPLE)
    asked = [re.findall(r"door \"\w+\": (\w+\S*)", problem)[0] for problem in refused.value.problems]
    assert asked == ["room", "secrets.token", "room_env"]


def loaded_example(text: str, **environ: str) -> list[str]:
    Path("doors.toml").write_text(text, encoding="utf-8")
    return [door.slug for door in doors_of(load_settings(environ, require_sign_in=False))]


def test_the_example_works_once_it_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filled = EXAMPLE.replace('"!change-me"', '"!garden:knock.test"').replace('"change-me"', f'"{"t" * 32}"')

    assert loaded_example(filled, DOORS_CELLAR_ROOM="!cellar:knock.test") == ["garden", "cellar"]
