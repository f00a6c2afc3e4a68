"""Draws `docs/hints.png`: for each hint a training that provokes it, the number that tells, when the hint stands."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ppocli.config.models import Config
from ppocli.envs.make import action_spec_of
from ppocli.evaluation import health
from ppocli.pictures import figures
from ppocli.records.logs import Metrics
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.training.job import Job
from ppocli.training.loop import train

PICTURE = Path(__file__).parent / "hints.png"


class EverMore(gym.Wrapper[Any, Any, Any, Any]):
    """Pays for each step of an episode the square of its number: the better the policy, the larger the rewards."""

    def reset(self, **options: Any) -> Any:
        """Begin to count."""
        self.steps = 0
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        """Pay."""
        obs, _, *ended, info = self.env.step(action)
        self.steps += 1
        return obs, float(self.steps**2) / 10_000, *ended, info


gym.register("EverMoreCartPole-v0", lambda **options: EverMore(gym.make("CartPole-v1", **options)))


@dataclass(frozen=True)
class Provocation:
    """What brings a hint about."""

    how: str
    env_id: str
    settings: dict[str, dict[str, Any]]
    env_steps: int
    limit: float | None = None  # that is drawn


QUICK = {"horizon": 64, "normalize_rewards": True}
AS_THEY_ARE = {"horizon": 64, "normalize_rewards": False}
PROVOCATIONS = {
    "approx_kl": Provocation(
        "CartPole, learning rate 0.01",
        "CartPole-v1",
        {"rollout": QUICK, "update": {"minibatch_size": 64, "learning_rate": 0.01}},
        20_000,
        health.LARGEST_APPROX_KL,
    ),
    "value_loss": Provocation(
        "CartPole, each step pays more",
        "EverMoreCartPole-v0",
        {"rollout": AS_THEY_ARE, "update": {"minibatch_size": 256}},
        40_000,
    ),
    "value_target_std": Provocation(
        "Pendulum, rewards × 10",
        "Pendulum-v1",
        {"rollout": {**AS_THEY_ARE, "reward_scale": 10}, "update": {"minibatch_size": 64}},
        20_000,
        health.LARGEST_TARGET_STD,
    ),
    "entropy": Provocation(
        "FrozenLake, learning rate 0.05",
        "FrozenLake-v1",
        {"rollout": QUICK, "update": {"minibatch_size": 64, "learning_rate": 0.05}},
        20_000,
    ),
    "saturated_actions": Provocation(
        "Pendulum, entropy bonus 0.3",
        "Pendulum-v1",
        {"rollout": QUICK, "update": {"minibatch_size": 64, "learning_rate": 1e-3, "ent_coef": 0.3}},
        40_000,
        health.LARGEST_SATURATION,
    ),
    "return_mean": Provocation(
        "MountainCar, raw observations",
        "MountainCar-v0",
        {"network": {"normalize_obs": False}, "rollout": QUICK, "update": {"minibatch_size": 256}},
        20_000,
    ),
}


def provoked(metric: str) -> tuple[list[Metrics], list[list[str]]]:
    """Train, and return the rows of metrics, and the metrics of what was found after each."""
    asked = PROVOCATIONS[metric]
    config = Config.model_validate(
        {
            "env": {"id": asked.env_id, "num_envs": 8, "workers": 0},
            "network": {"normalize_obs": True},
            "train": {"env_steps": asked.env_steps, "eval_interval": 10**9, "eval_episodes": 1},
            **asked.settings,
        }
    )
    follower, rows, found = health.Health(action_spec_of(config.env), config.num_iterations), [], []
    with tempfile.TemporaryDirectory() as folder:
        for iteration in train(Job(config, RunWriter(Run(Path(folder) / "run")))):
            rows.append(iteration.metrics)
            follower.add(iteration.metrics)
            found.append([finding.metric for finding in follower.findings()])
    return rows, found


def draw(axes: Axes, metric: str, rows: Sequence[Metrics], found: Sequence[Sequence[str]]) -> None:
    """Draw a number over env steps, and in grey where the hint stands."""
    asked = PROVOCATIONS[metric]
    points = [(row.env_steps, getattr(row, metric)) for row in rows if getattr(row, metric) is not None]
    axes.plot(*zip(*points, strict=True), color=figures.AGENT, linewidth=1.5)
    batch = rows[0].env_steps
    for row, metrics in zip(rows, found, strict=True):
        if metric in metrics:
            axes.axvspan(row.env_steps - batch, row.env_steps, color="#d8d8d8", linewidth=0)
    if asked.limit is not None:
        axes.axhline(asked.limit, color=figures.TARGET, linewidth=1, linestyle="--")
    if metric in ("value_loss", "value_target_std", "approx_kl"):
        axes.set_yscale("log")
    axes.set_title(asked.how, fontsize=10, loc="left")
    axes.set_ylabel(metric)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def main() -> None:
    """Draw them all."""
    with rc_context(figures.STYLE):
        figure = Figure(figsize=(10, 6), layout="constrained")
        for axes, metric in zip(figure.subplots(2, 3).flat, PROVOCATIONS, strict=True):
            draw(axes, metric, *provoked(metric))
        figure.supxlabel("env steps")
        figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
