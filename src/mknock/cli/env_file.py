"""The .env file that ``mknock setup`` writes: only its owner can read it, and what else is in it stays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values, set_key, unset_key

from mknock.domain.errors import KnockError


class NotWritten(KnockError):
    """The file could not be written."""


def values_in(path: Path) -> dict[str, str]:
    """What the file says so far; nothing if there is none."""
    try:
        written = dotenv_values(path, interpolate=False, encoding="utf-8-sig") if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise NotWritten(f"{path} cannot be read: {error}") from None
    return {name: value for name, value in written.items() if value}


def write(path: Path, settings: Mapping[str, str], *, without: Iterable[str] = ()) -> None:
    """Put these settings into the file, and take those of ``without`` out. Each change is whole or not there.

    Raises:
        NotWritten: one sentence says why.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        present = dotenv_values(path, interpolate=False)
        for name in without:
            if name in present:
                unset_key(path, name)
        for name, value in settings.items():
            set_key(path, name, value)
    except (OSError, UnicodeDecodeError) as error:
        raise NotWritten(f"{path} cannot be written: {error}") from None
