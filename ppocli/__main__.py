"""The program `ppocli`, and `python -m ppocli`, from Enter to its end."""

import os
import sys
import threading
from typing import NoReturn

from ppocli.signals import end_at_once, handle

_LEAVING_SECONDS = 3.0


def main() -> NoReturn:
    """Run the command line and exit, whatever an environment has left behind: 0, 1, 2, or 128+n on signal n."""
    handle(end_at_once)  # from before the command line itself is imported, until Python has ended
    from ppocli.cli import main as command_line

    try:
        command_line()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        # Python waits for threads and child processes, and so for ever for those that never end.
        leaving = threading.Timer(_LEAVING_SECONDS, os._exit, [code])
        leaving.daemon = True
        leaving.start()
        sys.exit(code)


if __name__ == "__main__":
    main()
