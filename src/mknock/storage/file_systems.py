"""On what kind of file system a file lies, as far as Linux tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
OVER_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "glusterfs", "fuse.glusterfs"})
"""Locks and shared memory do not work reliably there (https://sqlite.org/wal.html)."""
MOUNTS: Final = Path("/proc/self/mountinfo")


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of the file system that holds the path, such as "ext4"; "" if that is not known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = [read for line in lines if (read := _mount(line)) and path.resolve().is_relative_to(read[0])]
    # Of mounts at the same place the last one covers the others.
    return max(reversed(found), key=lambda mount: len(mount[0].parts))[1] if found else ""


def _mount(line: str) -> tuple[Path, str] | None:
    """Where a line of proc_pid_mountinfo(5) mounts something, and of what kind it is."""
    about, separator, source = line.partition(" - ")
    parts = about.split(" ")
    if not separator or len(parts) < 5:
        return None
    place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), parts[4])
    return Path(place), source.split(" ")[0]
