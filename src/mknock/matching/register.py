"""Rules that name somebody plainly: exact users, servers, patterns, hashes."""

from __future__ import annotations

from typing import Final

from mknock.domain.rules import Rule, RuleKind
from mknock.matching.finding import Kind
from mknock.matching.glob import Globs
from mknock.matching.hashed import hash_key, hash_of

KINDS: Final = {
    RuleKind.USER: Kind.EXACT,
    RuleKind.USER_GLOB: Kind.GLOB,
    RuleKind.SERVER: Kind.SERVER,
    RuleKind.SERVER_GLOB: Kind.SERVER_GLOB,
    RuleKind.USER_HASH: Kind.HASH,
    RuleKind.SERVER_HASH: Kind.HASH,
}


class Register:
    """Numbers of rules, by what they name. Costs the same whatever their count."""

    __slots__ = ("_globs", "_plain", "count", "hashes")

    def __init__(self) -> None:
        self._plain: dict[str, int | list[int]] = {}
        """Users begin with ``@``, hashes with ``#``, the rest are servers."""
        self._globs = {RuleKind.USER_GLOB: Globs(), RuleKind.SERVER_GLOB: Globs()}
        self.hashes = 0
        self.count = 0
        """How many rules there are."""

    def add(self, rule: Rule, number: int) -> None:
        """Enter a rule.

        Raises:
            BadGlob: its pattern is not used.
        """
        if rule.kind in self._globs:
            self._globs[rule.kind].add(rule.key, number)
        else:
            self._add_plainly(_key(rule), number)
        self.hashes += rule.kind in _HASHED
        self.count += 1

    def _add_plainly(self, key: str, number: int) -> None:
        there = self._plain.get(key)
        if there is None:
            self._plain[key] = number
        elif isinstance(there, list):
            there.append(number)
        else:
            self._plain[key] = [there, number]

    def remove(self, rule: Rule, number: int) -> None:
        self.count -= 1
        if rule.kind in self._globs:
            self._globs[rule.kind].remove(rule.key, number)
            return
        self.hashes -= rule.kind in _HASHED
        key = _key(rule)
        kept = [other for other in _listed(self._plain.get(key)) if other != number]
        if kept:
            self._plain[key] = kept
        else:
            self._plain.pop(key, None)

    def under(self, rule: Rule) -> list[int]:
        """The numbers of rules for the same entity."""
        if rule.kind in self._globs:
            return self._globs[rule.kind].under(rule.key)
        return list(_listed(self._plain.get(_key(rule))))

    def naming(self, user: str, server: str) -> list[int]:
        """The numbers of rules that name this user or their server; both as they are on the wire."""
        key, host = user.lower(), server.lower()
        bare = without_port(host)
        names = [key, host] if bare == host else [key, host, bare]
        found: list[int] = []
        if self._plain:
            hashed = dict.fromkeys((user, key, server, host)) if self.hashes else ()
            for name in (*names, *("#" + hash_of(entity) for entity in hashed)):
                found += _listed(self._plain.get(name))
        found += self._globs[RuleKind.USER_GLOB].matching(key)
        for name in names[1:]:
            found += self._globs[RuleKind.SERVER_GLOB].matching(name)
        return list(dict.fromkeys(found)) if len(found) > 1 else found


_HASHED: Final = frozenset({RuleKind.USER_HASH, RuleKind.SERVER_HASH})


def _key(rule: Rule) -> str:
    return "#" + hash_key(rule.key) if rule.kind in _HASHED else rule.key.lower()


def _listed(numbers: int | list[int] | None) -> list[int]:
    if numbers is None:
        return []
    return numbers if isinstance(numbers, list) else [numbers]


def without_port(server: str) -> str:
    host, colon, port = server.rpartition(":")
    return host if colon and port.isdigit() and not host.endswith(":") else server
