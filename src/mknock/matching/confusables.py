"""How a name looks: any Unicode text in, small ASCII letters out, with what had to be done.

ASCII is left alone but for its case: what ``1`` or ``rn`` stand for is the business of the skeleton.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from importlib import resources
from typing import Final, NamedTuple

INVISIBLE: Final = frozenset(
    {0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800}
    | {*range(0x180B, 0x1810), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)}
)
"""Unicode's Default_Ignorable_Code_Point and the empty Braille cell, where the category does not tell."""
DROPPED: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Cn", "Co"})
"""Marks, and what cannot be seen."""

BY_EYE: Final = {
    # Greek, which UTS #39 compares with more exact shapes than a reader of small print does.
    "α": "a", "β": "b", "γ": "y", "δ": "d", "ε": "e", "ζ": "z", "η": "n", "ι": "i", "κ": "k", "λ": "l", "μ": "u",
    "ν": "v", "ξ": "e", "ο": "o", "π": "n", "ρ": "p", "σ": "o", "ς": "s", "τ": "t", "υ": "u", "φ": "o", "χ": "x",
    "ψ": "y", "ω": "w",
    # Cyrillic likewise.
    "а": "a", "б": "b", "в": "b", "г": "r", "д": "d", "е": "e", "ж": "x", "з": "3", "и": "u", "к": "k", "л": "n",
    "м": "m", "н": "h", "о": "o", "п": "n", "р": "p", "с": "c", "т": "t", "у": "y", "ф": "o", "х": "x", "ц": "u",
    "ч": "4", "ш": "w", "щ": "w", "ъ": "b", "ы": "bl", "ь": "b", "э": "e", "ю": "lo", "я": "r", "ѡ": "w", "ѵ": "v",
    # Latin letters of phonetic alphabets, and letters that do not decompose.
    "ĸ": "k", "ɑ": "a", "ɡ": "g", "ı": "i", "ȷ": "j", "ʋ": "u", "ᴀ": "a", "ʙ": "b", "ᴄ": "c", "ᴅ": "d", "ᴇ": "e",
    "ɢ": "g", "ʜ": "h", "ɪ": "i", "ᴊ": "j", "ᴋ": "k", "ʟ": "l", "ᴍ": "m", "ɴ": "n", "ᴏ": "o", "ᴘ": "p", "ʀ": "r",
    "ᴛ": "t", "ᴜ": "u", "ᴠ": "v", "ᴡ": "w", "ʏ": "y", "ᴢ": "z", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ø": "o",
    "œ": "oe", "æ": "ae", "þ": "p", "ŧ": "t", "ŋ": "n", "ə": "e", "ɛ": "e", "ɔ": "o", "ɩ": "i", "ʒ": "3",
}  # fmt: skip
"""Small letters that pass for another at a glance; goes before the data of UTS #39."""


class Seen(NamedTuple):
    """A text as it looks."""

    text: str
    steps: tuple[str, ...] = ()
    """What was done, for people."""
    disguised: bool = False
    """Whether it took characters that nobody types by accident."""


def seen(text: str) -> Seen:
    """Return the text as it looks. Never raises, and seeing it again changes nothing."""
    if text.isascii() and text.isprintable():
        return Seen(text.lower())
    return _seen(text)


def _seen(text: str) -> Seen:
    steps: list[str] = []
    letters: list[str] = []
    for character in text:
        shown = _shown(character)
        if character.lower() != shown or not character.isascii():
            steps.append(_step(character, shown))
        letters.append(shown)
    return Seen("".join(letters), tuple(dict.fromkeys(steps)), disguised=bool(steps))


def _step(character: str, shown: str) -> str:
    if shown:
        return f"{character} → {shown}"
    name = unicodedata.name(character, f"U+{ord(character):04X}")
    return f"{name.lower() if not name.startswith('U+') else name} dropped"


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    """What one character looks like: ASCII where there is a likeness, else its own bare small form."""
    if character.isascii():
        return character.lower() if character.isprintable() else ""
    plain = unicodedata.normalize("NFKC", character).casefold()
    if plain.isascii() and plain.isprintable():
        return plain
    return _known().get(character) or _derived(character)


def _derived(character: str) -> str:
    known = _known()
    if _is_dropped(character):
        return ""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold())
    return "".join(known.get(part, part).lower() for part in parts if not _is_dropped(part))


def _is_dropped(character: str) -> bool:
    return ord(character) in INVISIBLE or unicodedata.category(character) in DROPPED


@cache
def _known() -> dict[str, str]:
    """The likenesses of UTS #39 that lead to ASCII, and those by eye. Read when the first engine is made."""
    text = resources.files("mknock.matching").joinpath("data/confusables.txt").read_text(encoding="utf-8")
    known: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        target, _, characters = line.partition("\t")
        known.update(dict.fromkeys(characters, target))
    return known | BY_EYE
