"""Looking into a delivery of which nothing may be taken for granted."""

from __future__ import annotations

from typing import Any


def text_in(item: Any, key: str) -> str:
    """Return the text under a key; "" if there is none, or no object to look into."""
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, str) else ""


def object_in(item: Any, key: str) -> dict[str, Any]:
    """Return the object under a key, an empty one if there is none."""
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, dict) else {}


def objects_in(item: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects of the list under a key; whatever else is in it is left out."""
    value = item.get(key) if isinstance(item, dict) else None
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def is_list_in(item: Any, key: str) -> bool:
    return isinstance(item, dict) and isinstance(item.get(key), list)


def is_object_in(item: Any, key: str) -> bool:
    return isinstance(item, dict) and isinstance(item.get(key), dict)


def name_in_address(address: Any) -> Any:
    """Return an uploaded file's own name from the address it was put under; anything else as it came."""
    if not isinstance(address, str):
        return address
    return address.partition("?")[0].rstrip("/").rpartition("/")[2] or address
