"""Whether training looks healthy: from its metrics so far to findings in plain words."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ppocli.envs.api import ActionSpec, Continuous
from ppocli.records.logs import Metrics

WINDOW = 10  # iterations that are looked at together, so that a hint does not come and go with each of them
FIRST_ITERATION = WINDOW + 1  # nothing is said before: an untrained critic is rightly poor, first steps rightly large

LARGEST_APPROX_KL = 0.03  # twice what the presets come to; those who end updates early by a target_kl take 0.01 to 0.05
LARGEST_KL = 0.05  # of a whole update, where nothing is estimated on its way; PPO's presets come to half of it
LARGEST_CLIP_FRACTION = 0.3  # the presets stay below 0.18; clipped samples teach nothing more: epochs are wasted
SMALLEST_EXPLAINED_VARIANCE = 0.0  # by its definition, 1 is a perfect critic, and 0 one that is as good as a constant
LARGEST_VALUE_LOSS_GROWTH = 30.0  # over the median of the first iterations with rewards; presets stay below 3
SMALLEST_TARGET_STD, LARGEST_TARGET_STD = 0.01, 30.0  # of value targets; a critic begins with answers near 1
SMALLEST_ENTROPY_SHARE = 0.02  # of the first iteration's, near that of choosing blindly; presets end at 0.05 or more
SMALLEST_STD_SHARE = 0.02  # the same of real-valued actions: of their standard deviation
LARGEST_SATURATION = 0.8  # of actions; of a standard normal distribution's 0.32 are beyond ± 1
UNTIL_LEARNED = 1 / 3  # of training: returns that are still what they were are said to be
SMALLEST_GAIN = 0.1  # of the spread of the first iterations' episodes: a smaller gain is taken for chance


_WORDS = {  # the advice and the explanation of a finding
    "approx_kl": (
        f"approx KL above {LARGEST_APPROX_KL:g}: steps too large; lower learning_rate or update_epochs",
        "Each update moves the policy so far that the samples it learns from no longer speak for it; what was learned "
        "may get lost. A smaller learning_rate, fewer update_epochs or a target_kl keep updates small.",
    ),
    "clip_fraction": (
        f"clip fraction above {LARGEST_CLIP_FRACTION:g}: steps too large; lower learning_rate, update_epochs",
        "So many samples have reached the limit that clip_coef sets and teach nothing more. A smaller learning_rate or "
        "fewer update_epochs make better use of them.",
    ),
    "kl": (
        f"KL of an update above {LARGEST_KL:g}: steps too large; lower learning_rate or target_kl",
        "Each update moves the policy so far that the samples it learns from no longer speak for it; what was learned "
        "may get lost. A smaller learning_rate, or target_kl where the algorithm has it, keeps updates small.",
    ),
    "line_search_steps": (
        "line search finds no step: collect more env steps, or lower target_kl",
        "No part of the step that was tried out made the policy better and moved it no further than target_kl, so it "
        "stays as it is. A larger rollout.horizon or env.num_envs makes gradients surer; more cg_iterations, a larger "
        "cg_damping or a smaller target_kl make steps more careful.",
    ),
    "value_loss": (
        "value loss exploding: lower learning_rate, or set normalize_rewards",
        "The critic's errors are many times those of the first iterations. Where rewards have grown with what the "
        "policy can do, rollout.normalize_rewards keeps them at an ordinary size; otherwise a smaller learning_rate, "
        "or a gamma below 1 where it is 1, keeps the critic from running after its own estimates.",
    ),
    "value_target_std": (
        "rewards far from ordinary size: critic learns poorly; set normalize_rewards",
        "What the critic is to learn has a standard deviation far from 1, which its first weights and the learning "
        "rate are made for; where it is large, max_grad_norm leaves nothing to the actor's gradient beside the "
        "critic's. rollout.normalize_rewards: true, or another reward_scale, helps.",
    ),
    "explained_variance": (
        "explained variance below 0: critic worse than a constant; check reward_scale",
        "Advantages measured by such a critic are mostly noise. Returns far from 1 are hard to learn: a smaller "
        "reward_scale or normalize_rewards helps, then another learning_rate, or more samples in an iteration.",
    ),
    "entropy": (
        "entropy near 0: hardly explores any more; if returns are poor, raise ent_coef",
        "The policy takes the same action nearly always and will not find a better one. That is fine when its returns "
        "are good; otherwise a larger ent_coef, or a smaller learning_rate at the start, keeps it trying.",
    ),
    "saturated_actions": (
        "most actions beyond their bounds, clipped: lower ent_coef or log_std_init",
        "Most actions are drawn beyond what the task allows and are clipped there, so that it sees little but "
        "extremes. That is fine when returns are good; otherwise a smaller ent_coef or log_std_init brings them back.",
    ),
    "return_mean": (
        "nothing learned in a third of training: try normalize_obs, ent_coef, env_steps",
        "Episodes return what they did at first. Where network.normalize_obs or rollout.normalize_rewards is off, turn "
        "it on first. If the reward is rare, it must be met by chance: a larger ent_coef or log_std_init tries more, a "
        "gamma nearer 1 sees further, more env_steps or num_envs meet it more often. If it is not, a random policy "
        "(ppocli random-baseline) and a film of an episode show what the task asks.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    metric: str  # a column of `metrics.csv`
    value: float  # over the last iterations: their mean, or the median for `explained_variance`
    advice: str  # what it means and what usually helps, short enough for a line of a terminal
    explanation: str  # the same with its reasons, for those who have the time


class Health:
    """Follows a training from its first iteration on: `add` each row of metrics, then ask for `findings`.

    Entropy is judged only where `action_spec` is known, progress only where `num_iterations` is.
    """

    def __init__(self, action_spec: ActionSpec | None = None, num_iterations: int | None = None) -> None:
        self._action_spec = action_spec
        self._num_iterations = num_iterations
        self._first: list[Metrics] = []  # of the training, at most WINDOW
        self._last: deque[Metrics] = deque(maxlen=WINDOW)
        self._first_losses: list[float] = []  # of the critic, since there was anything to learn, at most WINDOW

    def add(self, row: Metrics) -> None:
        """Take note of an iteration."""
        if row.iteration <= WINDOW:
            self._first.append(row)
        something_to_learn = row.value_target_std is None or row.value_target_std >= SMALLEST_TARGET_STD
        if something_to_learn and row.value_loss is not None and len(self._first_losses) < WINDOW:
            self._first_losses.append(row.value_loss)
        self._last.append(row)

    def findings(self, target: float | None = None) -> list[Finding]:
        """Return what is wrong in the last `WINDOW` iterations, the gravest first.

        `target` is the return that counts as solved: a policy that reaches it may be as sure of itself as it likes.
        """
        window = list(self._last)
        if len(window) < WINDOW or window[-1].iteration < FIRST_ITERATION:
            return []
        return [_finding(metric, value) for metric, value in self._found(window, target).items()]

    def _found(self, window: Sequence[Metrics], target: float | None) -> dict[str, float]:
        mean_return = _mean(window, "return_mean")
        solves = target is not None and mean_return is not None and mean_return >= target
        poor_policy = {} if solves else self._poor_policy(window, mean_return)
        return _too_large_steps(window) | self._poor_critic(window) | poor_policy

    def _poor_critic(self, window: Sequence[Metrics]) -> dict[str, float]:
        value_loss = _mean(window, "value_loss")
        largest = LARGEST_VALUE_LOSS_GROWTH * median(self._first_losses or [math.inf])
        if value_loss is not None and value_loss > largest:
            return {"value_loss": value_loss}
        # Where all episodes return the same, as in a solved CartPole, or none ends, there is little to explain.
        telling = [row for row in window if row.return_min != row.return_max]
        target_std = _mean(window, "value_target_std")
        if target_std is not None and (target_std > LARGEST_TARGET_STD or (telling and self._always_small(target_std))):
            return {"value_target_std": target_std}
        explained = [row.explained_variance for row in telling if row.explained_variance is not None]
        if len(explained) <= WINDOW / 2:
            return {}
        # The median: a single iteration in which returns hardly vary may come to -10.
        explained_variance = median(explained)
        return {"explained_variance": explained_variance} if explained_variance < SMALLEST_EXPLAINED_VARIANCE else {}

    def _poor_policy(self, window: Sequence[Metrics], mean_return: float | None) -> dict[str, float]:
        found = {}
        entropy, at_first = _mean(window, "entropy"), _mean(self._first[:1], "entropy")
        if entropy is not None and at_first is not None and self._hardly_explores(entropy, at_first):
            found["entropy"] = entropy
        saturated = _mean(window, "saturated_actions")
        if saturated is not None and saturated > LARGEST_SATURATION:
            found["saturated_actions"] = saturated
        late = self._num_iterations is not None and window[-1].iteration >= UNTIL_LEARNED * self._num_iterations
        if late and mean_return is not None and mean_return <= _return_by_chance(self._first):
            found["return_mean"] = mean_return
        return found

    def _always_small(self, target_std: float) -> bool:
        """Whether value targets vary as little as at first: a good policy may return nearly the same everywhere."""
        at_first = _mean(self._first, "value_target_std")
        return at_first is not None and max(at_first, target_std) < SMALLEST_TARGET_STD

    def _hardly_explores(self, entropy: float, initial: float) -> bool:
        """Whether the entropy is next to nothing of what it was; that of real numbers may be below 0 and is a log."""
        match self._action_spec:
            case None:
                return False
            case Continuous(bounded):
                return math.exp((entropy - initial) / len(bounded)) < SMALLEST_STD_SHARE
            case _:
                return entropy < SMALLEST_ENTROPY_SHARE * initial


def _too_large_steps(window: Sequence[Metrics]) -> dict[str, float]:
    """Return the first sign of it that there is; what an algorithm does not measure is no sign."""
    limits = {"approx_kl": LARGEST_APPROX_KL, "clip_fraction": LARGEST_CLIP_FRACTION}
    for metric, limit in limits.items() if window[0].approx_kl is not None else [("kl", LARGEST_KL)]:
        if (mean := _mean(window, metric)) is not None and mean > limit:
            return {metric: mean}
    searches = [row.line_search_steps for row in window if row.line_search_steps is not None]
    in_vain = sum(row.step_length == 0 for row in window)
    return {"line_search_steps": fmean(searches)} if searches and in_vain > WINDOW / 2 else {}


def _return_by_chance(first: Sequence[Metrics]) -> float:
    """Return the mean return up to which all may be chance, from the first iterations; −∞ if no episode ended there."""
    means = [row.return_mean for row in first if row.return_mean is not None]
    lowest = min((row.return_min for row in first if row.return_min is not None), default=0.0)
    highest = max((row.return_max for row in first if row.return_max is not None), default=0.0)
    return means[0] + SMALLEST_GAIN * (highest - lowest) if means else -math.inf


def _mean(rows: Sequence[Metrics], metric: str) -> float | None:
    """Return the mean of a metric over the rows that have it, None where none does."""
    known = [value for value in (getattr(row, metric) for row in rows) if value is not None]
    return fmean(known) if known else None


def _finding(metric: str, value: float) -> Finding:
    advice, reasons = _WORDS[metric]
    average = "median" if metric == "explained_variance" else "mean"
    return Finding(metric, value, advice, f"{metric} is {value:.4g}, the {average} of {WINDOW} iterations. {reasons}")
