"""What goes on in the background: each worker is ``async tick(now) -> int`` and never sleeps."""
