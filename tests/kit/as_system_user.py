"""Run a program that will not run as root, as a user of its own: ``SIGINT program arguments…``.

It is ended with that signal when this process gets SIGTERM. Started on a leash
(``processes.start_on_leash``) it cannot outlive the tests.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TypedDict

_NAMES = ("postgres", "nobody")
"""The users that may be borrowed, the better one first."""


class Identity(TypedDict, total=False):
    """Arguments of ``subprocess`` that make the child somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def identity() -> Identity:
    """Who runs the program: a system user if we are root, else whoever we are."""
    if os.getuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    borrowed = next(known[name] for name in _NAMES if name in known)
    return {"user": borrowed.pw_uid, "group": borrowed.pw_gid, "extra_groups": []}


def give(folder: Path) -> None:
    """Make the folder that user's own."""
    who = identity()
    if who:
        os.chown(folder, who["user"], who["group"])


def run(*command: str) -> None:
    """Run a program to its end.

    Raises:
        RuntimeError: it failed; the text is what it wrote.
    """
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **identity())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _main(signal_name: str, *command: str) -> int:
    child = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, **identity())

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        child.send_signal(signal.Signals[signal_name])

    signal.signal(signal.SIGTERM, pass_on)
    return child.wait()


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
