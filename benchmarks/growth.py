"""Whether a long run stays as small as it was: memory, open files and threads over CartPole's env steps (Linux).

    python benchmarks/growth.py --env-steps 10_000_000

The growth is the slope of a straight line through what was measured after the first million.
"""

import argparse
import os
import tempfile
import threading
from itertools import count
from pathlib import Path

import numpy as np

from ppocli.config.load import load_config
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.loop import train

MEGABYTE = 1 << 20


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env-steps", type=int, default=10_000_000)
    arguments = parser.parse_args()
    overrides = [f"train.env_steps={arguments.env_steps}", "train.eval_interval=1_000_000"]
    points, due = [], count(500_000, 500_000)
    next_point = next(due)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(load_config("cartpole", overrides), RunWriter(Run(Path(folder) / "run")))
        for iteration in train(job):
            if iteration.metrics.env_steps >= next_point:
                files = len(list(Path("/proc/self/fd").iterdir()))
                points.append((iteration.metrics.env_steps / 1e6, resident()))
                print(
                    f"{points[-1][0]:5.1f} M env steps: {points[-1][1]:.1f} MB, {files} files, "
                    f"{threading.active_count()} threads",
                    flush=True,
                )
                next_point = next(due)
    warm = np.array([point for point in points if point[0] > 1])
    print(f"growth: {np.polyfit(warm[:, 0], warm[:, 1], 1)[0]:.3f} MB per million env steps")


main()
