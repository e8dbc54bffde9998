"""With CI=true a skipped test fails the run: a test that never runs proves nothing.

Elsewhere a skip stays a skip, since not every machine has everything. A test
that is expected to fail (xfail) is no skip.
"""

from __future__ import annotations

import os

import pytest

_skipped: list[str] = []


def pytest_configure() -> None:
    _skipped.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _skips_fail() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skips_fail():
        terminalreporter.section("skipped, and CI=true: the run fails")
        for nodeid in _skipped:
            terminalreporter.line(nodeid)


def _skips_fail() -> bool:
    return bool(_skipped) and os.environ.get("CI") == "true"
