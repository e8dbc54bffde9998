"""What Knock is shipped in: requirement files, wheel, image, Compose file, systemd unit, Makefile.

No container engine is needed: the files are read, checked against their
specifications, rendered, and what they run is run.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mknock.settings import KNOWN

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)


def run(
    *command: str, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, **(env or {})}
    return subprocess.run(
        command, cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=60, check=False
    )


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- requirement files ----------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall(text_of(name)))


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", text_of(name))[1:]
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_no_requirement_file_holds_an_address_or_a_path(name: str) -> None:
    assert re.findall(r"https?:|file:|--index|--find-links|(?<![\w.])/\w+/", text_of(name)) == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_the_tests_run_with_the_releases_that_are_shipped(name: str) -> None:
    assert pins(name).items() <= pins("requirements-dev.txt").items()


def test_whatever_the_package_needs_is_pinned() -> None:
    needed = tomllib.loads(text_of("pyproject.toml"))["project"]["dependencies"]
    assert {re.split(r"[\[>=<~!; ]", need)[0] for need in needed} <= set(pins("requirements.txt"))


# --- the wheel ------------------------------------------------------------------------------------


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    built = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    sources = (
        path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert {str(path.relative_to(ROOT / "src")) for path in sources} <= set(zipfile.ZipFile(wheel).namelist())


# --- the image ------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined, comments dropped."""
    lines = [line for line in text_of("Dockerfile").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def in_the_image() -> dict[str, str]:
    """The instructions of the last stage; of those that repeat, the last."""
    found = instructions()
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[start:])


def test_the_image_starts_knock_without_a_shell() -> None:
    image = in_the_image()
    assert [json.loads(image["ENTRYPOINT"]), json.loads(image["CMD"])] == [["mknock"], ["serve"]]


def test_the_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", in_the_image()["USER"])


def test_the_image_keeps_its_state_in_a_volume() -> None:
    image = in_the_image()
    assert image["VOLUME"] == "/data"
    assert "DATA_DIR=/data" in image["ENV"]


def test_the_image_sets_only_settings_that_exist() -> None:
    names = set(re.findall(r"(\w+)=", in_the_image()["ENV"])) - {"PATH", "PYTHONUNBUFFERED"}
    assert names <= KNOWN


def test_whatever_the_image_is_built_from_exists_and_is_let_through() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    names = {name for sources in copied for name in sources}
    let_through = {line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")}
    assert names == let_through
    assert all((ROOT / name).exists() for name in names)


@contextmanager
def server_answering(status: int) -> Iterator[int]:
    """A server that answers every GET of /healthz with this status; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_healthcheck_tells_a_healthy_knock_from_another(status: int, healthy: bool) -> None:
    command = json.loads(in_the_image()["HEALTHCHECK"].partition("CMD ")[2])
    with server_answering(status) as port:
        checked = run(
            sys.executable, *command[1:], env={"PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        )
    assert (checked.returncode == 0) is healthy


# --- Compose --------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text_of("compose.yaml"))
    return loaded


def test_the_compose_file_keeps_to_its_specification() -> None:
    checked = run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"
    )
    assert checked.returncode == 0, checked.stdout


@pytest.fixture(scope="module")
def renderer() -> list[str]:
    """The command that renders Compose files on this machine."""
    if shutil.which("docker") and run("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip('there is neither "docker compose" nor "docker-compose" on this machine')


@pytest.fixture
def rendered(renderer: list[str], tmp_path: Path) -> dict[str, Any]:
    """The Compose file as an engine would get it, after `cp .env.example .env`, all profiles on."""
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    shown = run(*renderer, "--profile", "tls", "config", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    loaded: dict[str, Any] = yaml.safe_load(shown.stdout)
    return loaded


def test_the_compose_file_renders_with_the_example_settings(rendered: dict[str, Any]) -> None:
    assert set(rendered["services"]) == {"knock", "caddy"}


def test_rendered_knock_trusts_the_network_that_its_proxy_is_in(rendered: dict[str, Any]) -> None:
    (subnet,) = (config["subnet"] for config in rendered["networks"]["knock"]["ipam"]["config"])
    assert rendered["services"]["knock"]["environment"]["TRUSTED_PROXIES"] == subnet


def test_without_a_profile_only_knock_starts() -> None:
    assert [name for name, service in compose()["services"].items() if "profiles" not in service] == ["knock"]


def test_knock_in_compose_may_do_nothing_it_does_not_need() -> None:
    knock = compose()["services"]["knock"]
    assert {
        "read_only": knock["read_only"],
        "cap_drop": knock["cap_drop"],
        "security_opt": knock["security_opt"],
    } == {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


def test_knock_in_compose_is_reached_from_its_own_host_only() -> None:
    assert compose()["services"]["knock"]["ports"] == ["127.0.0.1:8000:8000"]


def test_compose_sets_only_settings_that_exist() -> None:
    assert set(compose()["services"]["knock"]["environment"]) <= KNOWN


def test_compose_gives_caddy_whatever_its_file_asks_for() -> None:
    asked = set(re.findall(r"\{\$(\w+)", text_of("deploy/examples/Caddyfile")))
    assert asked == set(compose()["services"]["caddy"]["environment"])


# --- systemd --------------------------------------------------------------------------------------

HARDENING = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "StateDirectoryMode": "0700",
}


def unit() -> dict[str, list[str]]:
    """The unit's keys with all their values, in order; no key of it stands in two sections."""
    values: dict[str, list[str]] = {}
    for line in text_of("deploy/systemd/knock.service").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


@pytest.mark.parametrize("key", HARDENING)
def test_the_unit_takes_away_what_knock_does_not_need(key: str) -> None:
    assert unit().get(key) == [HARDENING[key]]


def test_the_unit_runs_knock_as_a_user_of_its_own() -> None:
    assert (unit()["User"], unit()["ExecStart"]) == (["knock"], ["/opt/knock/venv/bin/mknock serve"])


def test_the_unit_starts_knock_again_for_as_long_as_it_takes() -> None:
    assert (unit()["Restart"], unit()["StartLimitIntervalSec"]) == (["always"], ["0"])


def test_the_unit_reads_its_settings_from_a_file() -> None:
    assert unit()["EnvironmentFile"] == ["/etc/knock/knock.env"]


def test_the_unit_shows_the_line_with_several_processes() -> None:
    line = "uvicorn mknock:app --host 0.0.0.0 --port 8000 --workers 4"
    assert line in text_of("deploy/systemd/knock.service")


# --- make -----------------------------------------------------------------------------------------


def test_make_alone_lists_every_target() -> None:
    targets = set(re.findall(r"^\.PHONY: (.+)$", text_of("Makefile"), re.MULTILINE))
    listed = set(re.findall(r"^  make (\S+)", run("make").stdout, re.MULTILINE))
    assert listed == targets


def test_ci_runs_every_linter_and_every_test() -> None:
    assert re.findall(r"^make (\w+)$", text_of(".ci/run"), re.MULTILINE) == ["lint", "test"]


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
