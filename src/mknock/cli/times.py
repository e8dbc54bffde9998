"""How long something lasts, as it is typed."""

from __future__ import annotations

import click

from mknock.settings import YEAR, duration


def lasting(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A length of time such as 12h or 7d, in seconds; the callback of an option."""
    if value is None:
        return None
    seconds = duration(value)
    if not 1 <= seconds <= 10 * YEAR:
        raise click.BadParameter("a time is seconds, or such as 12h, 7d, 4w; ten years at most")
    return seconds
