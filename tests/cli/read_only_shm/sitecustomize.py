"""A machine on which nothing can be made in /dev/shm, as in a container with a read-only root: Python imports this."""

import errno
import os
import sys
from pathlib import Path


def refuse(name, *_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)


def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith("/dev/shm/") and not Path(arguments[0]).exists():
        refuse(arguments[0])
    if event == "import" and arguments[0] == "multiprocessing.synchronize":
        import _multiprocessing

        # What sem_open() says; a class, since that module looks for its constants.
        made = {"__new__": lambda cls, *_: refuse(None), "SEM_VALUE_MAX": _multiprocessing.SemLock.SEM_VALUE_MAX}
        _multiprocessing.SemLock = type("SemLock", (), made)


sys.addaudithook(watch)
