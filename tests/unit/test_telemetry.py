"""What reaches stderr, and above all what does not: through real logging calls and a real uvicorn."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock import telemetry
from mknock.telemetry import Redactor, configure_logging, get_logger, keep_secret, redacted

CANARY = "!canary-room:knock.test"
AWKWARD = "cänary \"pass\\word' & more"
LOGGERS = ("", "uvicorn", "uvicorn.access", "uvicorn.error", "uvicorn.asgi", *telemetry.QUIET)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put back what configure_logging changes, for the tests of others."""
    before = {name: dict(vars(logging.getLogger(name))) for name in LOGGERS}
    kept = {name: (each["handlers"][:], each["filters"][:], each["level"]) for name, each in before.items()}
    yield
    for name, (handlers, filters, level) in kept.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.propagate = before[name]["propagate"]
        logger.setLevel(level)


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    configure_logging("INFO", "console")
    return capsys


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    configure_logging("INFO", "json")
    return capsys


log = get_logger("mknock.test")
stdlib = logging.getLogger("some.package")


def only_line(capture: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capture.readouterr().err.splitlines()
    entry: dict[str, Any] = json.loads(line)
    return entry


def fail(text: str) -> None:
    raise ValueError(text)


# --- one way out -------------------------------------------------------------------------------


def test_an_event_is_one_json_line_with_its_fields(lines: pytest.CaptureFixture[str]) -> None:
    log.info("knock decided", door="main", count=3)
    entry = only_line(lines)
    del entry["timestamp"]
    assert entry == {
        "event": "knock decided",
        "door": "main",
        "count": 3,
        "level": "info",
        "logger": "mknock.test",
    }


def test_a_line_of_the_standard_library_looks_alike(lines: pytest.CaptureFixture[str]) -> None:
    stdlib.warning("%s is slow", "disk")
    entry = only_line(lines)
    del entry["timestamp"]
    assert entry == {"event": "disk is slow", "level": "warning", "logger": "some.package"}


def test_the_time_is_in_utc(lines: pytest.CaptureFixture[str]) -> None:
    log.info("now")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", only_line(lines)["timestamp"])


def test_nothing_is_written_to_stdout(console: pytest.CaptureFixture[str]) -> None:
    log.info("hello")
    assert console.readouterr().out == ""


def test_lines_below_the_level_are_not_written(lines: pytest.CaptureFixture[str]) -> None:
    log.debug("detail")
    assert lines.readouterr().err == ""


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")
    configure_logging("INFO", "json")
    log.info("once")
    assert only_line(capsys)["event"] == "once"


def test_without_a_terminal_auto_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "auto")
    log.info("hello")
    assert only_line(capsys)["event"] == "hello"


@pytest.mark.parametrize(("level", "form"), [("LOUD", "json"), ("INFO", "xml")])
def test_an_unknown_level_or_format_is_an_error(level: str, form: str) -> None:
    with pytest.raises(ValueError, match=r"LOUD|xml"):
        configure_logging(level, form)


@pytest.mark.parametrize("name", ["httpx2", "httpcore2.http11"])
def test_the_http_client_does_not_log_addresses(lines: pytest.CaptureFixture[str], name: str) -> None:
    configure_logging("DEBUG", "json")
    logging.getLogger(name).info('HTTP Request: POST https://hs/%s "HTTP/1.1 200 OK"', "rooms/x")
    assert lines.readouterr().err == ""


# --- secrets -----------------------------------------------------------------------------------


@pytest.mark.promise(10)
@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("secret", [CANARY, AWKWARD])
def test_a_kept_secret_is_on_no_line(capsys: pytest.CaptureFixture[str], form: str, secret: str) -> None:
    configure_logging("INFO", form)
    keep_secret(secret)
    log.info("a field", value=secret, nested={"list": [secret]}, raw=secret.encode())
    log.info(f"in the event: {secret}")
    stdlib.warning("an argument: %s, %r", secret, [secret])
    stdlib.warning("an address: https://hs/%s?a=%s", quote(secret, safe=""), quote_plus(secret))
    stdlib.warning("JSON in JSON: %s", json.dumps(json.dumps({"a": secret})))
    try:
        fail(f"the token {secret} was refused")
    except ValueError:
        log.exception("in a traceback")
        stdlib.exception("in a traceback")
    assert not re.search("can|nary", capsys.readouterr().err)


