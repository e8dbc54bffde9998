"""Reading ``doors.toml``: every problem at once, with its door and its key, and never a secret."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mknock.settings.door_table import BY_NAME, DoorTable, QuestionTable, Table
from mknock.settings.problems import SettingsError, edits
from mknock.settings.values import WHERE_IS_THE_ROOM_ID, slug

PLACEHOLDER = "change-me"
"""Marks what an example leaves to the owner; no value may hold it."""
FILE_NAME = "doors.toml"
SHORTEST_TOKEN = 16

Json = dict[str, Any]
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class DoorsFile:
    """The doors that the file describes, by slug. ``sources`` are all files that were read for it."""

    path: Path | None = None
    doors: Mapping[str, DoorTable] = field(default_factory=dict)
    sources: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def doors_path(named: Path | None, data_dir: Path) -> Path | None:
    """Where the file is: as DOORS_FILE says, else in DATA_DIR or the working directory; None if it is nowhere."""
    return named or next((path for path in doors_paths(None, data_dir) if path.exists()), None)


def doors_paths(named: Path | None, data_dir: Path) -> tuple[Path, ...]:
    """Where the file may be."""
    return (named,) if named else (data_dir / FILE_NAME, Path(FILE_NAME))


def read_doors(path: Path | None, environ: Mapping[str, str], taken: str | None) -> DoorsFile:
    """Read the file; without one there are no doors in it. ``taken`` is the slug of the environment's door.

    Raises:
        SettingsError: with every problem there is.
    """
    if path is None:
        return DoorsFile()
    return _Reading(path, environ).doors(taken)


class _Reading:
    """One reading of the file, with what was found wrong so far."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._sources = [path]
        self._problems: list[str] = []
        self._warnings: list[str] = []

    def doors(self, taken: str | None) -> DoorsFile:
        doors = {name: door for name, door in self._doors(self._tables(), taken) if door is not None}
        if self._problems:
            raise SettingsError(self._problems)
        return DoorsFile(self._path, doors, tuple(self._sources), tuple(self._warnings))

    def _tables(self) -> Json:
        """The tables below ``doors``."""
        try:
            content = tomllib.loads(self._path.read_text("utf-8-sig"))
        except FileNotFoundError:
            self._problem("there is no such file (DOORS_FILE names it).")
        except UnicodeDecodeError:
            self._problem("is not UTF-8 text: save it as UTF-8.")
        except tomllib.TOMLDecodeError as error:
            self._problem(f"is not TOML: {error}.")
        except RecursionError:
            self._problem("holds lists within lists, too deep to be read.")
        except OSError as error:
            self._problem(f"cannot be read ({error.strerror}).")
        else:
            return self._below_doors(content)
        return {}

    def _below_doors(self, content: Json) -> Json:
        for name in content.keys() - {"doors"}:
            self._problem(f'"{name}" is not known here: every door is a table [doors.<slug>].')
        tables = content.get("doors", {})
        if isinstance(tables, dict):
            return tables
        self._problem("doors must hold a table for each door: [doors.<slug>].")
        return {}

    def _doors(self, tables: Json, taken: str | None) -> Iterator[tuple[str, DoorTable | None]]:
        for name, table in tables.items():
            try:
                slug(name)
            except ValueError as error:
                self._problem(f"the name of a door {error}")
                continue
            if name == taken:
                self._problem(
                    f'the door "{name}" is described twice, by NEW_ROOM_ID (DOOR_SLUG is {name}) in the environment'
                    f" and by [doors.{name}] here: give one of them another name."
                )
            if isinstance(table, dict):
                yield name, self._door(name, table)
            else:
                self._problem(f"[doors.{name}] must be a table.")

    def _door(self, name: str, table: Json) -> DoorTable | None:
        before = len(self._problems)
        filled = self._filled_in(name, table)
        named_wrongly = len(self._problems) > before
        try:
            door = DoorTable.model_validate(filled)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                if not (named_wrongly and detail["type"] == "missing" and detail["loc"] == ("room",)):
                    self._problem(_sentence(name, detail["loc"], detail["type"], detail.get("ctx", {})))
            return None
        token = door.secrets.token
        if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
            self._warnings.append(
                f'{self._path}: door "{name}": secrets.token has fewer than {SHORTEST_TOKEN} characters and might'
                ' be guessed: make one with "openssl rand -hex 32".'
            )
        return door

    # --- what stands elsewhere

    def _filled_in(self, door: str, table: Json) -> Json:
        """The table with what its ``…_file`` and ``…_env`` name."""
        filled = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
        for *above, key in BY_NAME:
            place = filled.get(above[0]) if above else filled
            if isinstance(place, dict):
                self._fill(door, ".".join((*above, key)), place, key)
        self._find_logo(filled.get("page"))
        return filled

    def _find_logo(self, page: object) -> None:
        """Its path is relative to this file; a change of the image is one of the doors."""
        if isinstance(page, dict) and isinstance(name := page.get("logo"), str) and name.strip():
            path = self._path.parent / name.strip()
            page["logo"] = str(path)
            self._sources.append(path)

    def _fill(self, door: str, shown: str, place: Json, key: str) -> None:
        ways = [way for way in (key, f"{key}_file", f"{key}_env") if way in place]
        if len(ways) > 1:
            self._problem(f'door "{door}": {shown} is set by {" and by ".join(ways)}: keep one of them.')
        given = {way: place.pop(way) for way in ways}
        value = self._value(door, shown, *given.popitem()) if len(ways) == 1 else None
        if isinstance(value, str) and PLACEHOLDER in value.lower():
            self._problem(f'door "{door}": {shown} still holds the placeholder of the example: fill it in.')
        elif value is not None:
            place[key] = value

    def _value(self, door: str, shown: str, way: str, given: Any) -> Any:
        """The value itself, or what the named file or variable holds; None if it holds nothing."""
        kind = way.removeprefix(shown.rpartition(".")[2])
        if not kind:
            return given.strip() if isinstance(given, str) else given
        if not isinstance(given, str) or not given:
            self._problem(f'door "{door}": {shown}{kind} must be text: a name.')
            return None
        return self._in_file(door, shown, given) if kind == "_file" else self._in_env(door, shown, given)

    def _in_file(self, door: str, shown: str, name: str) -> str | None:
        path = self._path.parent / name
        self._sources.append(path)
        try:
            value = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._problem(f'door "{door}": {shown}_file names {path}, which cannot be read ({why}).')
            return None
        if not value:
            self._problem(f'door "{door}": {shown}_file names {path}, which is empty.')
        return value or None

    def _in_env(self, door: str, shown: str, name: str) -> str | None:
        value = self._environ.get(name, "").strip()
        if not value:
            self._problem(f'door "{door}": {shown}_env names {name[:80]}, which is not set.')
        return value or None

    def _problem(self, sentence: str) -> None:
        self._problems.append(f"{self._path}: {sentence}")


