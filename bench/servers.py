"""Servers under load, and the load."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.kit.processes import ROOT, Server

from bench.load import MARK

FORM_TOKEN = "form-token-of-the-benchmark"
PATH = f"/invite_from_form?token={FORM_TOKEN}"
FLAT = json.dumps({"matrix_id": MARK.decode()}).encode()


def tally_body() -> bytes:
    """The Tally sample, with the mark in place of the Matrix ID."""
    payload = json.loads((ROOT / "demo" / "tally.json").read_text("utf-8"))
    for question in payload["data"]["fields"]:
        if question["label"] == "Matrix ID":
            question["value"] = MARK.decode()
    payload.pop("eventId")  # each delivery has its own, and none is as good as a new one
    return json.dumps(payload, ensure_ascii=False).encode()


def bare(folder: Path, name: str) -> Server:
    folder.mkdir(exist_ok=True, parents=True)
    return Server.uvicorn(folder, {"BARE_DIR": str(folder)}, "--no-access-log", app=f"bench.bare:{name}")


def knock(folder: Path, **more: str) -> Server:
    """Knock with checks, ledger and delivery on, and windows wide enough not to hold."""
    folder.mkdir(exist_ok=True, parents=True)
    env = {
        "NEW_ROOM_ID": "!benchmark",
        "MATRIX_BASE_URL": "http://127.0.0.1:9",
        "MATRIX_ACCESS_TOKEN": "token-of-nobody",
        "FORM_TOKEN": FORM_TOKEN,
        "MAX_REQUESTS_PER_WINDOW": "1000000",
        "DATA_DIR": str(folder / "data"),
        "LOG_LEVEL": "WARNING",
        **more,
    }
    return Server.uvicorn(folder, env, "--no-access-log")


async def load(
    server: Server,
    path: str,
    body: bytes,
    *,
    connections: int,
    prefix: str,
    seconds: float = 0,
    count: int = 0,
) -> dict[str, Any]:
    """Post from another process; see bench.load."""
    file = server.log.with_suffix(".body")
    file.write_bytes(body)
    asked = {
        "port": server.port,
        "path": path,
        "body": str(file),
        "connections": connections,
        "prefix": prefix,
        "seconds": seconds,
        "count": count,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", json.dumps(asked), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    result: dict[str, Any] = json.loads(out)
    return result
