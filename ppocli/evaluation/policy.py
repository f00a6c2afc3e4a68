"""A trained agent as a function: from what its environment shows to what it takes."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from ppocli.algorithm.agent import States, as_states, forgotten
from ppocli.envs import masks, spaces
from ppocli.envs.api import numbers
from ppocli.envs.make import single_env
from ppocli.errors import UsageError
from ppocli.evaluation.agents import load_agent
from ppocli.guests import UnexpectedError
from ppocli.notebook import html_table
from ppocli.records.checkpoint import Checkpoint


class TrainedPolicy:
    """The agent of a checkpoint, called with an observation, or several, for the action, or actions, that it takes.

    Observations are as the task's `reset` and `step` give them, through the wrappers of its config, and actions as
    `step` takes them; several are as a vectorised environment has them, with an axis of N before all others. An agent
    with a memory remembers what it has been shown; `reset` lets it forget. Calls of one policy are not to overlap.
    """

    def __init__(self, saved: Checkpoint) -> None:
        config = saved.config.evaluated_in
        with closing(single_env(config)) as envs:
            self.observation_space, self.action_space = envs.observation_space, envs.action_space
            self.checkpoint = saved
            self.agent = load_agent(saved, envs)
        _, self._row = spaces.observations(config.id, self.observation_space, pictures=config.pictures)
        self.action_spec, self.to_env = spaces.actions(config.id, self.action_space)
        self._read_mask = masks.reader(self.action_spec)
        self._rng = np.random.default_rng(0)
        self._states: States = None

    def __call__(self, obs: Any, *, action_mask: Any = None, deterministic: bool = True) -> Any:
        """Return the action at an observation, or the actions (N, ...) at N of them.

        Where the task masks its actions, `action_mask` says what is allowed, for each observation as the task does; by
        default all is. Unless `deterministic`, actions are drawn as in training. Raises UsageError for what is no such
        observation, or another number of them than it remembers.
        """
        is_batch = self._is_batch(obs)
        seen = self.seen(obs, action_mask) if is_batch else self._rows([obs], [action_mask])
        if self._states is not None and len(self._states) != len(seen):
            raise UsageError(
                f"the policy remembers what it was shown of {len(self._states)} episodes, and now it is {len(seen)}; "
                "policy.reset() lets it forget"
            )
        tensor, states = torch.from_numpy(seen), self.agent.optional(self._states)
        with torch.inference_mode():
            if deterministic:
                actions, after = self.agent.mode(tensor, states)
            else:
                noise = torch.from_numpy(self.agent.draw_noise(self._rng, len(seen)))
                actions, after = self.agent.sample(tensor, noise, states)
        self._states = as_states(after)
        taken = self.to_env(actions.numpy())
        return taken if is_batch else taken[0]

    def reset(self, ended: Any = None, *, seed: int | None = None) -> None:
        """Forget all episodes, or of N those that have `ended` (N,); with a seed, draw actions from it from now on."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._states = None if ended is None else forgotten(self._states, np.asarray(ended, bool))

    def __repr__(self) -> str:
        return f"<policy of {self.checkpoint.path}, {self.checkpoint.config.env.id}>"

    def _repr_html_(self) -> str:
        learned = f"{self.checkpoint.progress.env_steps:,} env steps, by {self.checkpoint.config.algorithm}"
        about = {"policy of": self.checkpoint.config.env.id, "observations": self.observation_space}
        return html_table([*about.items(), ("actions", self.action_space), ("learned from", learned)])

    def seen(self, obs: Any, action_masks: Any = None) -> NDArray[Any]:
        """Return N observations and their masks as the agent takes them, (N, *obs_spec.shape). Raises UsageError."""
        number = len(next(spaces.leaves(self.observation_space)).of(obs))
        return self._rows([*iterate(batch_space(self.observation_space, number), obs)], action_masks)

    def _rows(self, observations: Sequence[Any], action_masks: Any) -> NDArray[Any]:
        spec = self.agent.obs_spec
        seen = np.zeros((len(observations), *spec.shape), spec.dtype)
        try:
            for row, obs in zip(seen, observations, strict=True):
                flat = self._row(obs)
                row[: len(flat)] = flat
            if spec.num_masked:
                beside = numbers(spec, seen)[:, spec.size :]
                beside[:] = 1
                for row, mask in zip(beside, [None] * len(seen) if action_masks is None else action_masks, strict=True):
                    if mask is not None:
                        row[:] = self._read_mask(mask)
        except (UnexpectedError, ValueError) as error:
            raise UsageError(f"the policy was shown something else than its task shows: {error}") from error
        return seen

    def _is_batch(self, obs: Any) -> bool:
        """Whether there is an axis of N before those of the space."""
        leaf = next(spaces.leaves(self.observation_space))
        try:
            return np.ndim(leaf.of(obs)) > len(leaf.space.shape or ())
        except (LookupError, TypeError, ValueError):
            return False  # which it is refused for
