"""What Knock is measured against: bare FastAPI, and bare FastAPI with one durable insert."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from mknock.storage.group_commit import GroupCommit

empty = FastAPI()


@empty.post("/")
async def answer(_: dict[str, str]) -> dict[str, str]:
    """Answer an empty JSON object, and do nothing."""
    return {"status": "received"}


@asynccontextmanager
async def _with_store(app: FastAPI) -> AsyncIterator[None]:
    connection = sqlite3.connect(
        Path(os.environ["BARE_DIR"]) / "bare.db", isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY, body TEXT)")
    app.state.group = GroupCommit(connection, lock_wait=3.0)
    yield
    await app.state.group.close()
    connection.close()


durable = FastAPI(lifespan=_with_store)


@durable.post("/")
async def keep(body: dict[str, str]) -> dict[str, str]:
    """Keep one row durably, and answer."""
    text = body.get("matrix_id", "")
    await durable.state.group.run(
        lambda c: c.execute("INSERT INTO posts (body) VALUES (?)", (text,)).lastrowid
    )
    return {"status": "received"}
