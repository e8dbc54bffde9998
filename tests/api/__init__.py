"""The whole API, over the real store and with a fake homeserver behind it."""
