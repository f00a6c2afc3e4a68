"""Where every random number comes from.

One user seed feeds many streams. Each stream has its own spawn key of `numpy.random.SeedSequence`, so no two share
anything, seeds 0 and 1 share nothing, and nothing depends on the order in which streams are used. Streams that are
consumed every iteration are derived anew from (seed, iteration): there is no generator state to save.
"""

from collections.abc import Callable
from enum import IntEnum

import numpy as np

# Episode seeds fit in 31 bits, because some environments keep theirs in a signed 32-bit integer.
_HASH_BITS = 29


class Stream(IntEnum):
    """What the random numbers are for. The values are part of the format: changing one changes every result."""

    WEIGHTS = 0
    ACTION_NOISE = 1
    SHUFFLING = 2
    EPISODE_SEEDS = 3
    POLICY = 4


class Purpose(IntEnum):
    """What an episode is for. It is the top two bits of the episode's seed, so no purpose ever meets another's."""

    TRAINING = 0
    PERIODIC_EVALUATION = 1
    SOLVED_CHECK = 2
    EVALUATION = 3


def generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """Return the generator of one stream; `key` tells its members apart, such as the iteration."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *key)))


def _episode_seed(seed: int, purpose: Purpose, *key: int, after: int = 0) -> int:
    """Return the episode seed that comes so many `after` the one of `key`."""
    sequence = np.random.SeedSequence(seed, spawn_key=(Stream.EPISODE_SEEDS, purpose, *key))
    number = (int(sequence.generate_state(1)[0]) >> (32 - _HASH_BITS)) + after
    return (purpose << _HASH_BITS) | (number % (1 << _HASH_BITS))


def training_seeds(seed: int) -> Callable[[int, int], int]:
    """Return the function from (environment index, episode index) to the seed of that training episode."""
    return lambda environment, episode: _episode_seed(seed, Purpose.TRAINING, environment, episode)


def evaluation_seeds(seed: int, purpose: Purpose, episodes: int, after: int = 0) -> list[int]:
    """Return `episodes` distinct episode seeds, those `after` so many others; asking for more of them only appends."""
    return [_episode_seed(seed, purpose, after=index) for index in range(after, after + episodes)]
