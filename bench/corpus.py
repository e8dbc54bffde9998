"""A labelled corpus for the look-alike engine: block-lists, evasions by kind, innocent people. Fixed by its seed.

Names come from bench/names.txt, which shares nothing with the lists of the guard that is measured. Everybody is
on one server, as in the worst case of a large public one.
"""

from __future__ import annotations

import gzip
import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

SERVER: Final = "example.org"
ELSEWHERE: Final = "other.example"
SEEDS: Final = 200
INNOCENTS: Final = {
    "short first names": 500,
    "first names 5+": 500,
    "typical": 1000,
    "first+last 12+": 500,
    "digits": 100,
}
NON_WESTERN: Final = 500
ENGLISH: Final = 0.6
"""The share of English names among the Western ones."""

ONSETS: Final = [
    "b", "bl", "br", "c", "ch", "cr", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kr", "l", "m", "n",
    "p", "ph", "pr", "qu", "r", "s", "sh", "st", "t", "th", "tr", "v", "w", "x", "z", "zh",
]  # fmt: skip
ENDS: Final = ["", "", "", "l", "m", "n", "r", "s", "x", "th", "ck", "nd", "rk"]
KNOWN_AFFIXES: Final = [
    "real", "official", "the", "its", "mr", "backup", "alt", "new", "support", "admin", "help", "team",
    "info", "not", "tv", "hq", "fan", "chat",
]  # fmt: skip
UNSEEN_AFFIXES: Final = [
    "lord", "sir3", "pls", "squad", "czar", "king88", "gang", "mafia", "mania", "land", "dude", "boii",
    "zone", "ism", "kin", "cult",
]  # fmt: skip
LEET: Final = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}
LEET_ALL: Final = LEET | {"b": "8", "g": "9", "l": "1", "z": "2"}
CYRILLIC: Final = dict(zip("aceopxyisjhkmtbn", "асеорхуіѕјһкмтвп", strict=True))
GREEK: Final = dict(zip("aeiknoptuvxy", "αεικηορτυνχγ", strict=True))
ZERO_WIDTH: Final = "\u200b\u200c\u200d\u2060\ufeff"
MARKS: Final = "\u0301\u0308\u0323\u0327"
_NEAR: Final = """
qwsz vghn xdfv erfcxs wsdr rtgvcd tyhbvf yujnbg ujko uikmnh ijolm kop njk
bhjm iklp ol wa edft awedxz rfgy yhji cfgb qase zsdc tghu asx
"""
NEIGHBOURS: Final = dict(zip(string.ascii_lowercase, _NEAR.split(), strict=True))
"""The keys around each key."""

Twist = Callable[[str, random.Random], str | None]


@dataclass(frozen=True)
class Corpus:
    """Block-list, evasions and innocents of one seed. IDs, unless said otherwise."""

    rules: list[str]
    """The first SEEDS of them are those that are evaded."""
    evasions: dict[str, list[tuple[str, str]]]
    """By kind: the rule's ID and the evasion's."""
    innocents: dict[str, list[str]]
    pairs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Two people of similar names, who must not be taken for each other."""


def corpus(seed: int, rules: int = 10_000, *, mixed: bool = False) -> Corpus:
    """Make the corpus of one seed; ``mixed`` gives every third person on the block-list a non-Western name."""
    dice = random.Random(seed)
    listed = distinct(
        lambda: _other_name(dice) if mixed and dice.random() < 1 / 3 else _somebody(dice), rules
    )
    taken = set(listed)
    return Corpus(
        [_id(name) for name in listed],
        {kind: evasions(listed[:SEEDS], twist, kind, dice) for kind, twist in KINDS.items()},
        {kind: [_id(n) for n in distinct(make, count, taken)] for kind, make, count in _crowds(dice)},
        _pairs(dice),
    )


# --- people -------------------------------------------------------------------------------------


@cache
def names() -> dict[str, list[str]]:
    """The lists of names.txt by their title."""
    text = Path(__file__).with_name("names.txt").read_text(encoding="utf-8")
    return {title: block.split() for title, block in re.findall(r"^\[(.+)\]\n([a-z\s]+)", text, re.MULTILINE)}


@cache
def _words() -> list[str]:
    """Short English words. Any list of them lies within the guard's."""
    packed = resources.files("mknock.matching").joinpath("data/words.txt.gz").read_bytes()
    words = [word for word in gzip.decompress(packed).decode().split() if 3 <= len(word) <= 7]
    return random.Random(0).sample(words, 3000)


