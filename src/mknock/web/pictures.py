"""The owner's logo: an image by its bytes, whatever its name says."""

from __future__ import annotations

from pathlib import Path

from mknock.domain.doors import Picture

LARGEST = 200 * 1024
"""Bytes; a logo is loaded by every visitor."""


def read_picture(path: Path) -> Picture:
    """Read an image that browsers show and that can run nothing; SVG can, so it is none.

    Raises:
        ValueError: it cannot be used; the rest of a sentence that begins with the setting's name.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read ({error.strerror}).") from None
    if len(content) > LARGEST:
        raise ValueError(f"names {path}, which is larger than {LARGEST // 1024} KiB: make it smaller.")
    media_type = media_type_of(content)
    if not media_type:
        raise ValueError(f"names {path}, which is no PNG, JPEG, WebP or GIF image.")
    return Picture(content, media_type)


def media_type_of(content: bytes) -> str:
    """What its first bytes say it is; "" if that is none of the four kinds."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return ""
