"""``mknock doctor``."""

from __future__ import annotations

import sys
from typing import Final

import click

from mknock.cli.running import read_settings, with_parts
from mknock.cli.terminal import plain, say, say_json
from mknock.services.findings import Finding, Verdict, bad, good
from mknock.settings import Settings
from mknock.wiring.parts import Parts, doctor_of

MARKS: Final = {
    Verdict.GOOD: ("ok  ", "green"),
    Verdict.ODD: ("warn", "yellow"),
    Verdict.BAD: ("FAIL", "red"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def doctor(as_json: bool) -> None:
    """Look for what is wrong, and say how to mend it.

    Ends with code 1 if a line says FAIL: then Knock cannot invite. A line
    that says warn is for you to weigh. Signs in, if that is still to be done.
    """
    settings = read_settings(require_doors=False)
    findings = with_parts(_examined, settings, opened=False) + doors_findings(settings)
    if as_json:
        say_json([_facts(finding) for finding in findings])
    else:
        for finding in findings:
            say(line_of(finding))
    if any(finding.verdict is Verdict.BAD for finding in findings):
        sys.exit(1)


async def _examined(parts: Parts) -> list[Finding]:
    return await doctor_of(parts).examine()


def doors_findings(settings: Settings) -> list[Finding]:
    """What there is to say of the file of doors: nothing, if there is none."""
    if settings.doors_problems:
        return [bad("doors file", problem) for problem in settings.doors_problems]
    if settings.doors.path is None:
        return []
    return [
        good("doors file", f"{settings.doors.path} describes {', '.join(settings.doors.doors) or 'no door'}")
    ]


def _facts(finding: Finding) -> dict[str, str]:
    return {"what": finding.what, "verdict": finding.verdict.value, "says": finding.says}


def line_of(finding: Finding) -> str:
    """A finding on one line, for a person."""
    mark, colour = MARKS[finding.verdict]
    return f"{click.style(mark, fg=colour)}  {finding.what}: {plain(finding.says)}"
