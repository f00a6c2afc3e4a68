"""The commands as functions: the same code paths, and nothing that is global to the program is touched."""

import json
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import gymnasium as gym

from ppocli.config.load import config_from, load_config
from ppocli.config.models import Config
from ppocli.evaluation import NUM_EPISODES, results
from ppocli.evaluation.comparison import Comparison
from ppocli.evaluation.comparison import compare as compare_runs
from ppocli.evaluation.curves import Axis, drawable, without_repeats
from ppocli.evaluation.policy import TrainedPolicy
from ppocli.evaluation.statistics import AgentResult, BaselineResult
from ppocli.files import check_output
from ppocli.library.progress import listeners
from ppocli.library.runs import Runs
from ppocli.pictures import figures
from ppocli.portable.write import FORMATS, Exported
from ppocli.portable.write import export as write_policy
from ppocli.records import catalog, checkpoint
from ppocli.records.checkpoint import Checkpoint
from ppocli.records.info import Command
from ppocli.records.run import Run, baseline_folder
from ppocli.training import loop
from ppocli.training.job import Job, Origin, new_job
from ppocli.training.outcome import Iteration, Outcome, TrainingResult, follow
from ppocli.training.resume import resume_job

RUNS_DIR = Path("runs")
Factory = Callable[..., gym.Env[Any, Any]]
"""What makes an environment that no registry knows; with `render_mode`, where it is to be drawn."""
Settings = str | Path | Mapping[str, Any] | Config
"""A preset's name, the path of a YAML file, what stands in one, or what was made of it."""
Meant = str | Path | TrainingResult | TrainedPolicy
"""A run or checkpoint as the commands take it, what a training came to, or a policy that was loaded."""


class Options(TypedDict, total=False):
    """What a training may be asked for."""

    env: Factory  # the environment, where no registry knows it
    overrides: Mapping[str, Any]  # values of dotted keys, in the place of the config's
    seed: int  # instead of `train.seed`
    name: str  # appended to that of the run's directory
    runs_dir: str | Path  # where that is made, by default "runs"
    stop_when_solved: bool
    begin_from: Meant  # with whose agent it begins


def train(config: Settings | None = None, **options: Unpack[Options]) -> TrainingResult:
    """Train an agent to the end, and return what came of it; its run lies in `run_dir`.

    Without a config it has the defaults, in the environment that `env` makes. Raises PpocliError. What interrupts it
    leaves the checkpoint that was due last, from which `resume` goes on.
    """
    started = time.perf_counter()
    return _done(_new_job(config, options), started)


def train_iter(config: Settings | None = None, **options: Unpack[Options]) -> Generator[Iteration]:
    """Do what `train` does, and yield each iteration once its logs and checkpoints are written.

    Closing the generator ends training, and leaves a checkpoint.
    """
    return loop.train(_new_job(config, options))


def resume(
    run: Meant = "latest",
    *,
    env: Factory | None = None,
    overrides: Mapping[str, Any] | None = None,
    runs_dir: str | Path = RUNS_DIR,
    allow_inexact: bool = False,
) -> TrainingResult:
    """Train a run that was stopped to its end, or to the later one in `overrides`; return what came of it.

    `env` is what made its environment, where no registry knows it. Raises PpocliError.
    """
    started = time.perf_counter()
    path, found = _checkpoint(run, runs_dir)
    target = Run(path.parents[1]) if found is None else found
    _register(env, target.config.env.id)
    command = Command(command=_CALLED, overrides=_written(overrides))
    return _done(resume_job(target, command, allow_inexact=allow_inexact), started)


def load(run: Meant = "latest", *, env: Factory | None = None, runs_dir: str | Path = RUNS_DIR) -> TrainedPolicy:
    """Return the policy of a run's best checkpoint, or of a checkpoint. Raises PpocliError."""
    return TrainedPolicy(_saved(run, env, runs_dir)[0])


def evaluate(
    run: Meant = "latest",
    *,
    episodes: int = NUM_EPISODES,
    seed: int = 0,
    deterministic: bool = True,
    env: Factory | None = None,
    runs_dir: str | Path = RUNS_DIR,
) -> AgentResult:
    """Play unseen episodes, and the same ones at random; return how both did. Raises PpocliError."""
    saved, of = _saved(run, env, runs_dir)
    return results.evaluate_checkpoint(saved, of, episodes, seed, sampled=not deterministic)


def export(
    run: Meant,
    output: str | Path,
    *,
    stochastic: bool = False,
    env: Factory | None = None,
    runs_dir: str | Path = RUNS_DIR,
) -> Exported:
    """Write a policy as an ONNX model or a C header, as the file's name ends; return how it was checked.

    Raises PpocliError, too where it would act otherwise than the policy.
    """
    saved, of = _saved(run, env, runs_dir)
    check_output(Path(output), FORMATS)
    return write_policy(TrainedPolicy(saved), Path(output), of, stochastic=stochastic)


