"""The settings that ``mknock setup`` gathers: a copy of .env beside it, which takes its place at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from dotenv import dotenv_values, set_key, unset_key

from mknock.cli.terminal import complain
from mknock.domain.errors import KnockError
from mknock.settings import PLACEHOLDER, Settings, load_settings
from mknock.telemetry import keep_secret

TO_BE_CHOSEN = "!to-be-chosen"
"""Stands for the room until there is one: no settings are whole without it."""


class NotWritten(KnockError):
    """A file could not be read or written; the text says which and why."""


class Draft:
    """Settings in the making. Only their owner can read the file; what else stands in it stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account = ""
        """The Matrix ID that was typed for the homeserver."""
        self._draft = path.with_name(f"{path.name}.setup")

    @classmethod
    @contextlib.contextmanager
    def begun(cls, path: Path) -> Iterator[Self]:
        """A draft that begins with what the file says, and is gone after the block unless it was kept.

        Raises:
            NotWritten: the file cannot be read, or nothing can be written beside it.
        """
        draft = cls(path)
        with _told(draft._draft):
            text = path.read_text("utf-8-sig") if path.exists() else ""
            draft._draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft._draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(text)
        try:
            draft._take_out_placeholders()
            yield draft
        finally:
            draft._draft.unlink(missing_ok=True)

    def get(self, name: str, default: str | None = None) -> str | None:
        """What the file says, or by its name the environment, which wins when Knock runs."""
        return os.environ.get(name) or self._values().get(name) or default

    def put(self, name: str, value: str) -> None:
        if os.environ.get(name, value) != value:
            complain(f"{name} is set in the environment too, which wins over the file: take it out there.")
        with _told(self._draft):
            set_key(self._draft, name, value)

    def drop(self, *names: str) -> None:
        present = self._values()
        for name in names:
            if name in present:
                with _told(self._draft):
                    unset_key(self._draft, name)

    def settings(self) -> Settings:
        """The settings as they are so far.

        Raises:
            SettingsError: what was written cannot be.
        """
        room = {} if self.get("NEW_ROOM_ID") else {"NEW_ROOM_ID": TO_BE_CHOSEN}
        settings = load_settings({**os.environ, **room}, self._draft, require_sign_in=False)
        for secret in settings.secret_values():
            keep_secret(secret)
        return settings

    def keep(self) -> None:
        """Let the draft take the file's place."""
        with _told(self.path):
            self._draft.replace(self.path)

    def _values(self) -> dict[str, str]:
        with _told(self._draft):
            written = dotenv_values(self._draft, interpolate=False)
        return {name: value for name, value in written.items() if value}

    def _take_out_placeholders(self) -> None:
        """What .env.example only shows is no answer."""
        self.drop(*(name for name, value in self._values().items() if PLACEHOLDER in value.lower()))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise NotWritten(f"{path} cannot be written: {why}.") from None
