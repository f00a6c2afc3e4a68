"""What three errors in the advantages do to a learning curve: each is trained beside PPO as it should be.

    python examples/notebook_errors.py --config lunar --env-steps 300000 --seeds 5 --output errors.png

The notebook that this tool grew from had all three. Each stands here for `compute_gae` while a run is trained, by a few
lines that replace it in this process alone. To `ppocli plot` all of them would be runs of one config, and so the
learning curves are drawn here, a curve each.
"""

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np

from ppocli.algorithm.advantages import compute_gae
from ppocli.config.load import load_config
from ppocli.evaluation.curves import Axis, Group, Statistic
from ppocli.pictures.figures import learning_curves
from ppocli.records.info import Command
from ppocli.training.job import new_job
from ppocli.training.loop import train


def right(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """As it should be."""
    return compute_gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda)


def across_episodes(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """What the next episode earns is credited to the actions of this one: advantages run on across its end."""
    nowhere = np.zeros_like(terminated)
    # The value after an end is 0, as it should be; only the sum does not stop there.
    lasting = np.where(terminated, 0, next_values)
    return compute_gae(rewards, values, lasting, nowhere, nowhere, gamma, gae_lambda)


def none_at_the_end(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """The last step of each rollout has no advantage, and its value for a return."""
    advantages, _ = compute_gae(
        rewards[:-1], values[:-1], next_values[:-1], terminated[:-1], truncated[:-1], gamma, gae_lambda
    )
    advantages = np.concatenate([advantages, np.zeros_like(advantages[:1])])
    return advantages, advantages + values


def limit_is_death(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """An episode whose time is over counts as one that has failed: nothing would have come after."""
    return compute_gae(rewards, values, next_values, terminated | truncated, truncated, gamma, gae_lambda)


def all_three(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """As the notebook had it."""
    ended = terminated | truncated
    return none_at_the_end(
        rewards, values, np.where(ended, 0, next_values), np.zeros_like(ended), np.zeros_like(ended), gamma, gae_lambda
    )


def main() -> None:
    """Train every variant from every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="lunar")
    parser.add_argument("--env-steps", type=int, default=300_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs/notebook-errors"))
    parser.add_argument("--output", type=Path, default=Path("notebook-errors.png"))
    options = parser.parse_args()
    runs = {variant: [] for variant in (right, across_episodes, none_at_the_end, limit_is_death, all_three)}
    for seed in range(options.seeds):
        config = load_config(options.config, [f"train.env_steps={options.env_steps}"], seed)
        for variant, trained in runs.items():
            job = new_job(config, Command(), options.runs_dir, variant.__name__, stop_when_solved=False)
            with patch("ppocli.algorithm.rollout.compute_gae", variant):
                *_, last = train(job)
            trained.append(job.run)
            print(f"seed {seed}  {variant.__name__:16}  return {last.verdict.recent_return:8.1f}", flush=True)
    groups = [
        Group(config.env.id, variant.__name__.replace("_", " "), job.run.info.target_return, tuple(trained))
        for variant, trained in runs.items()
    ]
    learning_curves(groups, Axis.ENV_STEPS, Statistic.MEAN).savefig(options.output, dpi=150)
    print(options.output)


if __name__ == "__main__":
    main()
