"""Deliveries as they come over the wire, for the tests."""
