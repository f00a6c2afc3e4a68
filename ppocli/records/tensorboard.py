"""A run's curves as TensorBoard shows them, under the names that Stable-Baselines3 gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ppocli.errors import PpocliError
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run

_NAMES = {
    "return_mean": "rollout/ep_rew_mean",
    "length_mean": "rollout/ep_len_mean",
    "success_rate": "rollout/success_rate",
    "env_steps_per_second": "time/fps",
    "seconds": "time/time_elapsed",
    "policy_loss": "train/policy_gradient_loss",
    "eval_return_mean": "eval/mean_reward",
}
_NO_CURVE = ("iteration", "env_steps", "info")


class Curves:
    """Writes events into a folder of its own, in the place of those that are there, from `begin` to `close`."""

    def __init__(self, folder: Path) -> None:
        """Raises PpocliError without the package tensorboardX."""
        self._folder, self._make = folder, import_tensorboard()
        self._writer: Any = None

    def begin(self, metrics: Sequence[Metrics], episodes: Sequence[LoggedEpisode]) -> None:
        """Write what there is so far, so that a resumed run has each env step once. Raises OSError."""
        for old in self._folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = self._make(str(self._folder))
        for row in metrics:
            self.add(row, ())
        for episode in episodes:
            self._add_episode(episode)
        self._writer.flush()

    def add(self, row: Metrics, episodes: Sequence[LoggedEpisode]) -> None:
        """Write an iteration, and the episodes that ended in it."""
        for field in fields(row):
            value = getattr(row, field.name)
            if field.name not in _NO_CURVE and value is not None:
                self._scalar(_NAMES.get(field.name, f"train/{field.name}"), value, row.env_steps)
        for key, mean in row.info.items():
            self._scalar(f"info/{key}", mean, row.env_steps)
        for episode in episodes:
            self._add_episode(episode)

    def close(self, settings: Mapping[str, Any], results: Mapping[str, float]) -> None:
        """Write what the run was asked for, and what came of it, and close the file."""
        if self._writer is None:
            return
        if results:
            from tensorboardX.summary import hparams  # type: ignore[import-untyped]

            simple = {
                key: value if isinstance(value, bool | int | float | str) else str(value)
                for key, value in settings.items()
            }
            for summary in hparams(simple, dict(results)):
                self._writer.file_writer.add_summary(summary)
            for name, value in results.items():
                self._writer.add_scalar(name, value)
        self._writer.close()

    def _add_episode(self, episode: LoggedEpisode) -> None:
        self._scalar("episode/return", episode.episode_return, episode.env_steps)
        self._scalar("episode/length", episode.episode_length, episode.env_steps)

    def _scalar(self, name: str, value: float, env_steps: int) -> None:
        self._writer.add_scalar(name, float(value), env_steps)


def import_tensorboard() -> Any:
    """Return what writes events. Raises PpocliError without it."""
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]
    except ImportError as error:
        raise PpocliError('TensorBoard needs the package tensorboardX: pip install "ppocli[tensorboard]"') from error
    return SummaryWriter


def write(run: Run, folder: Path) -> None:
    """Write the curves of a run into a folder. Raises PpocliError, OSError."""
    curves = Curves(folder)
    metrics = run.metrics()
    curves.begin(metrics, run.episodes())
    curves.close(run.config.leaves(), results_of(metrics))


def results_of(metrics: Sequence[Metrics]) -> dict[str, float]:
    """Return what came of a run, as TensorBoard's table of hyperparameters has it."""
    judged = [row.eval_return_mean for row in metrics if row.eval_return_mean is not None]
    return {"hparam/best_return": max(judged), "hparam/last_return": judged[-1]} if judged else {}
