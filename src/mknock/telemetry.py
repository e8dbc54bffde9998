"""Logging: one way out for every line, on which no secret travels.

Whatever is logged, through structlog or through the standard library, by
Knock or by a package it uses, ends in one handler that writes to stderr.
Secrets are kept off it three times: Knock's own code does not log them;
packages that log whole addresses are silenced or lose the query (``QUIET``,
``WithoutQuery``); and the finished line, traceback included, is searched
for every value given to ``keep_secret``.
"""

from __future__ import annotations

import contextlib
import html
import json
import logging
import re
import sys
import threading
from collections import deque
from typing import NamedTuple

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

PLACE = "[secret]"
"""What stands in a line where a secret stood."""

SHORTEST = 6
"""Shorter values are not searched for: they would blank ordinary words."""

QUIET = ("httpx2", "httpcore2", "python_multipart")
"""Loggers raised to WARNING: below it they write addresses (with room IDs), headers and form data."""

MARGIN = "    | "
"""Begins every further line of an entry on the console, so that none can pass for an entry of its own."""


# --- secrets -----------------------------------------------------------------------------------


class _Kept(NamedTuple):
    """What to look for: ``runs`` are cheap to find, ``pattern`` is exact."""

    runs: tuple[str, ...]
    pattern: re.Pattern[str]


class Redactor:
    """Replaces kept values in a text, in any spelling in which a log line may hold them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lasting: dict[str, None] = {}
        self._passing: deque[str] = deque(maxlen=100)
        self._kept: _Kept | None = None

    def keep(self, value: str, *, lasting: bool = True) -> None:
        if len(value) < SHORTEST:
            return
        with self._lock:
            if value in self._lasting or value in self._passing:
                return
            if lasting:
                self._lasting[value] = None
            else:
                self._passing.append(value)
            self._kept = _kept([*self._lasting, *self._passing])

    def __call__(self, text: str) -> str:
        """Return the text without the values. Costs one substring search per value if none is there."""
        kept = self._kept
        if kept is None or not any(run in text for run in kept.runs):
            return text
        return kept.pattern.sub(PLACE, text)


def _kept(values: list[str]) -> _Kept:
    # The longest first: where one value begins with another, the whole of it must go.
    longest_first = sorted(values, key=len, reverse=True)
    pattern = "|".join("".join(map(_spellings, value)) for value in longest_first)
    return _Kept(tuple(map(_longest_run, values)), re.compile(pattern))


def _longest_run(value: str) -> str:
    """The longest part of letters and digits: no encoding changes it. May be empty, which any text holds."""
    return max(re.findall(r"[A-Za-z0-9]+", value), key=len, default="")


def _spellings(char: str) -> str:
    """A pattern for one character: as it is, percent-encoded, or escaped by JSON, Python or HTML.

    Backslashes may be doubled any number of times, as happens when an
    escaped text is escaped again.
    """
    if char.isascii() and char.isalnum():
        return char
    if char == "\\":
        return r"(?:\\+|(?i:%5c))"
    in_bytes = char.encode("utf-8", "surrogatepass")
    percent = "".join(f"%{byte:02x}" for byte in in_bytes)
    escapes = {json.dumps(char)[1:-1], char.encode("unicode_escape").decode("ascii"), repr(in_bytes)[2:-1]}
    forms = [re.escape(form).replace(r"\\", r"\\+") for form in escapes if form.startswith("\\")]
    # As it is comes last: "%" begins its own encoding, and "&" its own entity.
    forms += [re.escape(percent), re.escape(html.escape(char)), r"\\*" + re.escape(char)]
    if char == " ":
        forms.append(r"\+")
    return f"(?i:{'|'.join(forms)})"


_redactor = Redactor()


def keep_secret(value: str, *, lasting: bool = True) -> None:
    """From now on show ``value`` as ``[secret]`` in every log line of this process.

    Values under six characters are left alone. Of those that are not
    ``lasting`` (an access token that is soon renewed) the newest hundred
    are kept, so that a long-lived process does not slow down.
    """
    _redactor.keep(value, lasting=lasting)


def redacted(text: str) -> str:
    """The text without any value given to ``keep_secret``."""
    return _redactor(text)


# --- what others log ---------------------------------------------------------------------------


class WithoutQuery(logging.Filter):
    """Takes out of request lines what is secret: the query, where a form's token may stand, and tokens in addresses.

    uvicorn hands the path with its query over as an argument of the record:
    in its access log, and in its error log for WebSocket handshakes.
    """

    _query = re.compile(r"\?\S+")
    _token = re.compile(r"(/d/[^/\s]+/s/|/i/)[^\s?]+")

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._without, record.args))
        return True

    def _without(self, argument: object) -> object:
        if not isinstance(argument, str):
            return argument
        return self._token.sub(r"\1…", self._query.sub("?…", argument))


def _tame_uvicorn() -> None:
    """Lead uvicorn's lines to our handler and take the query out of them.

    Handlers that the operator configured (``--log-config``) stay. An access
    log that was turned off (``--no-access-log`` leaves its logger without a
    handler and without a parent) stays off.
    """
    for name in ("uvicorn", "uvicorn.access"):
        logger = logging.getLogger(name)
        own = [each for each in logger.handlers if type(each.formatter).__module__ == "uvicorn.logging"]
        for handler in own:
            logger.removeHandler(handler)
            logger.propagate = True
    for name in ("uvicorn.access", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, WithoutQuery) for each in logger.filters):
            logger.addFilter(WithoutQuery())
    # With --log-level trace this one would write every request's scope, query included.
    logging.getLogger("uvicorn.asgi").setLevel(logging.INFO)


# --- how a line looks --------------------------------------------------------------------------


def _visible(text: str) -> str:
    """The text on one line: what cannot be seen, or would steer a terminal, is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _visible_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _visible(value if isinstance(value, str) else repr(value))