def _no_name(dice: random.Random) -> str:
    """A word that nobody has used before, as handles are."""
    return "".join(
        dice.choice(ONSETS) + dice.choice("aeiou") + dice.choice(ENDS) for _ in range(dice.randint(2, 3))
    )


def _first(dice: random.Random) -> str:
    return dice.choice(names()["english first" if dice.random() < ENGLISH else "european first"])


def _last(dice: random.Random) -> str:
    return dice.choice(names()["english last" if dice.random() < ENGLISH else "european last"])


def digits(dice: random.Random) -> str:
    year = str(dice.randint(1960, 2012))
    return dice.choice(
        [str(dice.randint(0, 9)), str(dice.randint(10, 99)), year, year[2:], str(dice.randint(100, 9999))]
    )


def _somebody(dice: random.Random) -> str:
    """A user name as people choose them; 15 % are a bare first name."""
    kind = dice.random()
    first, last, apart = _first(dice), _last(dice), dice.choice(["", "", ".", "_", "-"])
    if kind < 0.15:
        return first
    if kind < 0.30:
        return first + dice.choice(["", "", "_", "."]) + digits(dice)
    if kind < 0.55:
        return first + apart + last
    if kind < 0.65:
        return first[0] + dice.choice(["", ".", "_"]) + last
    if kind < 0.70:
        return first + apart + last[0]
    if kind < 0.85:
        return dice.choice(_words()) + apart + dice.choice(_words()) + dice.choice(["", digits(dice)])
    if kind < 0.95:
        return _no_name(dice) + dice.choice(["", "", digits(dice)])
    return first + apart + last + digits(dice)


def people(count: int, *, seed: int) -> list[str]:
    """So many different user names."""
    dice = random.Random(seed)
    return distinct(lambda: _somebody(dice), count)


def _crowds(dice: random.Random) -> list[tuple[str, Callable[[], str], int]]:
    def first_of(least: int, most: int) -> Callable[[], str]:
        pools = [
            [n for n in names()[t] if least <= len(n) <= most] for t in ("english first", "european first")
        ]
        return lambda: dice.choice(pools[dice.random() >= ENGLISH])

    makers: dict[str, Callable[[], str]] = {
        "short first names": first_of(2, 4),
        "first names 5+": first_of(5, 99),
        "typical": lambda: _somebody(dice),
        "first+last 12+": lambda: _long_name(dice),
        "digits": lambda: str(dice.randint(1000, 10**9)),
    }
    crowds = [(kind, makers[kind], count) for kind, count in INNOCENTS.items()]
    return [*crowds, ("non-western", lambda: _other_name(dice), NON_WESTERN)]


def _long_name(dice: random.Random) -> str:
    while True:
        name = _first(dice) + dice.choice("._-") + _last(dice)
        if len(name) >= 12:
            return name


def _other_name(dice: random.Random) -> str:
    first, last = dice.choice(names()["other first"]), dice.choice(names()["other last"])
    return dice.choice([first, first + digits(dice), first + dice.choice(["", ".", "_"]) + last])


def distinct(make: Callable[[], str], count: int, taken: set[str] | None = None) -> list[str]:
    """That many different names; at most thrice as many tries for a list that runs dry."""
    found: dict[str, None] = {}
    for _ in range(count * 50):
        name = make()
        if name not in found and name not in (taken or ()):
            found[name] = None
        if len(found) == count:
            break
    return list(found)


def _pairs(dice: random.Random) -> dict[str, list[tuple[str, str]]]:
    close = _close_names()
    dice.shuffle(close)
    return {
        "close first names": [(_id(a), _id(b)) for a, b in close[:200]],
        "same surname": [
            (_id(a + last), _id(b + last))
            for a, b in close[:200]
            for last in (dice.choice("._") + _last(dice),)
        ],
        "other number": [
            (_id(n + digits(dice)), _id(n + digits(dice))) for n in (_first(dice) for _ in range(200))
        ],
        "other surname": [
            (_id(f"{n}.{_last(dice)}"), _id(f"{n}.{_last(dice)}")) for n in (_first(dice) for _ in range(200))
        ],
    }


