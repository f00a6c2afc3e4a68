"""How often a 95 % interval holds the truth: the t interval beside a percentile bootstrap, by simulation.

    python benchmarks/coverage.py

Samples are drawn from a distribution whose mean and interquartile mean are known, again and again; a row for each
number of seeds, and each cell says how often the truth lay in the interval.
"""

import argparse

import numpy as np
from scipy import stats

from ppocli.evaluation.estimates import IQM_TRIM, iqm, t_interval

RESAMPLES, AT_ONCE = 1_000, 50
DISTRIBUTIONS = {"normal": stats.norm(), "exponential": stats.expon(), "lognormal": stats.lognorm(1)}


def bootstrap(samples, trim, rng):
    """Return the ends of the percentile bootstrap interval of each column of samples (S, G)."""
    ends = []
    for begin in range(0, samples.shape[1], AT_ONCE):
        resamples = samples[rng.integers(len(samples), size=(RESAMPLES, len(samples))), begin : begin + AT_ONCE]
        estimates = iqm(resamples, axis=1) if trim else resamples.mean(axis=1)
        ends.append(np.percentile(estimates, [2.5, 97.5], axis=0))
    return np.concatenate(ends, axis=1)


def share(ends, truth):
    low, high = ends
    return f"{np.mean((low <= truth) & (truth <= high)):.1%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4_000, help="of each bootstrap; of each t interval 25 times")
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(0)
    middle = np.linspace(IQM_TRIM, 1 - IQM_TRIM, 100_001)
    kinds = [(name, trim) for trim in (0.0, IQM_TRIM) for name in DISTRIBUTIONS]
    header = [f"{name}, {'IQM' if trim else 'mean'}" for name, trim in kinds]
    print("| seeds |", " | ".join(header), "|\n|", " | ".join(["---"] * (len(header) + 1)), "|")
    for seeds in (2, 3, 5, 10, 20, 30, 100):
        cells = []
        for name, trim in kinds:
            drawn = DISTRIBUTIONS[name]
            truth = drawn.ppf(middle).mean() if trim else drawn.mean()
            samples = drawn.rvs(size=(seeds, 25 * repetitions), random_state=rng)
            old = bootstrap(samples[:, :repetitions], trim, rng)
            cells.append(f"{share(t_interval(samples, trim), truth)} ({share(old, truth)})")
        print(f"| {seeds} |", " | ".join(cells), "|", flush=True)


main()