def _block(text: str) -> str:
    return "\n".join(MARGIN + _visible(line) for line in text.rstrip("\n").split("\n"))


def _only_printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape every field; keep the line breaks of a traceback, each line behind a margin."""
    exception = event.pop("exception", None)
    # Starlette hands a failed start to uvicorn as one text that holds the whole traceback.
    if exception is None and event.get("logger") == "uvicorn.error" and "\n" in str(event["event"]):
        event["event"], exception = str(event["event"]).split("\n", 1)
    shown: EventDict = {_visible(key): _visible_value(value) for key, value in event.items()}
    if exception is not None:
        shown["exception"] = _block(str(exception))
    return shown


class _Formatter(ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at that moment, an entry at a time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by logging
        """Say that an entry was lost, without its arguments, which logging would print as they are."""
        error = sys.exc_info()[0]
        place = f"{record.pathname}:{record.lineno}"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"a log entry from {place} was lost ({error and error.__name__})\n")


_ABOUT: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_CHAIN: list[Processor] = [
    structlog.stdlib.filter_by_level,
    *_ABOUT,
    structlog.stdlib.PositionalArgumentsFormatter(),
    ProcessorFormatter.wrap_for_formatter,
]


def _renderer(form: str) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    return [_only_printable, console]


def _handler(form: str) -> logging.Handler:
    handler = _Stderr()
    last: list[Processor] = [ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info]
    handler.setFormatter(_Formatter(foreign_pre_chain=_ABOUT, processors=[*last, *_renderer(form)]))
    return handler


# --- for everybody -----------------------------------------------------------------------------


def configure_logging(level: str, format: str) -> None:  # noqa: A002 - as in LOG_FORMAT
    """Send every log line of this process to stderr, in one format, without secrets.

    ``level`` is a level's name (``INFO``); ``format`` is ``console``, ``json``,
    or ``auto``: console on a terminal, otherwise json. May be called again,
    and must be called after uvicorn has set up its own logging (when the
    application starts), since that would undo the part about uvicorn.

    Raises:
        ValueError: there is no such level or format.
    """
    if format not in ("auto", "console", "json"):
        raise ValueError(f"there is no log format {format!r}")
    if format == "auto":
        format = "console" if sys.stderr.isatty() else "json"  # noqa: A001 - as above
    structlog.configure(
        processors=_CHAIN,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=BoundLogger,
        cache_logger_on_first_use=True,
    )
    _take_the_root(level.upper(), _handler(format))
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    _tame_uvicorn()


def _take_the_root(level: str, handler: logging.Handler) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    for earlier in [each for each in root.handlers if isinstance(each, _Stderr)]:
        root.removeHandler(earlier)
    root.addHandler(handler)


def get_logger(name: str) -> BoundLogger:
    """A logger for events with fields: ``log.info("knock decided", door=..., outcome=...)``."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger
