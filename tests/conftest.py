"""Whoever starts the tests in the background may have signals ignored, and a child inherits that:
here they are as a user's terminal has them.

Where nothing else is said the engine is the best that every host has: what a host's KVM is worth,
and what auto says of it, is the affair of tests/beds."""
import os
import signal

for s, how in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL),
               (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGTERM, signal.SIG_DFL)):
    signal.signal(s, how)

os.environ.setdefault("LODGE_ENGINE", "bt")
