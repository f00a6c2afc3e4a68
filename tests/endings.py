"""How a training run ended: what must be the same however often it was interrupted."""

import csv
from dataclasses import replace

import numpy as np

from ppocli.records import checkpoint


def logs(run):
    """Both logs without their columns of times."""
    tables = []
    for name in ("metrics.csv", "episodes.csv"):
        with (run.path / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        tables.append([{k: v for k, v in row.items() if not k.endswith(("seconds", "per_second"))} for row in rows])
    return tables


def ending(run):
    """Everything about a finished run that must not depend on whether it was interrupted."""
    saved = {name: checkpoint.load(run.checkpoint(name)) for name in ("last", "best")}
    kept = {path.name: checkpoint.load(path) for path in run.snapshots}
    tensors = {(name, key): tensor for name, one in (saved | kept).items() for key, tensor in one.arrays.items()}
    timeless = {"seconds": 0, "solved_at_seconds": None, "metrics_bytes": 0, "episodes_bytes": 0}
    return tensors, {name: replace(one.progress, **timeless) for name, one in saved.items()}, logs(run)


def assert_same_ending(run, other):
    (tensors, progress, tables), (others, other_progress, other_tables) = ending(run), ending(other)
    assert tensors.keys() == others.keys()
    assert [key for key in tensors if not np.array_equal(tensors[key], others[key])] == []
    assert progress == other_progress
    assert tables == other_tables