def random_baseline(
    config: Settings, *, episodes: int = NUM_EPISODES, seed: int = 0, runs_dir: str | Path = RUNS_DIR
) -> BaselineResult:
    """Play episodes at random; return how that did. Raises PpocliError."""
    known = _config(config, {})
    return results.make_baseline(known, baseline_folder(Path(runs_dir), known.env.id), episodes, seed)


def list_runs(runs_dir: str | Path = RUNS_DIR) -> Runs:
    """Return how each run below a folder stands, the oldest first. Raises RunError for one that is damaged."""
    return Runs(catalog.summarize_run(run) for run in catalog.all_runs(Path(runs_dir)))


def plot(runs: Meant | Sequence[Meant], output: str | Path | None = None, *, runs_dir: str | Path = RUNS_DIR) -> Path:
    """Draw a run beside the random policy, or the learning curves of several; return where the figure lies.

    Raises PpocliError.
    """
    found, _ = drawable(_runs([runs], runs_dir), Axis.ENV_STEPS)
    return figures.draw(found, None if output is None else Path(output))


def compare(
    *runs: Meant | Sequence[Meant], env: Factory | None = None, runs_dir: str | Path = RUNS_DIR
) -> list[Comparison]:
    """Compare the configs of runs over their seeds, each with that of the first run of its environment.

    Raises PpocliError.
    """
    found = _runs(runs, runs_dir)
    for run in found:
        _register(env, run.config.env.id)
    return compare_runs(found)


_CALLED = [Path(sys.argv[0]).name, "(import ppocli)"]  # in the place of a command


def _new_job(config: Settings | None, options: Options) -> Job:
    settings = _config(config, options)
    _register(options.get("env"), settings.env.id)
    runs_dir, name = Path(options.get("runs_dir", RUNS_DIR)), options.get("name")
    called = str(config) if isinstance(config, str | Path) else ""
    command = Command(command=_CALLED, config_name=Path(called).stem, overrides=_written(options.get("overrides")))
    job = new_job(settings, command, runs_dir, name, stop_when_solved=options.get("stop_when_solved", False))
    if "begin_from" not in options:
        return job
    return replace(job, origin=Origin(_saved(options["begin_from"], None, runs_dir)[0]))


def _config(config: Settings | None, options: Options) -> Config:
    overrides = _written(options.get("overrides"))
    if (factory := options.get("env")) is not None:
        overrides.append(f"env.id={_id_of(factory)}")
    if isinstance(config, str | Path):
        return load_config(str(config), overrides, options.get("seed"))
    values = config.as_written() if isinstance(config, Config) else config or {}
    return config_from(values, overrides, options.get("seed"))


def _written(overrides: Mapping[str, Any] | None) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]


def _done(job: Job, started: float) -> TrainingResult:
    outcome = Outcome(job)
    with listeners(job) as showing:
        follow(loop.train(job, started=started), [outcome.add, *showing])
    return outcome.result(time.perf_counter() - started, interrupted=False)


def _saved(run: Meant, env: Factory | None, runs_dir: str | Path) -> tuple[Checkpoint, Run | None]:
    path, of = _checkpoint(run, runs_dir)
    saved = checkpoint.load(path)
    _register(env, saved.config.env.id)
    return saved, of


def _checkpoint(run: Meant, runs_dir: str | Path) -> tuple[Path, Run | None]:
    return catalog.find_checkpoint(_target(run), Path(runs_dir))


def _runs(meant: Sequence[Meant | Sequence[Meant]], runs_dir: str | Path) -> list[Run]:
    """Return the runs that are meant, one by one or several at once; of the same config and seed, one."""
    each = [one for some in meant for one in ([some] if isinstance(some, Meant) else some)]
    return without_repeats(catalog.find_runs([*map(_target, each)], Path(runs_dir)))[0]


def _target(run: Meant) -> str:
    match run:
        case TrainingResult():
            return str(run.run_dir)
        case TrainedPolicy():
            return str(run.checkpoint.path)
    return str(run)


def _id_of(factory: Factory) -> str:
    """Return what an environment that a function makes is called."""
    name = "".join(letter for letter in getattr(factory, "__name__", "") if letter.isalnum() or letter == "_")
    return f"made/{name or 'Factory'}-v0"


def _register(factory: Factory | None, env_id: str) -> None:
    """Have Gymnasium know under an id what a function makes, in this program."""
    if factory is not None:
        gym.registry.pop(env_id, None)
        gym.register(env_id, factory)
