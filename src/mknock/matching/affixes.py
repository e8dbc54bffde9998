"""Words that people put before or behind a name to pass for somebody, or for themselves once more."""

from __future__ import annotations

from typing import Final

_WORDS: Final = """
ac acc account acct actual admin administrator again alt alternate archive ask back backup bak bis bot chat
clone co com copy dev dm dup duplicate ex fake fan fans gg gram hello help here hi hq iam info insta its itz jr
just legit live mail main me meet mini mod moderator mr mrs ms msg mx my net new news not now ofc off offic
official officiel old one only org original other owner pal plus priv private pro profile real reborn reloaded
rl room sec second secret security service side sir spam sr staff status support team temp test tg the thereal
this tmp true tv two twt ur user vip was we work xd xox xoxo xx xxx yt zwei
"""
AFFIXES: Final = frozenset(_WORDS.split())
