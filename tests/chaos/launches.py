"""The ways to start Knock that the fault tests go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.kit.processes import Server

Launch = Callable[[Path, Mapping[str, str]], Server]


def one_process(directory: Path, env: Mapping[str, str]) -> Server:
    return Server.uvicorn(directory, env)


def four_processes(directory: Path, env: Mapping[str, str]) -> Server:
    return Server.uvicorn(directory, env, "--workers", "4")


def the_command(directory: Path, env: Mapping[str, str]) -> Server:
    return Server.mknock(directory, env)


LAUNCHES = [
    pytest.param(one_process, id="uvicorn"),
    pytest.param(four_processes, id="uvicorn --workers 4"),
    pytest.param(the_command, id="mknock serve"),
]
each_launch = pytest.mark.parametrize("launch", LAUNCHES)
