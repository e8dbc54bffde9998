"""Files that the pages load: each has the hash of its content in its address, so browsers keep it for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

MEDIA_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    content: bytes
    media_type: str
    digest: str


def digest_of(content: bytes) -> str:
    """What stands in an address for the content."""
    return sha256(content).hexdigest()[:16]


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name, such as ``altcha/pbkdf2.js``; read at the first call."""
    return dict(_found(resources.files("mknock.web") / "static", ""))


def _found(folder: Traversable, above: str) -> Iterator[tuple[str, Asset]]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = f"{above}{file.name}"
        if file.is_dir():
            yield from _found(file, f"{name}/")
        elif media_type := MEDIA_TYPES.get(name.rpartition(".")[2]):
            content = file.read_bytes()
            yield name, Asset(content, media_type, digest_of(content))


def address(name: str) -> str:
    """Where a file is, below the root of Knock."""
    return f"static/{assets()[name].digest}/{name}"