def _close_names() -> list[tuple[str, str]]:
    """Pairs of first names that are one edit apart."""
    by_hole: dict[str, set[str]] = {}
    for name in names()["english first"] + names()["european first"]:
        for i in range(len(name)):
            by_hole.setdefault(name[:i] + "?" + name[i + 1 :], set()).add(name)
            by_hole.setdefault(name[:i] + name[i + 1 :], set()).add(name)
    pairs = {(a, b) for group in by_hole.values() for a in group for b in group if a < b}
    return sorted(pair for pair in pairs if min(map(len, pair)) >= 3)


# --- evasions -----------------------------------------------------------------------------------


def evasions(seeds: list[str], twist: Twist, kind: str, dice: random.Random) -> list[tuple[str, str]]:
    found = []
    for name in seeds:
        twisted = twist(name, dice)
        if twisted and twisted != name:
            server = ELSEWHERE if kind.startswith("elsewhere") else SERVER
            found.append((_id(name), f"@{twisted}:{server}"))
        elif twisted and kind in {"identical", "elsewhere"}:
            found.append((_id(name), f"@{twisted}:{ELSEWHERE if kind == 'elsewhere' else SERVER}"))
    return found


def _id(name: str) -> str:
    return f"@{name}:{SERVER}"


def _some(table: dict[str, str], count: int | None) -> Twist:
    def twist(name: str, dice: random.Random) -> str | None:
        places = [i for i, c in enumerate(name) if c in table]
        chosen = set(places if count is None else dice.sample(places, min(count, len(places))))
        return "".join(table[c] if i in chosen else c for i, c in enumerate(name)) if chosen else None

    return twist


def _put_in(characters: str, count: int) -> Twist:
    def twist(name: str, dice: random.Random) -> str:
        for _ in range(count):
            at = dice.randint(1, len(name))
            name = name[:at] + dice.choice(characters) + name[at:]
        return name

    return twist


def _number(least: int, most: int) -> Callable[[random.Random], str]:
    return lambda dice: "".join(dice.choices(string.digits, k=dice.randint(least, most)))


def _letters(name: str) -> list[int]:
    return [i for i, c in enumerate(name) if c.isalpha()]


def _swap(count: int) -> Twist:
    def twist(name: str, dice: random.Random) -> str | None:
        places = [i for i in _letters(name)[:-1] if name[i + 1 : i + 2].isalpha() and name[i] != name[i + 1]]
        chosen: list[int] = []
        for i in dice.sample(places, len(places)):
            if len(chosen) < count and all(abs(i - j) > 1 for j in chosen):
                chosen.append(i)
        if len(chosen) < count:
            return None
        for i in chosen:
            name = name[:i] + name[i + 1] + name[i] + name[i + 2 :]
        return name

    return twist


def _repeat(name: str, dice: random.Random, times: int = 1) -> str:
    at = dice.choice(_letters(name))
    return name[:at] + name[at] * times + name[at:]


def _repeat_two(name: str, dice: random.Random) -> str | None:
    places = _letters(name)
    if len(places) < 4:
        return None
    i, j = sorted(dice.sample(places, 2))
    return name[:i] + name[i] + name[i:j] + name[j] + name[j:] if name[i] != name[j] or j > i + 1 else None


def _delete(name: str, dice: random.Random) -> str | None:
    at = dice.choice(_letters(name))
    return name[:at] + name[at + 1 :] if len(name) > 3 else None


def typo(name: str, dice: random.Random) -> str:
    at = dice.choice(_letters(name))
    return name[:at] + dice.choice(NEIGHBOURS[name[at]]) + name[at + 1 :]


def _separated(name: str, dice: random.Random) -> str | None:
    plain = re.sub(r"[._-]", "", name)
    if len(plain) < 4:
        return None
    at = dice.randint(2, len(plain) - 2)
    return plain[:at] + dice.choice("._-") + plain[at:]


def _joined(name: str, _: random.Random) -> str | None:
    plain = re.sub(r"[._-]", "", name)
    return plain if plain != name else None


def _every(name: str, dice: random.Random) -> str:
    return dice.choice("._-").join(re.sub(r"[._-]", "", name))


def _pictured(name: str, _: random.Random) -> str | None:
    for one, two in (("m", "rn"), ("w", "vv"), ("rn", "m"), ("vv", "w")):
        if one in name:
            return name.replace(one, two, 1)
    return None


