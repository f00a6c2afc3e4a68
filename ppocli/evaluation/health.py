"""Whether training looks healthy: from the last iterations' metrics to findings in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ppocli.records.logs import Metrics

WINDOW = 10  # iterations that are looked at together, so that a hint does not come and go with each of them
FIRST_ITERATION = WINDOW + 1  # nothing is said before: an untrained critic is rightly poor, first steps rightly large

LARGEST_APPROX_KL = 0.03  # twice what the presets come to; those who end updates early by a target_kl take 0.01 to 0.05
LARGEST_CLIP_FRACTION = 0.3  # the presets stay below 0.18; clipped samples teach nothing more: epochs are wasted
SMALLEST_EXPLAINED_VARIANCE = 0.0  # by its definition, 1 is a perfect critic, and 0 one that is as good as a constant
SMALLEST_ENTROPY_SHARE = 0.02  # of the first iteration's, near that of choosing blindly; presets end at 0.05 or more


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
}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    metric: str  # a column of `metrics.csv`
    value: float  # over the last iterations: their mean, or the median for `explained_variance`
    advice: str  # what it means and what usually helps, short enough for a line of a terminal
    explanation: str  # the same with its reasons, for those who have the time


def findings(
    recent: Sequence[Metrics], *, initial_entropy: float | None = None, target: float | None = None
) -> list[Finding]:
    """Return what is wrong in the last `WINDOW` of the `recent` iterations, the gravest first.

    `initial_entropy` is the first iteration's where actions are discrete; without it, entropy is not judged: that of
    real-valued actions may be any number. `target` is the return that counts as solved.
    """
    window = list(recent)[-WINDOW:]
    if len(window) < WINDOW or window[-1].iteration < FIRST_ITERATION:
        return []
    found = {}
    if (approx_kl := fmean(row.approx_kl for row in window)) > LARGEST_APPROX_KL:
        found["approx_kl"] = approx_kl
    elif (clip_fraction := fmean(row.clip_fraction for row in window)) > LARGEST_CLIP_FRACTION:  # a sign of the same
        found["clip_fraction"] = clip_fraction
    # Where all episodes return the same, as in a solved CartPole, or none ends, there is next to nothing to explain.
    telling = [row.explained_variance for row in window if row.return_min != row.return_max]
    # The median: a single iteration in which returns hardly vary may come to -10.
    if len(telling) > WINDOW / 2 and median(telling) < SMALLEST_EXPLAINED_VARIANCE:
        found["explained_variance"] = median(telling)
    # A policy that solves its task may be as sure of itself as it likes.
    returns = [row.return_mean for row in window if row.return_mean is not None]
    solves = target is not None and returns and fmean(returns) >= target
    entropy = fmean(row.entropy for row in window)
    if initial_entropy is not None and entropy < SMALLEST_ENTROPY_SHARE * initial_entropy and not solves:
        found["entropy"] = entropy
    return [_finding(metric, value) for metric, value in found.items()]


def _finding(metric: str, value: float) -> Finding:
    advice, reasons = _WORDS[metric]
    average = "median" if metric == "explained_variance" else "mean"
    return Finding(metric, value, advice, f"{metric} is {value:.4f}, the {average} of {WINDOW} iterations. {reasons}")
