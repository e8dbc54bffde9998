"""Reading the settings from the environment, from files named by ``NAME_FILE``, and from ``.env``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import ValidationError

from mknock.settings.doors_file import PLACEHOLDER, DoorsFile, doors_path, read_doors
from mknock.settings.problems import Findings, SettingsError, edits
from mknock.settings.table import KNOWN, NAMES, NO_SIGN_IN, Settings, SignIn
from mknock.settings.values import POSTGRES, WHERE_IS_THE_ROOM_ID


def load_settings(
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    *,
    require_sign_in: bool = True,
    require_doors: bool = True,
) -> Settings:
    """Read all settings and check them.

    ``environ`` is the process's environment unless given, ``env_file`` what
    ENV_FILE names or ``.env``; the environment wins over the file, and an empty value
    counts as unset. ``require_sign_in=False`` is for commands that need no
    account, or find a session in the store; ``require_doors=False`` for those that
    can tell what is wrong with the file of doors beside the rest.

    Raises:
        SettingsError: with every problem there is.
    """
    surroundings = dict(os.environ if environ is None else environ)
    findings = Findings()
    written = _written(surroundings, env_file, findings)
    findings.warnings += _strange_names(written, surroundings)
    given = _values(_filled(written) | _filled(surroundings), findings)
    _check_pairs(given, findings)
    _check_store(given, findings)
    _check_room(given, findings)
    if require_sign_in and not findings.problems.keys() & _SIGN_IN_NAMES and not given.keys() & set(SignIn):
        findings.problem("MATRIX_ACCESS_TOKEN", NO_SIGN_IN)
    findings.warnings += _short_secrets(given)
    settings = _checked(given, findings)
    if settings is not None and settings.allow_open_api and settings.api_key is not None:
        findings.problem(
            "API_KEY", "API_KEY and ALLOW_OPEN_API=true contradict each other: keep one of them."
        )
    if settings is None or findings.problems:
        raise SettingsError(findings.sentences(NAMES), findings.warnings)
    return _with_doors(settings, _filled(written) | _filled(surroundings), required=require_doors)


def load_doors(settings: Settings, environ: Mapping[str, str] | None = None) -> DoorsFile:
    """Read the file of doors as it is now.

    Raises:
        SettingsError: with every problem there is.
    """
    surroundings = dict(os.environ if environ is None else environ)
    return _doors(settings, _filled(_written(surroundings, None, Findings())) | _filled(surroundings))


def _doors(settings: Settings, environ: Mapping[str, str]) -> DoorsFile:
    path = doors_path(settings.doors_file, settings.data_dir)
    found = read_doors(path, environ, settings.door_slug if settings.new_room_id else None)
    if not found.doors and settings.new_room_id is None:
        raise SettingsError([f"{path}: describes no door, and NEW_ROOM_ID is not set: one of them has to."])
    return found


def _with_doors(settings: Settings, environ: Mapping[str, str], *, required: bool) -> Settings:
    try:
        doors = _doors(settings, environ)
    except SettingsError as error:
        if required or settings.new_room_id is None:
            raise SettingsError(error.problems, settings.warnings) from None
        return settings.model_copy(update={"doors_problems": error.problems})
    return settings.model_copy(update={"doors": doors, "warnings": (*settings.warnings, *doors.warnings)})


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    """Without the empty ones: compose passes ``NAME=`` for what nobody set."""
    return {name: value for name, value in values.items() if value.strip()}


def _written(surroundings: Mapping[str, str], env_file: Path | None, findings: Findings) -> dict[str, str]:
    """What the .env file says. Nothing is expanded: a ``$`` is a dollar sign."""
    named = env_file or surroundings.get("ENV_FILE")
    path = Path(named or ".env")
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return _bindings(stream.read(), path, findings)
    except FileNotFoundError:
        if named:
            findings.problem("ENV_FILE", f"ENV_FILE names {path}, which does not exist.")
    except UnicodeDecodeError:
        findings.problem("ENV_FILE", f"{path} is not UTF-8 text: save it as UTF-8.")
    except OSError as error:
        _say_unreadable(path, error, findings, needed=bool(named))
    return {}


def _say_unreadable(path: Path, error: OSError, findings: Findings, *, needed: bool) -> None:
    """Only a file that somebody named is needed: systemd reads a .env that its service may not."""
    if needed:
        findings.problem("ENV_FILE", f"ENV_FILE names {path}, which cannot be read ({error.strerror}).")
    else:
        findings.warnings.append(f"{path} cannot be read ({error.strerror}) and was left out.")


def _bindings(text: str, path: Path, findings: Findings) -> dict[str, str]:
    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            line = binding.original.line
            findings.problem(
                f"line {line}", f"Line {line} of {path} is not NAME=value: mend it, or put # before it."
            )
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return values


def _values(given: Mapping[str, str], findings: Findings) -> dict[str, str]:
    """Each setting that has a value, by name; those read from files included."""
    values: dict[str, str] = {}
    for name in NAMES:
        value = _value(name, given, findings)
        if value and PLACEHOLDER in value.lower():
            findings.problem(
                name, f"{name} still holds the placeholder of .env.example: fill it in, or delete the line."
            )
        elif value:
            values[name] = value
    if "DATA_DIR" not in values and "STATE_DIRECTORY" in given:
        values["DATA_DIR"] = given["STATE_DIRECTORY"].split(":")[0]
    return values


def _value(name: str, given: Mapping[str, str], findings: Findings) -> str | None:
    value, path = given.get(name), given.get(f"{name}_FILE")
    if value is not None and path is not None:
        findings.problem(name, f"{name} and {name}_FILE are both set: keep one of them.")
        return None
    if path is not None:
        value = _content(name, Path(path), findings)
    # Spaces around a token are slips; around a password they may be meant.
    return value if value is None or name == "MATRIX_PASSWORD" else value.strip()


def _content(name: str, path: Path, findings: Findings) -> str | None:
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        findings.problem(name, f"{name}_FILE names {path}, which cannot be read ({why}).")
        return None
    if not value:
        findings.problem(name, f"{name}_FILE names {path}, which is empty.")
    return value


_SIGN_IN_NAMES = frozenset((*SignIn, "MATRIX_USER", "BEEPER_LOGIN_CODE"))
_PAIRS = (
    ("MATRIX_USER", "MATRIX_PASSWORD"),
    ("MATRIX_PASSWORD", "MATRIX_USER"),
    ("BEEPER_LOGIN_CODE", "BEEPER_LOGIN_EMAIL"),
)


def _check_pairs(given: Mapping[str, str], findings: Findings) -> None:
    for one, other in _PAIRS:
        if one in given and other not in given and other not in findings.problems:
            findings.problem(one, f"{one} is set without {other}: set both, or neither.")


def _check_store(given: Mapping[str, str], findings: Findings) -> None:
    in_postgres = given.get("STORE_URL", "").startswith(POSTGRES)
    if in_postgres and "SECRET_KEY" not in given:
        findings.problem(
            "SECRET_KEY",
            "SECRET_KEY is missing: it encrypts the tokens in PostgreSQL, which needs it;"
            ' make one with "openssl rand -hex 32".',
        )
    if "STORE_NOTIFY_URL" in given and not in_postgres:
        findings.problem(
            "STORE_NOTIFY_URL",
            "STORE_NOTIFY_URL is set, but STORE_URL does not name PostgreSQL: leave it out.",
        )


def _check_room(given: Mapping[str, str], findings: Findings) -> None:
    """Without a door of its own the environment can have no secrets of one: they would open nothing."""
    if "NEW_ROOM_ID" in given or "NEW_ROOM_ID" in findings.problems:
        return
    named = Path(given["DOORS_FILE"]) if "DOORS_FILE" in given else None
    if doors_path(named, Path(given.get("DATA_DIR", "data"))) is None:
        findings.problem(
            "NEW_ROOM_ID",
            "NEW_ROOM_ID is missing: set it to the ID of the room to invite people to"
            f" ({WHERE_IS_THE_ROOM_ID}), or describe a door in doors.toml.",
        )
        return
    for name in NAMES:
        if name in given and (name == "FORM_TOKEN" or name.endswith("_SIGNING_SECRET")):
            findings.problem(
                name,
                f"{name} belongs to the door of NEW_ROOM_ID, which is not set: put it into [doors.<slug>.secrets].",
            )


_SHORT = {"SECRET_KEY": 32, "API_KEY": 16, "FORM_TOKEN": 16}


def _short_secrets(given: Mapping[str, str]) -> Iterator[str]:
    for name, length in _SHORT.items():
        if name in given and len(given[name]) < length:
            yield (
                f"{name} has fewer than {length} characters and might be guessed: "
                'make one with "openssl rand -hex 32".'
            )


def _checked(given: Mapping[str, str], findings: Findings) -> Settings | None:
    values: dict[str, Any] = {name.lower(): value for name, value in given.items()}
    try:
        return Settings.model_validate({**values, "warnings": tuple(findings.warnings)})
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            name = str(detail["loc"][0]).upper()
            findings.problem(
                name, f"{name} {detail.get('ctx', {}).get('error', 'is not valid: see docs/env_vars.md.')}"
            )
        return None


# --- names that are probably mistakes ----------------------------------------------------------

_OF_OTHERS = re.compile(
    r"(COMPOSE|DOCKER|DOORS|BUILDKIT|UVICORN|CADDY|SSL|LC|OTEL)_.*|PYTHON.*|TZ|LANG|LANGUAGE|WEB_CONCURRENCY|"
    r"FORWARDED_ALLOW_IPS|(HTTPS?|ALL|NO)_PROXY|NO_COLOR|FORCE_COLOR|TMPDIR|PATH|HOME|USER|UID|GID"
)
"""What a .env file may hold for the programs beside Knock that read the same file."""


def _strange_names(written: Mapping[str, str], surroundings: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each name in the .env file that is no setting, and in the environment that nearly is."""
    for name in sorted(written.keys() - KNOWN):
        if not _OF_OTHERS.fullmatch(name.upper()):
            nearest = _nearest(name, lambda length: 2 if length >= 6 else 1)
            hint = f"did you mean {nearest}?" if nearest else "see docs/env_vars.md for the names there are."
            yield f"{name} in the .env file is not a setting and was left out: {hint}"
    for name in sorted(surroundings.keys() - KNOWN - written.keys()):
        nearest = _nearest(name, _allowed_edits)
        if nearest:
            yield f"{name} in the environment is not a setting: did you mean {nearest}?"


def _allowed_edits(length: int) -> int:
    """How far a name may be from a setting of this length and still look meant.

    An environment holds many short names that have nothing to do with Knock:
    GPG_KEY, which Python's container sets, is two edits from API_KEY, and
    HISTFILE from HOST_FILE (so the ending does not count as length).
    """
    return 2 if length >= 8 else 1 if length >= 6 else 0


def _nearest(name: str, allowed: Callable[[int], int]) -> str | None:
    """The known name with the fewest edits, if those are few enough. Case counts for nothing."""
    upper = name.upper()
    near = [
        (edits(upper, known), known)
        for known in sorted(KNOWN)
        if abs(len(upper) - len(known)) <= 2 and len(set(upper) ^ set(known)) <= 4
    ]
    fit = [pair for pair in near if pair[0] <= allowed(min(len(upper), len(pair[1].removesuffix("_FILE"))))]
    return min(fit)[1] if fit else None
