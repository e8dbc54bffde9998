"""The ``mknock`` command. One file a command; ``commands`` lists them."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

from mknock.domain.errors import KnockError

FAILED = 1
WRONG_SETTING = 2
"""Also what click ends with when the command was called wrongly."""


def main() -> None:
    """Run the command. An error is one sentence on standard error, never a traceback."""
    _steady_the_streams()
    try:
        from mknock.cli.commands import mknock  # here, so that Ctrl-C during the imports is no traceback

        mknock(prog_name="mknock")
    except KeyboardInterrupt:
        sys.exit(_failed("stopped"))
    except Exception as error:
        sys.exit(_exit_code(error))


def _exit_code(error: Exception) -> int:
    from mknock.settings import SettingsError

    match error:
        case SettingsError():
            for sentence in (*error.problems, *error.warnings):
                _failed(sentence)
            return WRONG_SETTING
        case KnockError():
            return _failed(str(error))
        case OSError():  # a full disk behind standard output, too many open files …
            return _cut_off(error)
        case _:
            return _unexpected(error)


def _cut_off(error: OSError) -> int:
    code = _failed(f"{error.strerror or error}.")
    for stream in (sys.stdout, sys.stderr):  # what could not be written would fail again at the end
        with suppress(AttributeError, OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _unexpected(error: Exception) -> int:
    """A mistake of ours. Whoever reports it can have the traceback, without secrets, by LOG_LEVEL=DEBUG."""
    logging.getLogger(__name__).debug("unexpected", exc_info=error)
    return _failed(
        f"Something went wrong that should not have: {error!r}. Please report it, with what LOG_LEVEL=DEBUG adds."
    )


def _failed(sentence: str) -> int:
    from mknock.cli.terminal import complain

    with suppress(OSError):  # nobody reads standard error any more
        complain(sentence)
    return FAILED


def _steady_the_streams() -> None:
    """Show what the terminal's encoding lacks as an escape, and let closed streams swallow everything."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
