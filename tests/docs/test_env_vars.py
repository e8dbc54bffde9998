"""docs/env_vars.md and .env.example say what the code does, of every setting and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from dotenv.parser import parse_stream

from mknock.settings import KNOWN, NAMES, PLACEHOLDER, Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/env_vars.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / ".env.example"
DEFAULTS = Settings.model_validate({"new_room_id": "!room:knock.test"})
ELSEWHERE = frozenset({"NAME", "NAME_FILE"})
"""Capital words on the page that stand for a setting without being one."""


class Row(NamedTuple):
    """One line of the page's tables."""

    name: str
    required: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            yield Row(cells[0].strip("`"), *cells[1:])


ROWS = {row.name: row for row in rows()}


def examples() -> Mapping[str, str]:
    """Every setting in .env.example, commented out or not, as a .env file would be read."""
    text = re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(values(text))


def values(text: str) -> Iterator[tuple[str, str]]:
    for binding in parse_stream(StringIO(text)):
        assert not binding.error, binding.original
        if binding.key is not None:
            yield binding.key, binding.value or ""


def meant(name: str, written: str) -> object:
    """What the code makes of a value, on its own."""
    settings = Settings.model_validate({"new_room_id": "!room:knock.test", name.lower(): written})
    return getattr(settings, name.lower())


# --- docs/env_vars.md --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_row(name: str) -> None:
    assert name in ROWS


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_setting(name: str) -> None:
    assert name in NAMES


def test_every_setting_has_one_row() -> None:
    assert len(list(rows())) == len(ROWS)


def test_no_name_on_the_page_is_unknown() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PAGE))
    assert named - KNOWN - ELSEWHERE == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_default_on_the_page_is_that_of_the_code(name: str) -> None:
    default, written = getattr(DEFAULTS, name.lower()), ROWS[name].default
    if written == "–":
        assert default in (None, ()) or name == "NEW_ROOM_ID"
    else:
        assert meant(name, written.strip("`")) == default


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_which_settings_are_required(name: str) -> None:
    assert (ROWS[name].required == "yes") is Settings.model_fields[name.lower()].is_required()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_marks_the_secrets(name: str) -> None:
    secret = "SecretStr" in str(Settings.model_fields[name.lower()].annotation)
    assert ROWS[name].meaning.startswith("**Secret.**") is secret


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_its_sentence_in_the_code(name: str) -> None:
    assert (Settings.model_fields[name.lower()].description or "").endswith(".")


# --- .env.example ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_in_the_example(name: str) -> None:
    assert name in examples()


@pytest.mark.parametrize("name", examples())
def test_every_name_in_the_example_is_a_setting(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize(
    "name", [name for name in NAMES if getattr(DEFAULTS, name.lower()) not in (None, ())]
)
def test_the_example_shows_the_default_or_asks_for_a_value(name: str) -> None:
    written = examples()[name]
    assert PLACEHOLDER in written or meant(name, written) == getattr(DEFAULTS, name.lower())


@pytest.mark.parametrize("name", examples())
def test_the_example_holds_only_values_that_would_be_accepted(name: str) -> None:
    assert PLACEHOLDER in examples()[name] or meant(name, examples()[name]) is not None


def test_the_example_as_it_is_asks_for_what_is_to_be_filled_in() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({}, EXAMPLE)
    asked = [problem.split()[0] for problem in refused.value.problems]
    assert asked == ["NEW_ROOM_ID", "MATRIX_BASE_URL", "MATRIX_ACCESS_TOKEN"]


FILLED_IN = {
    "NEW_ROOM_ID": "!room:knock.test",
    "MATRIX_BASE_URL": "https://hs.knock.test",
    "MATRIX_ACCESS_TOKEN": "syt_token",
}


def test_the_example_works_once_it_is_filled_in(tmp_path: Path) -> None:
    filled = tmp_path / ".env"
    text = EXAMPLE.read_text(encoding="utf-8")
    for name, value in FILLED_IN.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    filled.write_text(text, encoding="utf-8")
    assert load_settings({}, filled).warnings == ()


def test_the_example_has_no_comment_behind_a_value() -> None:
    """systemd would take it for a part of the value."""
    assert re.findall(r"^#?[A-Z_]+=\S+ +#.*$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE) == []