def test_what_stands_around_a_secret_stays(lines: pytest.CaptureFixture[str]) -> None:
    keep_secret(CANARY)
    stdlib.warning("PUT /rooms/%s/send", quote(CANARY, safe=""))
    assert only_line(lines)["event"] == "PUT /rooms/[secret]/send"


def test_json_with_a_secret_in_it_is_still_json(lines: pytest.CaptureFixture[str]) -> None:
    keep_secret(AWKWARD)
    log.info("hello", value=AWKWARD)
    assert only_line(lines)["value"] == "[secret]"


def test_a_log_call_that_fails_does_not_print_its_arguments(console: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each).__module__ == telemetry.__name__]
    stdlib.warning("%d rooms", CANARY)
    assert re.fullmatch(r"a log entry from \S+:\d+ was lost \(TypeError\)\n", console.readouterr().err)


def test_values_under_six_characters_are_not_searched_for() -> None:
    redactor = Redactor()
    redactor.keep("is")
    assert redactor("this is a text") == "this is a text"


def test_the_longer_of_two_secrets_goes_as_a_whole() -> None:
    redactor = Redactor()
    redactor.keep("secret")
    redactor.keep("secret-and-more")
    assert redactor("a secret-and-more") == "a [secret]"


def test_of_passing_secrets_the_newest_hundred_are_kept() -> None:
    redactor = Redactor()
    for number in range(101):
        redactor.keep(f"token-{number:03}", lasting=False)
    assert redactor("token-000 token-001 token-100") == "token-000 [secret] [secret]"


def test_a_lasting_secret_outlives_the_passing_ones() -> None:
    redactor = Redactor()
    redactor.keep("lasting-one")
    for number in range(101):
        redactor.keep(f"token-{number:03}", lasting=False)
    assert redactor("lasting-one") == "[secret]"


def test_text_without_a_secret_is_as_it_was() -> None:
    assert redacted("nothing to see") == "nothing to see"


secrets = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=20)


