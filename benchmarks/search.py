"""A search for the settings that solve a task soonest: many points on a few seeds, then the best of them on more.

    python benchmarks/search.py benchmarks/search/lunar_fast.yaml --rounds 96x2 24x4 8x8 --log search.jsonl

A point is a preset in which some keys are drawn from lists; the first is the preset as it is. It counts by the mean of
the median and the worst of its seeds, in processor seconds until the task is solved, one that is not at all for twice
the time that it has. What is reported of a winner must come from other seeds.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

Point = tuple[tuple[str, str], ...]  # keys and values, as --set takes them


def trial(preset: str, point: Point, seed: int) -> tuple[int | None, float]:
    """Train one seed in this process until it is solved; return after how many env steps it was, and the seconds."""
    from ppocli.config.load import load_config
    from ppocli.device import keep_freed_memory
    from ppocli.records.run import Run
    from ppocli.records.writer import RunWriter
    from ppocli.training.job import Job
    from ppocli.training.loop import train

    keep_freed_memory()
    config = load_config(preset, ["env.workers=0", *(f"{key}={value}" for key, value in point)], seed)
    began, progress = time.process_time(), None
    with tempfile.TemporaryDirectory() as folder:
        job = Job(config, RunWriter(Run(Path(folder) / "run")), stop_when_solved=True)
        for iteration in train(job):
            progress = iteration.progress
    assert progress
    return progress.solved_at_env_steps, time.process_time() - began


def score(trials: Sequence[tuple[int | None, float]]) -> float:
    seconds = [spent if solved_at is not None else 2 * spent for solved_at, spent in trials]
    return (median(seconds) + max(seconds)) / 2


def drawn(keys: Mapping[str, Sequence[Any]], rng: np.random.Generator) -> Point:
    return tuple((key, json.dumps(values[rng.integers(len(values))])) for key, values in keys.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("space", type=Path)
    parser.add_argument(
        "--rounds", nargs="+", default=["96x2", "24x4", "8x8"], help="POINTSxSEEDS, one after the other"
    )
    parser.add_argument("--first-seed", type=int, default=20_000)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("search.jsonl"))
    options = parser.parse_args()
    space = yaml.safe_load(options.space.read_text())
    rng, seed = np.random.default_rng(options.draw), options.first_seed
    rounds = [tuple(map(int, one.split("x"))) for one in options.rounds]
    points: list[Point] = [(), *(drawn(space["keys"], rng) for _ in range(rounds[0][0] - 1))]
    trials: dict[Point, list[tuple[int | None, float]]] = defaultdict(list)
    with (
        options.log.open("a") as log,
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        for num_points, num_seeds in rounds:
            points = sorted(points, key=lambda point: score(trials[point]) if trials[point] else 0.0)[:num_points]
            asked = [(point, seed + number) for number in range(num_seeds) for point in points]
            seed += num_seeds
            begun = [(*both, pool.submit(trial, space["preset"], *both)) for both in asked]
            for point, own_seed, future in begun:
                try:
                    found = future.result()
                except Exception as error:  # a point that cannot be trained is none
                    print(dict(point), type(error).__name__, error, flush=True)
                    found = None, 1e6
                trials[point].append(found)
                print(json.dumps([dict(point), own_seed, *found]), file=log, flush=True)
            print(f"after {len(trials[points[0]])} seeds: score, thousands of env steps of each seed, point")
            for point in sorted(points, key=lambda point: score(trials[point]))[:8]:
                steps = [solved_at and round(solved_at / 1000) for solved_at, _ in trials[point]]
                print(f"{score(trials[point]):6.2f}  {steps}  {dict(point)}", flush=True)


if __name__ == "__main__":
    main()
