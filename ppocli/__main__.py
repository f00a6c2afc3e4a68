"""`python -m ppocli` is the same program as `ppocli`."""

from ppocli.cli import main

main()
