"""``python -m mknock`` is the ``mknock`` command."""

from __future__ import annotations

from mknock.cli import main

if __name__ == "__main__":
    main()
