"""Whether what was exported acts as the policy does, on observations that its task has shown."""

from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from ppocli.envs import masks
from ppocli.envs.api import Continuous
from ppocli.envs.make import playing
from ppocli.errors import PpocliError
from ppocli.evaluation.policy import TrainedPolicy
from ppocli.notebook import Tabled
from ppocli.seeds import Purpose, evaluation_seeds

CLOSE = 1e-5  # that real numbers may be apart, of how far their bounds are apart, or of their size
TIE = 1e-4  # that a choice may be better than another by, in logits, to be as good in another arithmetic
States = NDArray[np.float32] | None
Act = Callable[[Any, Any, States], tuple[Any, States]]
"""From observations (N, ...), masks (N, choices) or None, and what is remembered, to actions and what is then."""


@dataclass(frozen=True)
class Shown:
    """What a task has shown at some time."""

    obs: Any
    mask: NDArray[np.int8] | None
    begins: bool  # whether an episode begins with it


@dataclass(frozen=True)
class Agreement(Tabled):
    """How alike two policies act."""

    observations: int
    ties: int  # choices that differ, where two were as good as each other
    largest_difference: float  # of real-valued actions, as a share of their range


def recorded(policy: TrainedPolicy, count: int, seed: int = 0) -> list[Shown]:
    """Return what a task shows in so many steps while the policy plays, its actions drawn as in training."""
    found: list[Shown] = []
    episode, ended = 0, True
    with closing(playing(policy.checkpoint.config.evaluated_in)) as env:
        source = masks.source(env, env.action_space.sample()) if policy.agent.obs_spec.num_masked else None
        read = masks.reader(policy.action_spec)
        while len(found) < count:
            if ended:
                obs, info = env.reset(seed=evaluation_seeds(seed, Purpose.EVALUATION, 1, after=episode)[0])
                policy.reset(seed=episode)
                episode += 1
            mask = None if source is None else read(source(env, info)).astype(np.int8)
            found.append(Shown(deepcopy(obs), mask, ended))
            obs, _, terminated, truncated, info = env.step(policy(obs, action_mask=mask, deterministic=False))
            ended = terminated or truncated
    policy.reset()
    return found


def compare(policy: TrainedPolicy, act: Act, shown: Sequence[Shown]) -> Agreement:
    """Return how alike a policy and `act` are, both greedy, at what was shown. Raises PpocliError where they differ."""
    size = 1 if policy.agent.memory_size else 256
    states: States = None
    own: torch.Tensor | None = None
    ties, largest = 0, 0.0
    for first in range(0, len(shown), size):
        some = shown[first : first + size]
        obs = batched(policy, [one.obs for one in some])
        mask = None if some[0].mask is None else np.stack([one.mask for one in some if one.mask is not None])
        if some[0].begins:
            states = own = None
        with torch.inference_mode():
            features, own = policy.agent.features(torch.from_numpy(policy.seen(obs, mask)), own)
            outputs = policy.agent.actor(features)
            expected = policy.to_env(policy.agent.distribution.mode(outputs).numpy())
        found, states = act(obs, mask, states)
        if isinstance(policy.action_spec, Continuous):
            largest = max(largest, _difference(policy, expected, found))
        else:
            ties += _ties(policy, outputs.numpy(), expected, found)
    if largest > CLOSE:
        raise PpocliError(f"the export does not act as the policy: its actions differ by {largest:.1e} of their range")
    return Agreement(len(shown), ties, largest)


def batched(policy: TrainedPolicy, observations: Sequence[Any]) -> Any:
    """Return observations as a vectorised environment has them."""
    space = policy.observation_space
    together: Any = create_empty_array(space, len(observations))
    return concatenate(space, observations, together)


def _difference(policy: TrainedPolicy, expected: Any, found: Any) -> float:
    space: Any = policy.action_space
    with np.errstate(invalid="ignore"):
        width = np.asarray(space.high, np.float64) - np.asarray(space.low, np.float64)
    scale = np.where(np.isfinite(width), width, np.maximum(1, np.abs(expected)))
    return float((np.abs(np.asarray(found, np.float64) - expected) / scale).max())


def _ties(policy: TrainedPolicy, logits: NDArray[Any], expected: Any, found: Any) -> int:
    """Return how many actions differ in what is as good. Raises PpocliError for one that differs otherwise."""
    start = np.asarray(getattr(policy.action_space, "start", 0)).ravel()
    ours, theirs = (np.asarray(actions).reshape(len(logits), -1) - start for actions in (expected, found))
    rows, first = np.arange(len(logits)), 0
    for part, number in enumerate(masks.choices_of(policy.action_spec)):
        of_part = logits[:, first : first + number]
        better = of_part[rows, ours[:, part].astype(int)] - of_part[rows, theirs[:, part].astype(int)]
        if (better > TIE).any():
            raise PpocliError("the export does not act as the policy: it makes other choices")
        first += number
    return int((ours != theirs).any(axis=1).sum())
