"""``mknock api-key``."""

from __future__ import annotations

import click

from mknock.cli.running import read_settings, with_parts
from mknock.cli.terminal import complain, say
from mknock.wiring.parts import settle_api_key


@click.command("api-key")
def api_key() -> None:
    """Print the key of the admin endpoints.

    That is API_KEY or, if it is not set, one that is made once and kept in the
    store.
    """
    settings = read_settings()
    if settings.allow_open_api:
        complain("ALLOW_OPEN_API is on, so the admin endpoints ask for no key.")
    say(with_parts(settle_api_key, settings))
