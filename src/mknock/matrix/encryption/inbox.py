"""What devices of others have sent to ours, kept as it came until it is needed.

Keeping it asks nobody and decrypts nothing, so whoever follows /sync does not
wait; and it is on disk before the position is, for the homeserver tells it once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from mknock.matrix.encryption.devices import OLM
from mknock.matrix.encryption.drawer import Drawer

MOST: Final = 8
"""Messages of one person that are kept: the newest. One brings the key of one talk."""
LARGEST: Final = 8192
"""Bytes of one message; with a key in it, it takes about two thousand."""
KEPT_FOR: Final = 3600.0
"""Seconds: longer than any talk."""


async def keep(drawer: Drawer, events: Sequence[Mapping[str, Any]], now: float) -> None:
    """Keep what was sent to our device, by sender. Only whoever follows /sync writes here."""
    by_sender: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        sender, content = event.get("sender"), event.get("content")
        if isinstance(sender, str) and isinstance(content, dict) and _is_worth_it(event):
            by_sender.setdefault(sender, []).append(content)
    for sender, new in by_sender.items():
        messages = [*await kept(drawer, sender), *new]
        await drawer.mark(_name(sender), {"messages": messages[-MOST:]}, until=now + KEPT_FOR)


async def kept(drawer: Drawer, sender: str) -> list[dict[str, Any]]:
    """What somebody has sent, oldest first."""
    messages = (await drawer.read(_name(sender)) or {}).get("messages")
    return [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []


def mark_of(message: Mapping[str, Any]) -> str:
    """By what a message is known again."""
    return sha256(json.dumps(message, sort_keys=True).encode()).hexdigest()[:16]


def _is_worth_it(event: Mapping[str, Any]) -> bool:
    content = event["content"]
    if event.get("type") != "m.room.encrypted" or content.get("algorithm") != OLM:
        return False
    return len(json.dumps(content)) <= LARGEST


def _name(sender: str) -> str:
    return f"inbox:{sender}"
