"""Every command there is. To add one, write its file and add it to COMMANDS."""

from __future__ import annotations

from typing import Final

import click

from mknock import __version__
from mknock.cli.api_key import api_key
from mknock.cli.doctor import doctor
from mknock.cli.doors import doors
from mknock.cli.explain import explain
from mknock.cli.forms import forms
from mknock.cli.held import approve, held, refuse
from mknock.cli.ledger import ledger
from mknock.cli.links import links
from mknock.cli.lists import lists, subscribe, unsubscribe
from mknock.cli.login import login
from mknock.cli.raid import raid
from mknock.cli.rule_files import export, import_
from mknock.cli.rules import allow, block, rules, unallow, unblock
from mknock.cli.serve import serve
from mknock.cli.setup import setup

COMMANDS: Final = (
    setup,
    serve,
    doctor,
    login,
    api_key,
    held,
    approve,
    refuse,
    raid,
    block,
    unblock,
    allow,
    unallow,
    rules,
    explain,
    import_,
    export,
    ledger,
    doors,
    forms,
    links,
    lists,
    subscribe,
    unsubscribe,
)


class InOrder(click.Group):
    """Lists the commands in the order of COMMANDS instead of the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mknock")
def mknock() -> None:
    """Knock lets people ask to join a private Matrix room.

    Settings come from the environment and from .env, for every command alike.
    """


for command in COMMANDS:
    mknock.add_command(command)