@pytest.mark.promise(10)
@given(secrets)
def test_a_secret_is_found_in_every_spelling(secret: str) -> None:
    redactor = Redactor()
    redactor.keep(secret)
    spellings = [
        secret,
        quote(secret, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        repr(secret)[1:-1],
        secret.encode("unicode_escape").decode(),
    ]
    assert {redactor(f"<{spelling}>") for spelling in spellings} == {"<[secret]>"}


# --- log injection -----------------------------------------------------------------------------

FORGED = "bob\n2026-11-22T00:00:00Z [info] forged\r\x1b[2J\x1b]0;title\x07\x9b31m\u2028\u202eevil\u200b"


def test_a_value_cannot_make_a_line_of_its_own(console: pytest.CaptureFixture[str]) -> None:
    log.info("knock", user=FORGED, nested=[FORGED])
    assert len(console.readouterr().err.splitlines()) == 1


def test_an_event_cannot_make_a_line_of_its_own(console: pytest.CaptureFixture[str]) -> None:
    stdlib.warning("knock of %s", FORGED)
    assert len(console.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("char", sorted(set(re.findall(r"[^ -~\n]", FORGED))))
def test_a_value_cannot_steer_the_terminal(console: pytest.CaptureFixture[str], char: str) -> None:
    log.info("knock", user=FORGED, short=char, other={"any": char})
    stdlib.warning("knock of %s", FORGED)
    assert char not in console.readouterr().err


def test_the_lines_of_a_traceback_stand_behind_a_margin(console: pytest.CaptureFixture[str]) -> None:
    try:
        fail(FORGED)
    except ValueError:
        log.exception("boom")
    _, *further = console.readouterr().err.split("\n")[:-1]
    assert [line for line in further if not line.startswith(telemetry.MARGIN)] == []


def test_a_traceback_cannot_steer_the_terminal(console: pytest.CaptureFixture[str]) -> None:
    try:
        fail(FORGED)
    except ValueError:
        stdlib.exception("boom")
    assert "\x1b" not in console.readouterr().err


def test_a_failed_start_is_readable(console: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").error("Traceback (most recent call last):\n  File x\nValueError: y\n")
    assert console.readouterr().err.endswith(f"{telemetry.MARGIN}  File x\n{telemetry.MARGIN}ValueError: y\n")


# --- a real uvicorn ----------------------------------------------------------------------------

APP = """
import os
from mknock.telemetry import configure_logging

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        configure_logging("INFO", os.environ["LOOK"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    elif scope["path"] == "/error":
        raise RuntimeError("on purpose")
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
"""
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Run:
    """One run of uvicorn: what it wrote to both of its outputs."""

    def __init__(self, folder: Path, *options: str, look: str = "console") -> None:
        (folder / "shop.py").write_text(APP)
        source = str(Path(telemetry.__file__).parents[1])
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "shop:app",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            *options,
        ]
        with subprocess.Popen(
            command,
            cwd=folder,
            env={"PYTHONPATH": source, "LOOK": look, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                self.output = self._until_listening(process)
                self._visit()
            finally:
                process.send_signal(signal.SIGTERM)
                self.output += process.communicate(timeout=10)[0]

    def _until_listening(self, process: subprocess.Popen[str]) -> str:
        seen = ""
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self._port = int(found[1])
                return seen
        pytest.fail(f"uvicorn did not start: {seen}")

    def _visit(self) -> None:
        for path, headers in [
            ("/plain", {}),
            ("/form?token=canary", {}),
            ("/form?a=1&token=canary%20?canary", {}),
            ("http://other.test/form?token=canary", {}),
            ("/error?token=canary", {}),
            ("/ws?token=canary", UPGRADE),
            ("/d/garden/s/canary", {}),
            ("/below/d/garden/s/canary?lang=canary", {}),
            ("/form?token=canary", {"Upgrade": "h9", "Connection": "Upgrade"}),
            ("/form?token=canary", {"Content-Length": "canary"}),
        ]:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            with contextlib.closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
                connection.request("GET", path, headers=headers)
                connection.getresponse().read()


@pytest.fixture(
    scope="module",
    params=[("h11", "websockets", "console"), ("httptools", "websockets-sansio", "json")],
    ids=["h11", "httptools"],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    http, ws, look = request.param
    return Run(tmp_path_factory.mktemp("uvicorn"), "--http", http, "--ws", ws, look=look)


@pytest.mark.promise(10)
def test_uvicorn_writes_no_query(run: Run) -> None:
    assert "canary" not in run.output


def test_uvicorn_still_writes_its_access_log(run: Run) -> None:
    assert re.search(r'GET /plain HTTP/1\.1\\?" 200', run.output)


def test_a_query_that_was_there_is_hinted_at(run: Run) -> None:
    assert re.search(r"GET /form\?(…|\\u2026) HTTP/1\.1", run.output)


def test_whose_status_page_was_visited_is_not_written(run: Run) -> None:
    assert re.search(r"GET /d/garden/s/(…|\\u2026) HTTP/1\.1", run.output)


def test_the_websocket_handshake_was_logged_too(run: Run) -> None:
    assert re.search(r"WebSocket /ws\?(…|\\u2026)", run.output)


def test_an_error_of_the_application_is_logged_with_its_traceback(run: Run) -> None:
    assert "RuntimeError: on purpose" in run.output


@pytest.mark.promise(10)
def test_uvicorn_writes_no_query_at_its_most_talkative(tmp_path: Path) -> None:
    assert "canary" not in Run(tmp_path, "--log-level", "trace").output


def test_an_access_log_that_was_turned_off_stays_off(tmp_path: Path) -> None:
    assert "/plain" not in Run(tmp_path, "--no-access-log").output