# --- sentences -----------------------------------------------------------------------------------


def _sentence(door: str, key: Key, kind: str, context: Mapping[str, Any]) -> str:
    """What is wrong with a key of a door."""
    return f'door "{door}": {_what_is_wrong(door, key, kind, context)}'


def _what_is_wrong(door: str, key: Key, kind: str, context: Mapping[str, Any]) -> str:
    shown = _shown(key)
    match kind:
        case "missing" if key == ("room",):
            return (
                f"room is missing: set it to the ID of the room to invite people to ({WHERE_IS_THE_ROOM_ID})."
            )
        case "missing":
            return f"{shown} is missing."
        case "extra_forbidden":
            return f"{shown} is not known: {_hint(door, key)}"
        case "string_type":
            return f"{shown} must be text, between quotation marks."
        case "model_type" | "dict_type":
            return f"{shown} must be a table, such as [doors.{door}.{shown}]."
        case "tuple_type" | "list_type":
            return f"{shown} must be a list."
        case _:
            return f"{shown} {context.get('error', 'is not valid: see docs/reference/doors.md.')}".lstrip()


def _shown(key: Key) -> str:
    """``limits.window``; ``question 2: kind``."""
    if key and key[0] == "questions" and len(key) > 1:
        rest = _shown(key[2:])
        return f"question {int(key[1]) + 1}" + (f": {rest}" if rest else "")
    return ".".join(map(str, key))


def _hint(door: str, key: Key) -> str:
    """The nearest key there is, or where the key belongs."""
    *above, name = [str(part) for part in key if not isinstance(part, int)]
    known = _names(*above)
    distance, nearest = min((edits(name, one), one) for one in known)
    if distance <= max(1, len(name) // 3):
        return f"did you mean {nearest}?"
    for table in ("welcome", "form", "limits", "raids", "secrets", "page"):
        if name in _names(table) and above != [table]:
            return f"it belongs into [doors.{door}.{table}]."
    return "see docs/reference/doors.md for the keys there are."


def _names(*above: str) -> list[str]:
    """Every key of a table, with what may stand for it."""
    return [key[-1] for key in keys() if key[:-1] == above]


def keys(table: type[Table] = DoorTable, *above: str) -> Iterator[tuple[str, ...]]:
    """Every key that a door may have, from the outer table to the inner."""
    for name, about in table.model_fields.items():
        key = (*above, name)
        yield key
        if key in BY_NAME:
            yield from ((*above, f"{name}_file"), (*above, f"{name}_env"))
        inner = QuestionTable if name == "questions" else about.annotation
        if isinstance(inner, type) and issubclass(inner, Table):
            yield from keys(inner, *key)
