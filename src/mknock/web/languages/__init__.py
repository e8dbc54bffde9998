"""The languages of the pages: one file each. Another file is another language."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

DEFAULT: Final = "en"
_MOST = 20
"""Languages of a browser that are looked at; the header is a stranger's."""
_WANTED = re.compile(r"\s*([A-Za-z]{2,3})(?:-[\w-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")


@dataclass(frozen=True, slots=True)
class Language:
    """A language with its texts, by chapter."""

    code: str
    texts: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.texts["name"])

    def __getitem__(self, chapter: str) -> Any:
        return self.texts[chapter]


@cache
def languages() -> Mapping[str, Language]:
    """Every language there is, by its code; read at the first call."""
    files = sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    texts = {file.name[:-5]: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return {code: Language(code, tomllib.loads(text)) for code, text in texts.items()}


def chosen(asked: str | None, accepted: str) -> Language:
    """The language that the address asks for (``?lang=de``), else the one the browser likes best."""
    known = languages()
    if asked is not None and asked in known:
        return known[asked]
    return known[next((code for code in _by_liking(accepted) if code in known), DEFAULT)]


def _by_liking(accepted: str) -> Iterator[str]:
    """The codes of an Accept-Language header (RFC 9110, section 12.5.4), the most liked first."""
    wanted = [_WANTED.fullmatch(part) for part in accepted[:500].split(",")[:_MOST]]
    liked = [(float(match[2] or 1), match[1].lower()) for match in wanted if match]
    yield from (code for liking, code in sorted(liked, key=lambda one: -one[0]) if liking > 0)
