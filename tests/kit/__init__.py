"""What the tests, the benchmarks and the demonstration talk to.

``synapse``          a real homeserver, thrown away afterwards
``fake_homeserver``  the same calls from memory, with faults on demand
``beeper_stub``      the e-mail login of Beeper's API
``account``          a person on either homeserver
``processes``        servers as child processes, free ports, waiting

Whatever talks HTTP is awaited; starting, stopping and signing are not.
"""
