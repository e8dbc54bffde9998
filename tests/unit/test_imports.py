"""Importing any module of Knock reads no environment and opens nothing: the world is made by the wiring."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.processes import SOURCES

# Runs in a process of its own. An audit hook (https://peps.python.org/pep-0578) sees every file and socket.
# The environment notes when a module of Knock's reads it; what other packages read is their own affair.
_WATCHER = """
import importlib, json, os, pkgutil, sys
from collections.abc import MutableMapping

seen, here = [], os.getcwd()
FORBIDDEN = ("sqlite3.connect", "subprocess.Popen", "os.system", "os.mkdir", "os.remove", "os.rename")

def watch(event, args):
    if event in FORBIDDEN or event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        seen.append(f"{event} {args!r}")
    if event == "open":
        path, mode, flags = args
        written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if written or os.path.abspath(str(path)).startswith(here):
            seen.append(f"open {path} {mode}")

class Environment(MutableMapping):
    def _note(self, what):
        frame = sys._getframe(2)
        while frame.f_globals["__name__"] in ("os", "_collections_abc", "collections.abc"):
            frame = frame.f_back
        if frame.f_globals["__name__"].split(".")[0] == "mknock":
            seen.append(f"environment: {what} by {frame.f_globals['__name__']}")
    def __getitem__(self, name):
        self._note(name)
        raise KeyError(name)
    def __setitem__(self, name, value): self._note(name)
    def __delitem__(self, name): self._note(name)
    def __iter__(self):
        self._note("all")
        return iter(())
    def __len__(self):
        self._note("all")
        return 0
    def copy(self):
        self._note("all")
        return {}

os.environ = Environment()
sys.dont_write_bytecode = True
sys.addaudithook(watch)
names = []
"""
_IMPORT_ALL = """
import mknock
names = ["mknock"] + [
    module.name
    for module in pkgutil.walk_packages(mknock.__path__, "mknock.")
    if not module.name.endswith("__main__")
]
for name in names:
    importlib.import_module(name)
"""
_TELL = """
print(json.dumps({"modules": names, "seen": seen}))
"""


def watched(code: str, directory: Path) -> dict[str, list[str]]:
    """Run the code in an empty directory with an empty environment; what it imported and what was seen."""
    script = f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n{_WATCHER}\n{code}\n{_TELL}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=directory, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


def test_importing_every_module_reads_no_environment_and_opens_nothing(tmp_path: Path) -> None:
    result = watched(_IMPORT_ALL, tmp_path)

    assert result["seen"] == []
    assert len(result["modules"]) > 40
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "import mknock.settings as s\ntry: s.load_settings()\nexcept s.SettingsError: pass",
            "environment: all",
        ),
        ("open('new', 'w')", "open new"),
        ("import sqlite3; sqlite3.connect(':memory:')", "sqlite3.connect"),
        ("import socket; socket.socket().bind(('127.0.0.1', 0))", "socket.bind"),
    ],
)
def test_the_watcher_is_awake(tmp_path: Path, code: str, what: str) -> None:
    assert any(line.startswith(what) for line in watched(code, tmp_path)["seen"])
