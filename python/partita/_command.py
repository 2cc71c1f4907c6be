"""The ``partita`` command, which is the Rust one."""

from __future__ import annotations

import signal
import sys

from partita import _native


def main() -> None:
    """Run the command line and leave with its exit code."""
    # The command listens to Ctrl-C itself; Python's handler would run after it and raise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.main(["partita", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
