"""Episode after episode in each of N environments, for training and evaluation alike."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.envs.api import Step, VectorEnv, numbers
from ppocli.errors import CheckpointError, NonFiniteError, ReplayError, warn

_LARGEST = float(np.finfo(np.float32).max)  # of the numbers that learning can hold
_NEVER = np.iinfo(np.int64).max  # so many env steps


@dataclass(frozen=True)
class Episode:
    """A finished episode."""

    environment: int  # index of the environment that played it
    seed: int
    episode_return: float  # sum of the raw rewards
    episode_length: int  # env steps
    terminated: bool
    truncated: bool
    env_steps: int  # env steps that all environments together had taken when it ended
    info: Mapping[str, float] = field(default_factory=dict)  # those of the info keys that came with its end


class Episodes:
    """Plays environments on and on: knows where each episode stands, which have finished, and what seed comes next.

    `seed_of(environment, number)` is the seed of the environment's `number`-th episode, None when it has no more.
    Raises NonFiniteError for an observation or a reward that is not finite.

    Where all episodes are equally long, environments that began at once would end at once for ever, and a rollout of
    fewer steps would hold but one part of an episode. So where the limit is beyond `longest_in_step`, those that begin
    at once are truncated, the first environment's after 1/N of the limit, the next one's after 2/N, and are not among
    the `finished`. Where the task states no limit, this waits until all have begun and ended at once.

    With the `state` that `state_dict` of other Episodes returned, they resume where those stood: an environment cannot
    be saved, but an episode is its seed and its actions, which are played again. Raises ReplayError when that leads
    elsewhere, CheckpointError for a state of other environments. With `replay` off each environment begins its next
    episode instead.
    """

    def __init__(
        self,
        envs: VectorEnv,
        seed_of: Callable[[int, int], int | None],
        state: Mapping[str, NDArray[Any]] | None = None,
        *,
        replay: bool = True,
        longest_in_step: float = math.inf,
    ) -> None:
        self.envs = envs
        self.env_steps = 0
        self.finished: list[Episode] = []  # in the last step
        self.seeds: list[int | None] = [None] * envs.num_envs  # of the current episodes; None where there are no more
        self._seed_of = seed_of
        self._longest_in_step = longest_in_step
        self._give_up_at = np.full(envs.num_envs, _NEVER)  # env steps of the current episodes
        self._numbers = np.zeros(envs.num_envs, dtype=int)
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, dtype=int)
        self._playing = np.zeros(envs.num_envs, dtype=bool)
        self._ended: list[int] = []  # environments whose episode the last step ended, finished or not
        self._actions: list[NDArray[Any]] = []  # of the last steps, as far back as the longest current episode goes
        self.obs: NDArray[Any]  # (N, *obs_spec.shape): what the next actions answer to, after `step` and `start_next`
        if state is not None:
            state = {"give_up_at": self._give_up_at.copy(), **state}  # there was none before version 0.3.0
            self._check_form(state)
            self._numbers[:] = state["numbers"]
        if state is None or not replay:
            self.obs = self._start(list(range(envs.num_envs)))
            if not envs.limit_is_assumed:
                self._put_out_of_step(envs.episode_limit)
        else:
            self._replay(state)
            self._give_up_at[:] = state["give_up_at"]
        if state is not None:
            self.env_steps = int(state["env_steps"])

    @property
    def any_playing(self) -> bool:
        """Whether any environment has an episode under way."""
        return bool(self._playing.any())

    def step(self, actions: NDArray[Any]) -> Step:
        """Take actions (N,) and collect the episodes they end in `finished`."""
        step = self.envs.step(actions)
        self.env_steps += int(np.count_nonzero(self._playing))
        self._returns += step.rewards
        self._lengths += self._playing
        self._actions.append(actions)
        self._check_finite("reward", step.rewards)
        self._check_finite("observation", numbers(self.envs.obs_spec, step.obs))
        self.obs = step.obs
        given_up = (self._lengths >= self._give_up_at) & ~(step.terminated | step.truncated)
        step = step._replace(truncated=step.truncated | given_up)
        self._ended = ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        self.finished = [
            Episode(
                environment=index,
                seed=self._seed(index),
                episode_return=float(self._returns[index]),
                episode_length=int(self._lengths[index]),
                terminated=bool(step.terminated[index]),
                truncated=bool(step.truncated[index]),
                env_steps=self.env_steps,
                info={} if step.infos is None else _known(self.envs.info_keys, step.infos[index].tolist()),
            )
            for index in ended
            if not given_up[index]
        ]
        limit = self.envs.episode_limit
        if self.envs.limit_is_assumed and any(episode.episode_length == limit for episode in self.finished):
            why = "as it has no limit; env.max_episode_steps sets one"
            warn(f"{self.envs.env_id}: an episode was truncated after {limit:,} env steps, {why}")
        return step

    def start_next(self) -> None:
        """Start the next episode in each environment in which the last step ended one, finished or given up."""
        if self._ended:
            length = int(self._lengths[0])
            all_at_once = len(self._ended) == self.envs.num_envs and bool((self._lengths == length).all())
            self.obs = self._start(self._ended)
            if all_at_once:
                self._put_out_of_step(length)
            # Now and then, so that it costs nothing: the list is at most twice as long as it must be.
            if len(self._actions) > 2 * self._lengths.max():
                self._forget_old_actions()

    def begin_anew(self) -> None:
        """Start the next episode everywhere, as others have played in these environments. Those under way are lost."""
        if self._lengths.any():
            warn(f"{self.envs.env_id}: an evaluation has ended the training episode under way, which is not counted")
        self.obs = self._start(list(range(self.envs.num_envs)))
        self._forget_old_actions()

    def snapshot(self) -> "Episodes":
        """Return a twin that knows how the episodes stand now, for its `state_dict` later; it cannot play."""
        twin = copy.copy(self)
        twin._numbers, twin._lengths = self._numbers.copy(), self._lengths.copy()
        twin._returns, twin._actions = self._returns.copy(), self._actions.copy()
        twin._give_up_at = self._give_up_at.copy()
        return twin

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return what the current episodes can be made from again; all must be playing, after `start_next`."""
        self._forget_old_actions()
        taken = np.stack(self._actions) if self._actions else self._no_actions()
        by_environment = [taken[len(taken) - length :, index] for index, length in enumerate(self._lengths.tolist())]
        return {
            "env_steps": np.array(self.env_steps),
            "numbers": self._numbers.copy(),
            "lengths": self._lengths.copy(),
            "give_up_at": self._give_up_at.copy(),
            "returns": self._returns.copy(),
            "obs": self.obs.copy(),
            # One environment after the other, each with its `lengths` actions.
            "actions": np.concatenate(by_environment),
        }

    def _replay(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Play the current episodes of `state` from their seeds, so that all arrive at the same step."""
        self.seeds = [self._seed_of(index, number - 1) for index, number in enumerate(self._numbers.tolist())]
        lengths, ends = state["lengths"], np.cumsum(state["lengths"])
        differs = np.zeros(self.envs.num_envs, dtype=bool)
        for left in reversed(range(int(lengths.max()) + 1)):
            starting = np.flatnonzero(lengths == left).tolist()
            if starting:
                self.obs = self.envs.reset(starting, [self._seed(index) for index in starting])
                self._playing[starting] = True
            if left:
                actions = np.zeros(self._no_actions().shape[1:], dtype=self.envs.action_spec.dtype)
                actions[self._playing] = state["actions"][ends[self._playing] - left]
                try:
                    step = self.step(actions)
                except Exception as error:
                    raise ReplayError(f"an environment does not take the same actions again: {error}") from error
                differs |= step.terminated | step.truncated
        differs |= self._returns != state["returns"]
        differs |= (self.obs != state["obs"]).reshape(len(lengths), -1).any(1)
        if differs.any():
            index = int(np.flatnonzero(differs)[0])
            raise ReplayError(
                f"environment {index} does not replay: its episode with seed {self.seeds[index]} went another way with "
                f"the same {lengths[index]} actions, so that it depends on more than these"
            )

    def _check_form(self, state: Mapping[str, NDArray[Any]]) -> None:
        num_envs, num_actions = self.envs.num_envs, int(state["lengths"].sum()) if "lengths" in state else 0
        expected = {
            "env_steps": (),
            **dict.fromkeys(("numbers", "lengths", "give_up_at", "returns"), (num_envs,)),
            "obs": (num_envs, *self.envs.obs_spec.shape),
            "actions": (num_actions, *self.envs.action_spec.shape),
        }
        shapes = {name: values.shape for name, values in state.items()}
        integers = {name for name, values in state.items() if values.dtype.kind == "i"}
        whole = integers >= {"env_steps", "numbers", "lengths", "give_up_at"}
        if shapes != expected or not whole or state["lengths"].min() < 0 or state["numbers"].min() < 1:
            raise CheckpointError("the episodes in the checkpoint are not those of such environments")

    def _no_actions(self) -> NDArray[Any]:
        spec = self.envs.action_spec
        return np.zeros((0, self.envs.num_envs, *spec.shape), dtype=spec.dtype)

    def _forget_old_actions(self) -> None:
        del self._actions[: len(self._actions) - int(self._lengths.max())]

    def _start(self, environments: list[int]) -> NDArray[Any]:
        for index in environments:
            self.seeds[index] = self._seed_of(index, int(self._numbers[index]))
            self._playing[index] = self.seeds[index] is not None
        self._numbers[environments] += 1
        self._returns[environments], self._lengths[environments] = 0.0, 0
        self._give_up_at[environments] = _NEVER
        starting = [index for index in environments if self._playing[index]]
        obs = self.envs.reset(starting, [self._seed(index) for index in starting])
        self._check_finite("observation", numbers(self.envs.obs_spec, obs))
        return obs

    def _put_out_of_step(self, length: int) -> None:
        """Have the episodes but the last environment's truncated, one after the other, if they may be so long."""
        num_envs = self.envs.num_envs
        if length > self._longest_in_step:
            self._give_up_at[:-1] = -(-length * np.arange(1, num_envs) // num_envs)  # rounded up

    def _check_finite(self, what: str, values: NDArray[Any]) -> None:
        if float(np.vdot(values, values)) <= _LARGEST**2:  # at once, and where it is not so, one by one
            return
        usable = np.abs(values) <= _LARGEST  # which NaN is not
        if usable.all():
            return
        index = int(np.argwhere(~usable)[0][0])
        found, place = values[index], f"step {self._lengths[index]} of the episode with seed {self.seeds[index]}"
        why = f"beyond {_LARGEST:.1e}, where learning ends" if np.isfinite(found).all() else "not a finite number"
        raise NonFiniteError(f"{self.envs.env_id}: its {what} in {place} is {found.tolist()}: {why}")

    def _seed(self, environment: int) -> int:
        seed = self.seeds[environment]
        assert seed is not None
        return seed


def _known(keys: Sequence[str], numbers: Sequence[float]) -> dict[str, float]:
    return {key: number for key, number in zip(keys, numbers, strict=True) if number == number}  # which NaN is not
