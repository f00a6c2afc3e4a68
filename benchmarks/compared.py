"""How often `compare`'s interval of a difference holds the truth, by simulation: of seeds in pairs, and of others.

    python benchmarks/compared.py

Two configs that are as good as each other are compared again and again, with so many seeds each; whatever is missing
to 100 % are false alarms. The second config's returns spread as far as the first's, three and ten times as far.
"""

import argparse

import numpy as np

from ppocli.evaluation.comparison import welch_interval
from ppocli.evaluation.estimates import t_interval

SPREADS = (1, 3, 10)
DRAWN = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
}


def main():
    """Print a row for each number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50_000)
    repetitions, rng = parser.parse_args().repetitions, np.random.default_rng(0)
    header = [f"{name}, {spread} ×" for name in DRAWN for spread in SPREADS]
    print("| seeds |", " | ".join(header), "|\n|", " | ".join(["---"] * (len(header) + 1)), "|")
    for seeds in (2, 3, 5, 10):
        cells = []
        for draw in DRAWN.values():
            for spread in SPREADS:
                base, other = draw(rng, (seeds, repetitions)), spread * draw(rng, (seeds, repetitions))
                low, high = t_interval(other - base)
                apart = [welch_interval(*pair) for pair in zip(base.T, other.T, strict=True)]
                paired = np.mean((low <= 0) & (high >= 0))
                cells.append(f"{paired:.1%}, {np.mean([low <= 0 <= high for low, high in apart]):.1%}")
        print(f"| {seeds} |", " | ".join(cells), "|", flush=True)


main()
