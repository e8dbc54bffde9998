"""Where Knock remembers. One contract (mknock.ports.Store), one test suite for every back-end."""
