"""The homeserver: one client, the calls Knock makes, and the ways to sign in."""
