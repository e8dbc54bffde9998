"""The database of the throw-away Synapse: a migrated template, and people written into it.

Migrating an empty database takes Synapse longer than everything else of
its start, so the result is kept, once per Synapse version, in the user's
cache directory.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.kit.homeserver import SERVER_NAME


def template() -> Path:
    """Return where the migrated database of the installed Synapse is kept, whether or not it is there."""
    version = importlib.metadata.version("matrix-synapse")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "knock-tests" / f"synapse-{version}.db"


def keep_as_template(database: Path) -> None:
    """Keep the database of a stopped, still empty homeserver for the next start.

    It appears whole or not at all, however many do this at once; where the
    cache directory cannot be written, nothing is kept and every start migrates.
    """
    kept = template()
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=kept.name, delete=False) as copy:
            unfinished = Path(copy.name)
        try:
            shutil.copyfile(database, unfinished)
            unfinished.replace(kept)
        finally:
            unfinished.unlink(missing_ok=True)


def fold_journal(database: Path) -> None:
    """Move what a stopped homeserver left in the journal into the database file itself."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def copy_template(database: Path) -> bool:
    """Put a copy of the template there and say so; False when there is none to copy."""
    try:
        shutil.copyfile(template(), database)
    except OSError:
        return False
    return True


def write_people(database: Path, names: Iterable[str]) -> None:
    """Write accounts with these localparts into the database of a stopped homeserver.

    Five thousand take a tenth of a second. They have no password: they log
    in with a JWT. The tables are those of Synapse's schema; a test logs one
    of them in, so a changed schema is noticed.
    """
    people = [(name, f"@{name}:{SERVER_NAME}") for name in names]
    now = int(time.time())
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (name, creation_ts, admin, is_guest, deactivated, approved)"
            " VALUES (?, ?, 0, 0, 0, 1)",
            [(user_id, now) for _, user_id in people],
        )
        connection.executemany(
            "INSERT INTO profiles (user_id, displayname, full_user_id) VALUES (?, ?, ?)",
            [(name, name, user_id) for name, user_id in people],
        )
