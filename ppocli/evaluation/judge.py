"""Whether training has solved its task, and which agent is its best so far."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppocli.algorithm.agent import Agent, States
from ppocli.config.models import Config
from ppocli.envs.api import VectorEnv
from ppocli.envs.episodes import Episode
from ppocli.errors import CheckpointError
from ppocli.evaluation import NUM_EPISODES
from ppocli.evaluation.estimates import may_average
from ppocli.evaluation.play import evaluate, greedy
from ppocli.evaluation.statistics import Verdict, target_return
from ppocli.seeds import Purpose, evaluation_seeds

RECENT_EPISODES = 20
SHARE_OF_THE_WAY = 2 / 3
"""Training asks whether the greedy policy has solved the task when the last RECENT_EPISODES have come such a share of
the way to the target, from the first ones; after a check that failed, when they have gained such a share of what it
lacked. They explore, and most of them were begun by a policy several iterations old.
"""
FIRST_EPISODES = 20
"""Of a solved check; the others are only played where they may still make up for what these lack."""
GROWTH_BETWEEN_CHECKS = 1.1
"""By what factor training is longer at the next check, at least; when it is twice that, it asks whatever was gained."""


class EvaluationStopped(Exception):  # noqa: N818 - nothing went wrong
    """Somebody has asked to stop while episodes were played."""


class Judge:
    """Watches training, plays greedy episodes in `envs` when it is time to, and remembers how well it went.

    With `first_solver_wins` the agent that solves the task is the best, whatever came before and after it. Raises
    EvaluationStopped as soon as `should_stop` says so while it plays; it is of no use after that.
    """

    def __init__(
        self, config: Config, envs: VectorEnv, *, first_solver_wins: bool, should_stop: Callable[[], bool]
    ) -> None:
        self.target = target_return(config, envs)
        self.envs = envs
        self.best_return: float | None = None
        self.without_better = 0  # evaluations in a row that were no better than one before
        self._config = config
        self._first_solver_wins = first_solver_wins
        self._should_stop = should_stop
        self._recent_returns: deque[float] = deque(maxlen=NUM_EPISODES)
        self._asks_at: float | None = None  # what the RECENT_EPISODES must average; unknown until there are so many
        self._solved = False
        self._checks, self._next_check = 0, 0  # how many there were, and the iteration before which there is none

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return what it remembers."""
        return {
            "recent_returns": np.array(self._recent_returns, dtype=np.float64),
            "best_return": _optional(self.best_return),
            "without_better": np.array(self.without_better),
            "asks_at": _optional(self._asks_at),
            "solved": np.array(self._solved),
            "checks": np.array(self._checks),
            "next_check": np.array(self._next_check),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state that `state_dict` returned. Raises CheckpointError for anything else."""
        unknown = {"checks": np.array(0), "asks_at": _optional(None), "without_better": np.array(0)}
        state = unknown | dict(state)  # of an earlier version
        forms = {name: (values.ndim, values.dtype.kind) for name, values in state.items()}
        if forms != {name: (values.ndim, values.dtype.kind) for name, values in self.state_dict().items()}:
            raise CheckpointError("the checkpoint does not hold what training has found out so far")
        self._recent_returns.extend(state["recent_returns"].tolist())
        self.best_return, self._asks_at = (
            next(iter(state[name].tolist()), None) for name in ("best_return", "asks_at")
        )
        self._solved, self.without_better = bool(state["solved"]), int(state["without_better"])
        self._checks, self._next_check = int(state["checks"]), int(state["next_check"])

    def ask_again(self) -> None:
        """Forget that the task was solved, as it has another target now."""
        self._solved, self._next_check, self._asks_at = False, 0, None

    def judge(
        self,
        agent: Agent,
        iteration: int,
        episodes: Sequence[Episode],
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> Verdict:
        """Judge the agent after `iteration` (counted from 0), in which `episodes` have ended.

        The last one is always judged in full: by how many there are, by `out_of_time`, or by `train.patience`.
        """
        self._recent_returns.extend(episode.episode_return for episode in episodes)
        batch_size, settings = self._config.batch_size, self._config.train
        before, after = (count * batch_size // settings.eval_interval for count in (iteration, iteration + 1))
        is_last, checks = iteration + 1 == self._config.num_iterations or out_of_time(), self._checks
        solved_return, eval_return, is_best = None, None, False
        if is_last or self._has_a_fair_chance(iteration):
            solved_return = self._check_solved(agent, iteration)
        ends = solved_return is not None and self._first_solver_wins
        if not ends and (is_last or after > before or out_of_time()):  # which a check may have taken until
            eval_return, is_best = self._evaluate(agent)
            if not is_last and self._asks_after(eval_return):
                solved_return = self._check_solved(agent, iteration)
        if solved_return is not None and self._first_solver_wins:
            self.best_return, is_best = solved_return, True
        recent_return = float(np.mean(self._recent_returns)) if self._recent_returns else None
        played = eval_return is not None or self._checks > checks
        return Verdict(solved_return, eval_return, is_best, recent_return, self.target, played)

    def _evaluate(self, agent: Agent) -> tuple[float, bool]:
        """Return the mean return of a periodic evaluation, and whether the agent is the best so far."""
        settings = self._config.train
        seeds = evaluation_seeds(settings.seed, Purpose.PERIODIC_EVALUATION, settings.eval_episodes)
        eval_return, best = float(np.mean(self._greedy_returns(agent, seeds))), self.best_return
        self.without_better = 0 if best is None or eval_return > best else self.without_better + 1
        # A tie goes to the later agent, which has learned from more.
        is_best = best is None or eval_return >= best
        self.best_return = eval_return if is_best else best
        return eval_return, is_best

    def _asks_after(self, eval_return: float) -> bool:
        """Whether an evaluation gives reason to ask whether the task is solved.

        So does the one that ends training for want of a better, and one that reaches the target in another form of the
        task than training's, whose returns tell nothing of it.
        """
        patience, reached = self._config.train.patience, self.target is not None and eval_return >= self.target
        return (self._is_measured_elsewhere and reached) or self.without_better >= (patience or math.inf)

    @property
    def _is_measured_elsewhere(self) -> bool:
        return self._config.evaluated_in != self._config.env

    def _check_solved(self, agent: Agent, iteration: int) -> float | None:
        """Return the mean return of the check that finds the task solved, None when it is not, or was before.

        Every check plays episodes of its own, or asking often enough would find a lucky answer.
        """
        if self.target is None or self._solved:
            return None
        seed, played_before = self._config.train.seed, self._checks * NUM_EPISODES
        seeds = evaluation_seeds(seed, Purpose.SOLVED_CHECK, NUM_EPISODES, after=played_before)
        self._checks += 1
        returns = self._greedy_returns(agent, seeds[:FIRST_EPISODES])
        if may_average(self.target, returns, NUM_EPISODES):
            returns += self._greedy_returns(agent, seeds[FIRST_EPISODES:])
        checked = fmean(returns)  # rounded once: 100 times 0.99 is no less than 0.99
        self._solved = checked >= self.target and len(returns) == NUM_EPISODES
        self._next_check = math.ceil(GROWTH_BETWEEN_CHECKS * (iteration + 1)) - 1
        if (recent_return := self._recent_return()) is not None:
            self._asks_at = _when_to_ask(self.target, recent_return, checked)
        return checked if self._solved else None

    def _recent_return(self) -> float | None:
        recent = [*self._recent_returns][-RECENT_EPISODES:]
        return float(np.mean(recent)) if len(recent) == RECENT_EPISODES else None

    def _has_a_fair_chance(self, iteration: int) -> bool:
        """Whether what training returns gives reason to ask whether the task is solved."""
        recent_return = self._recent_return()
        if self.target is None or recent_return is None or self._is_measured_elsewhere:
            return False
        if self._asks_at is None:
            self._asks_at = _when_to_ask(self.target, recent_return, recent_return)
        if iteration < self._next_check:
            return False
        return recent_return >= self._asks_at or 0 < 2 * self._next_check <= iteration

    def _greedy_returns(self, agent: Agent, seeds: Sequence[int]) -> list[float]:
        act = greedy(agent)

        def policy(
            obs: NDArray[Any], states: States, generators: Sequence[np.random.Generator]
        ) -> tuple[NDArray[Any], States]:
            if self._should_stop():
                raise EvaluationStopped
            return act(obs, states, generators)

        return [episode.episode_return for episode in evaluate(self.envs, policy, seeds)]


def _when_to_ask(target: float, recent_return: float, measured: float) -> float:
    """Return what training has to average, when it averages `recent_return` and the policy is worth `measured`."""
    return min(target, recent_return + SHARE_OF_THE_WAY * (target - measured))


def _optional(value: float | None) -> NDArray[np.float64]:
    """Return a number that there may not be yet, as an array of one or none."""
    return np.array([] if value is None else [value], dtype=np.float64)
