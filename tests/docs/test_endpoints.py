"""docs/reference/endpoints.md says what the endpoints take and answer: all of it, and nothing that is not so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mknock.api.reference import Described
from mknock.settings import Settings
from mknock.wiring.installation import Installation
from mknock.wiring.parts import parts_of

Json = dict[str, Any]

PAGE = (Path(__file__).parents[2] / "docs/reference/endpoints.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z]+ /\S*)` \| ([^|]*)\| ([^|]*)\| ([^|]+) \|$", re.MULTILINE)
SHAPE = re.compile(r"\[(\w+)\]\(#\w+\)")
CODE = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
CHAPTER = re.compile(r"^### (.+)$", re.MULTILINE)


def described() -> Json:
    settings = Settings.model_validate({"new_room_id": "!room:knock.test", "matrix_access_token": "token"})
    app = Installation(parts_of(settings)).api
    assert isinstance(app, Described)
    return app.openapi()


SCHEMA = described()
SHAPES: Mapping[str, Json] = SCHEMA["components"]["schemas"]
OPERATIONS: Mapping[str, Json] = {
    f"{method.upper()} {path}": operation
    for path, operations in SCHEMA["paths"].items()
    for method, operation in operations.items()
}


class Row(NamedTuple):
    """What the page says of an endpoint."""

    request: str
    answers: str
    meaning: str


ROWS = {name: Row(*cells) for name, *cells in ROW.findall(PAGE)}


def chapters() -> Iterator[tuple[str, str]]:
    """Each shape's heading with the text below it."""
    _, *parts = CHAPTER.split(PAGE.partition("\n## Shapes\n")[2])
    yield from zip(parts[::2], parts[1::2], strict=True)


CHAPTERS = dict(chapters())


def shapes_in(part: object) -> set[str]:
    """The shapes that a part of the description refers to itself."""
    return set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(part)))


def test_every_endpoint_is_in_the_tables_and_no_other() -> None:
    assert set(ROWS) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_page_gives_the_statuses_that_are_answered(name: str) -> None:
    assert re.findall(r"\b[1-5]\d\d\b", ROWS[name].answers) == sorted(OPERATIONS[name]["responses"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_page_names_the_shape_of_the_request(name: str) -> None:
    assert set(SHAPE.findall(ROWS[name].request)) == shapes_in(OPERATIONS[name].get("requestBody"))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_page_names_the_shapes_of_the_answers(name: str) -> None:
    assert set(SHAPE.findall(ROWS[name].answers)) == shapes_in(OPERATIONS[name]["responses"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_page_names_every_parameter(name: str) -> None:
    named = {one["name"] for one in OPERATIONS[name].get("parameters", ())}
    assert named <= {parameter for parameter, _ in CODE.findall(PAGE)}


def test_every_shape_has_its_chapter_and_no_other() -> None:
    assert set(CHAPTERS) == set(SHAPES)


@pytest.mark.parametrize("shape", [name for name, shape in SHAPES.items() if "properties" in shape])
def test_a_shapes_chapter_tables_its_fields_and_no_others(shape: str) -> None:
    assert [field for field, _ in CODE.findall(CHAPTERS[shape])] == list(SHAPES[shape]["properties"])


@pytest.mark.parametrize("shape", [name for name, shape in SHAPES.items() if "enum" in shape])
def test_a_chapter_names_every_value(shape: str) -> None:
    assert set(SHAPES[shape]["enum"]) <= set(re.findall(r"`(\w+)`", CHAPTERS[shape]))


FIELDS = [(name, field) for name, shape in SHAPES.items() for field in shape.get("properties", ())]


@pytest.mark.parametrize(("shape", "field"), FIELDS)
def test_a_field_names_its_shape_and_its_values(shape: str, field: str) -> None:
    about = SHAPES[shape]["properties"][field]
    said = dict(CODE.findall(CHAPTERS[shape]))[field]
    values = set(about.get("enum", ())) | set(about.get("items", {}).get("enum", ())) | shapes_in(about)
    assert values <= set(re.findall(r"\w+", said))


@pytest.mark.parametrize(
    "status", sorted({status for one in OPERATIONS.values() for status in one["responses"]})
)
def test_every_status_is_explained(status: str) -> None:
    explained = re.findall(r"^\| (\d\d\d) \| .+ \|$", PAGE, re.MULTILINE)
    assert status in ("200", "429") or status in explained
