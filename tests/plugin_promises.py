"""A run of the whole suite fails when a promise of docs/explanation/promises.md has no test.

A test proves promise n when it is marked ``@pytest.mark.promise(n)``. The
workers of pytest-xdist collect and the controller judges, so the numbers
travel home in what each worker hands back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

PROMISES = frozenset(range(1, 12))

_proved: set[int] = set()


def pytest_configure() -> None:
    _proved.clear()


def pytest_collection_finish(session: pytest.Session) -> None:
    _proved.update(promises_of(session.items))


def promises_of(items: Iterable[pytest.Item]) -> set[int]:
    return {number for item in items for mark in item.iter_markers("promise") for number in mark.args}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: take over what it has collected."""
    _proved.update(getattr(node, "workeroutput", {}).get("promises", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["promises"] = sorted(_proved)
    elif _unproved(session.config) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for number in _unproved(config):
        terminalreporter.section(
            f"promise {number} has no test (@pytest.mark.promise({number})): the run fails"
        )


def _unproved(config: pytest.Config) -> list[int]:
    return sorted(PROMISES - _proved) if _is_whole_suite(config) else []


def _is_whole_suite(config: pytest.Config) -> bool:
    chosen = config.option.keyword or config.option.markexpr or config.option.collectonly
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen
