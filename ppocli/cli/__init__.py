"""The `ppocli` command: parses, calls, prints, and sets the exit code.

Imports nothing heavy at the top, so that `--help` and a mistyped option answer at once; each command imports what it
needs.
"""

from ppocli.cli.app import main

__all__ = ["main"]