def _changed(name: str, dice: random.Random) -> str | None:
    core = re.sub(r"[._-]?\d+$", "", name)
    return core + str(dice.randint(2, 9999)) if core != name else None


def _affixed(words: list[str], apart: str, *, front: bool) -> Twist:
    def twist(name: str, dice: random.Random) -> str:
        word, between = dice.choice(words), dice.choice(apart) if apart else ""
        return word + between + name if front else name + between + word

    return twist


def _then(first: Twist, second: Twist) -> Twist:
    def twist(name: str, dice: random.Random) -> str | None:
        once = first(name, dice)
        return second(once, dice) if once else None

    return twist


def _behind(apart: str, least: int, most: int) -> Twist:
    make = _number(least, most)
    return lambda name, dice: name + (dice.choice(apart) if apart else "") + make(dice)


FULL_WIDTH: Final = {c: chr(ord(c) + 0xFEE0) for c in string.ascii_lowercase + string.digits}
_SEPARATORS: Final = "._-"

OLD_KINDS: Final[dict[str, Twist]] = {
    "leet_one": _some(LEET, 1),
    "leet": _some(LEET, None),
    "leet_all": _some(LEET_ALL, None),
    "num_suffix_1_2": _behind("", 1, 2),
    "num_suffix_3_5": _behind("", 3, 5),
    "num_suffix_sep": _behind(_SEPARATORS, 1, 4),
    "num_prefix_3": lambda name, dice: _number(3, 3)(dice) + name,
    "num_changed": _changed,
    "separator_1": _separated,
    "separator_removed": _joined,
    "separator_every": _every,
    "separator_wrap": lambda name, dice: (s := dice.choice("_-.")) + name + s,
    "repeat_1": _repeat,
    "repeat_4": lambda name, dice: _repeat(name, dice, 4),
    "repeat_two_places": _repeat_two,
    "swap_1": _swap(1),
    "swap_2": _swap(2),
    "delete_1": _delete,
    "typo_1": typo,
    "prefix_word": _affixed(KNOWN_AFFIXES, "", front=True),
    "prefix_word_sep": _affixed(KNOWN_AFFIXES, _SEPARATORS, front=True),
    "suffix_word": _affixed(KNOWN_AFFIXES, "", front=False),
    "suffix_word_sep": _affixed(KNOWN_AFFIXES, _SEPARATORS, front=False),
    "rn_m_vv_w": _pictured,
    "cyrillic_one": _some(CYRILLIC, 1),
    "cyrillic_all": _some(CYRILLIC, None),
    "greek_all": _some(GREEK, None),
    "fullwidth": _some(FULL_WIDTH, None),
    "zero_width_1": _put_in(ZERO_WIDTH, 1),
    "zero_width_4": _put_in(ZERO_WIDTH, 4),
    "leet+suffix": _then(_some(LEET, 1), _behind("", 1, 3)),
    "sep+leet+suffix": _then(_then(_separated, _some(LEET, 1)), _behind("", 1, 3)),
}
"""The 32 kinds on one server that the experiment before this engine used; macro recall is over these."""
NEW_KINDS: Final[dict[str, Twist]] = {
    "combining": _put_in(MARKS, 2),
    "prefix_unseen": _affixed(UNSEEN_AFFIXES, "", front=True),
    "prefix_unseen_sep": _affixed(UNSEEN_AFFIXES, _SEPARATORS, front=True),
    "suffix_unseen": _affixed(UNSEEN_AFFIXES, "", front=False),
    "suffix_unseen_sep": _affixed(UNSEEN_AFFIXES, _SEPARATORS, front=False),
    "leet+typo": _then(_some(LEET, 1), typo),
    "leet+swap": _then(_some(LEET, 1), _swap(1)),
    "typo+suffix": _then(typo, _behind("", 1, 3)),
}
"""Harder ones, which that experiment lacked."""
OTHER_KINDS: Final[dict[str, Twist]] = {
    "identical": lambda name, _: name,
    "case": lambda name, dice: "".join(c.upper() if dice.random() < 0.5 else c for c in name),
    "elsewhere": lambda name, _: name,
    "elsewhere+number": _behind("", 1, 4),
}
"""Not in any mean: the first two are exact, the others a matter of the door's choice."""
KINDS: Final = OLD_KINDS | NEW_KINDS | OTHER_KINDS
