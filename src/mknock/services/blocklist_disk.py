"""The block-list's file on the disk. Everything here blocks, so it runs in a thread."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from mknock.services.blocklist_lines import HEADING

LARGEST: Final = 64 * 1024 * 1024
"""Bytes; a million blocked people need less."""
MODE: Final = 0o600
"""Of a file that Knock makes: it names people."""

Mark = tuple[int, int, int, int]
"""What changes whenever the file does: inode, size, time of the last change of content and of anything."""


class Unreadable(Exception):
    """The file cannot be read. The text goes on a sentence that begins with its name."""


class ChangedMeanwhile(Exception):
    """Somebody has edited the file since it was read."""


def mark(path: Path) -> Mark | None:
    """What the file looks like from outside; None if there is none.

    Raises:
        Unreadable: not even that can be seen.
    """
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"cannot be looked at ({error.strerror})") from error
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def contents(path: Path) -> bytes | None:
    """The whole file; None if there is none.

    Raises:
        Unreadable: it cannot be read, is no ordinary file, or is too large.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            # Docker makes a folder of a mounted file that is not there.
            raise Unreadable("is a folder or a device, not a file")
        if about.st_size > LARGEST:
            raise Unreadable(f"is larger than {LARGEST // 1024**2} MiB")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error


def append(path: Path, lines: bytes) -> None:
    """Add whole lines at the end, in one write; make the file if there is none.

    Raises:
        OSError: nothing was added.
    """
    new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, MODE)
    try:
        size = os.fstat(handle).st_size
        start = HEADING.encode() if new and not size else b""
        if size and os.pread(handle, 1, size - 1) != b"\n":
            start = b"\n"
        _write_whole(handle, start + lines, size)
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        _keep_name(path.parent)


def _write_whole(handle: int, data: bytes, size: int) -> None:
    written = os.write(handle, data)
    if written < len(data):  # the disk is full: half a line would block somebody else
        if os.fstat(handle).st_size == size + written:
            os.ftruncate(handle, size)
        raise OSError(28, "No space left on device")


def rewrite(path: Path, before: bytes, after: bytes) -> None:
    """Put other contents in the file's place, with its mode and owner, if it still is as it was read.

    Raises:
        ChangedMeanwhile: it is another by now.
        OSError: it cannot be written; it is as it was.
    """
    place = Path(os.path.realpath(path))  # a link stays a link
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        _write_draft(draft, after, place.stat())
        if place.read_bytes() != before:
            raise ChangedMeanwhile
        draft.replace(place)
    except FileNotFoundError as error:
        raise ChangedMeanwhile from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    _keep_name(place.parent)


def _write_draft(draft: Path, data: bytes, like: os.stat_result) -> None:
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE), "wb") as file:
        with suppress(PermissionError):  # somebody else's file in a folder of ours
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep_name(folder: Path) -> None:
    """Have the folder on disk, so that the new name outlives a power failure."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def may_write(path: Path) -> bool:
    """Whether lines can be added and taken out, as far as the permissions tell."""
    place = Path(os.path.realpath(path))
    return os.access(place.parent, os.W_OK) and (not place.exists() or os.access(place, os.W_OK))
