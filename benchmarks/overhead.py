"""What safety costs: the share of a training run that goes into checkpoints, logs, snapshots and checks of numbers.

    python benchmarks/overhead.py lunar --runs 3

Each of them is timed where it is called, so that the timing itself counts as cost. Run nothing else beside it.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from ppocli.algorithm.updates import ppo
from ppocli.config.load import load_config
from ppocli.envs.episodes import Episodes
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.loop import train
from ppocli.training.state import Training


def timed(owner: object, name: str, spent: dict[str, float]) -> None:
    original = getattr(owner, name)

    def measured(*arguments, **options):
        start = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - start

    setattr(owner, name, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    spent: dict[str, float] = defaultdict(float)
    timed(ppo, "check_finite", spent)
    timed(checkpoint, "save", spent)
    timed(RunWriter, "log", spent)
    timed(RunWriter, "sync", spent)
    timed(Training, "snapshot", spent)
    timed(Training, "state", spent)
    timed(Episodes, "_check_finite", spent)
    timed(Episodes, "_forget_old_actions", spent)
    shares = []
    for seed in range(arguments.runs):
        spent.clear()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for _ in train(Job(load_config(arguments.preset, seed=seed), RunWriter(Run(Path(folder) / "run")))):
                pass
        seconds = time.perf_counter() - start
        shares.append(sum(spent.values()) / seconds)
        parts = ", ".join(f"{name} {part:.3f}" for name, part in sorted(spent.items(), key=lambda item: -item[1]))
        print(f"seed {seed}: {seconds:.1f} s, of which {sum(spent.values()):.3f} s ({shares[-1]:.2%}): {parts}")
    print(f"median share {median(shares):.2%}")


main()
