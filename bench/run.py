"""Measure Knock against bare servers, and print ratios taken in this one run.

``make bench`` runs all parts; ``ARGS="accept burst"`` some of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import accept, deliver, familiar, growth, matching, raids, rules, scan  # noqa: E402

PARTS = {
    "accept": accept.accept,
    "burst": accept.burst,
    "memory": accept.memory,
    "growth": growth.growth,
    "rules": rules.rules,
    "scan": scan.scan,
    "raids": raids.raids,
    "quality": matching.quality,
    "familiar": familiar.familiar,
    "cost": matching.cost,
    "stub": deliver.on_stub,
    "synapse": deliver.on_synapse,
}


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    figures: dict[str, object] = {}
    for part in wanted:
        with tempfile.TemporaryDirectory(prefix="knock-bench-") as folder:
            print(f"\n== {part}", flush=True)
            figures[part] = asyncio.run(PARTS[part](Path(folder)))
    print("\n" + json.dumps(figures))


if __name__ == "__main__":
    main()
