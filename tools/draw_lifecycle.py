"""Draw docs/reference/lifecycle.md from the table of moves: the table is the truth, the page follows it."""

from __future__ import annotations

import re
from pathlib import Path

from mknock.domain.knocks import MOVES, STATE_AFTER

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "lifecycle.md"
DRAWING = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def drawing() -> str:
    """The moves as a Mermaid state diagram, in the order of the table."""
    order = list(MOVES)
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state.value}" for state in STATE_AFTER.values()]
    for state in order:
        lines += [f"    {state.value} --> {after.value}" for after in sorted(MOVES[state], key=order.index)]
    lines += [f"    {state.value} --> [*]" for state in order if not MOVES[state]]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def with_drawing(page: str) -> str:
    """The page with its drawing made anew."""
    return DRAWING.sub(lambda _: drawing(), page, count=1)


if __name__ == "__main__":
    PAGE.write_text(with_drawing(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
