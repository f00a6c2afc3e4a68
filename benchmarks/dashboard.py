"""What watching costs: the share of a training run that goes into the dashboard.

    python benchmarks/dashboard.py lunar --runs 3

It draws on a terminal of 80 columns and 24 rows that is a file; a slow terminal takes longer to write to, and is then
written to less often. Run nothing else beside it.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console

from ppocli.config.load import load_config
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.loop import train
from ppocli.views.dashboard import Dashboard, Known


def measure(preset: str, seed: int, folder: Path) -> tuple[float, float]:
    """Train; return the seconds that it took, and those of them that the dashboard took."""
    config = load_config(preset, seed=seed)
    spent = 0.0
    start = time.perf_counter()
    with (folder / "terminal").open("w", encoding="utf-8") as file:
        terminal = Console(file=file, force_terminal=True, width=80, height=24)
        with Dashboard(config, "run", terminal, Known(baseline_mean=0.0, discrete_actions=True)) as dashboard:
            for iteration in train(Job(config, RunWriter(Run(folder / "run")))):
                began = time.perf_counter()
                dashboard.update(iteration)
                spent += time.perf_counter() - began
    return time.perf_counter() - start, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    shares = []
    for seed in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            seconds, spent = measure(arguments.preset, seed, Path(folder))
        shares.append(spent / seconds)
        print(f"seed {seed}: {seconds:.1f} s, of which {spent:.3f} s in the dashboard ({shares[-1]:.2%})", flush=True)
    print(f"median share {median(shares):.2%}")


main()
