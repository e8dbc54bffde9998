"""Words that people put before or behind a name to pass for somebody, or for themselves once more."""

from __future__ import annotations

from typing import Final

AFFIXES: Final = frozenset(
    """
    a ac acc account acct actual again alt alternate archive ask at back backup bak bis bot chat clone co com copy
    dev dm dup duplicate ex fake fan fans gg gram hello help here hi hq i ii iii im info insta is iam its itz just jr
    legit live mail main me meet mini mr mrs ms msg mx my net new news not now og off offic official officiel ofc old
    one only org original other pal plus priv private pro profile real reborn reloaded rl room second sec secret
    side sir spam sr staff status support sys team temp test tg the thereal this tmp true tv two twt user ur v vip w
    was we work x xd xo xox xoxo xx xxx yt z zwei
    """.split()
)
