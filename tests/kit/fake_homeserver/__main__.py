"""``python -m tests.kit.fake_homeserver``: the fake as a server of its own, steered over ``/_fake/…``."""

from __future__ import annotations

from tests.kit import asgi
from tests.kit.fake_homeserver import FakeHomeserver


def main() -> None:
    """Serve until SIGTERM; the first line on standard output is ``ready`` and the port."""
    parser = asgi.arguments("A homeserver in memory, for tests and benchmarks.")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer takes")
    parser.add_argument("--users", nargs="*", default=[], help="localparts of accounts to begin with")
    given = parser.parse_args()
    fake = FakeHomeserver(latency=given.latency)
    for name in given.users:
        fake.add_user(name)
    asgi.run(fake, port=given.port)


main()
