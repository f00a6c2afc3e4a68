"""Peak memory of a command and of all its descendants together, on Linux.

    python benchmarks/memory.py ppocli train --config lunar --stop-when-solved

Sums the proportional set size, which counts a page that several processes share once, twenty times a second.
"""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def with_descendants(pid: int) -> list[int]:
    children = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return [pid, *(one for child in children for one in with_descendants(child))]


def proportional_set_size(pid: int) -> int:
    """Return bytes; 0 for a process that has just ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


process = subprocess.Popen(sys.argv[1:])
peak, processes = 0, 0
while process.poll() is None:
    pids = with_descendants(process.pid)
    peak = max(peak, sum(proportional_set_size(pid) for pid in pids))
    processes = max(processes, len(pids))
    time.sleep(0.05)
print(f"peak memory {peak / 1e6:,.0f} MB, up to {processes} processes together", file=sys.stderr)
sys.exit(process.returncode)
