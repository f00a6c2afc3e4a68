"""How many cores there are for us, wherever processes or threads are to be shared out."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def usable_cores(cgroups: Path = Path("/sys/fs/cgroup"), group: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores this process may use: those it is bound to, or the CPU time that its container may take."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *map(int, _quotas(cgroups, group))]))


def _quotas(cgroups: Path, group: Path) -> Iterator[float]:
    """Yield each limit on the CPU time of this process, in cores, as cgroups (version 2, and 1) state them."""
    with suppress(OSError, ValueError):
        own = PurePosixPath(group.read_text().rpartition("0::")[2].split("\n")[0].lstrip("/"))
        for folder in (own, *own.parents):  # a limit on a group is one on all in it
            with suppress(OSError, ValueError):  # of which there is none, or "max"
                quota, period = (cgroups / folder / "cpu.max").read_text().split()
                yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            yield int(quota) / int(period)
