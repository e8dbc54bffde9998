"""A homeserver in memory that can be told to fail; see ``FakeHomeserver`` and ``FakeProcess``."""

from tests.kit.fake_homeserver.app import FakeHomeserver
from tests.kit.fake_homeserver.faults import Call, Fault
from tests.kit.fake_homeserver.process import FakeProcess

__all__ = ["Call", "FakeHomeserver", "FakeProcess", "Fault"]
