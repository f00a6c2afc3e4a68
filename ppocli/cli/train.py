"""`ppocli train`: one run, several seeds, or what is left of a run."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ppocli.cli import options
from ppocli.cli.options import option
from ppocli.cli.process import importing, imports_of, let_threads_wait, require_imports
from ppocli.errors import PpocliError, UsageError
from ppocli.guests import import_modules
from ppocli.signals import StopRequest, end_in_order, ending_after, handling, stop_request

if TYPE_CHECKING:
    from ppocli.config.models import Config
    from ppocli.records.info import Command
    from ppocli.training.job import Job, Origin

_from = option("--from RUN", "Begin with the agent of a run or checkpoint.", autocompletion=options.complete_run)
_resume = option("--resume RUN", "Resume a run that was stopped, or killed.", autocompletion=options.complete_run)


def train_command(
    config: options.OptionalConfig = None,
    resume: Annotated[str | None, _resume] = None,
    begin_from: Annotated[str | None, _from] = None,
    keep_optimizer: Annotated[bool, option("--keep-optimizer", "With --from: go on with its optimizer, too.")] = False,
    overrides: options.Set = None,
    algorithm: Annotated[str | None, option("--algorithm NAME", "ppo, vpg, npg or trpo; overrides algorithm.")] = None,
    seed: Annotated[int | None, option("--seed N", "Overrides train.seed.", min=0)] = None,
    seeds: Annotated[str | None, option("--seeds 0-4|0,3,7", "Train several, each a run, and compare them.")] = None,
    jobs: Annotated[
        int | None, option("--jobs N", "With --seeds: how many at a time; by default one a core.", min=1)
    ] = None,
    name: Annotated[str | None, option("--name NAME", "Appended to the run's directory name.")] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    stop_when_solved: Annotated[bool, option("--stop-when-solved", "End once the task is solved.")] = False,
    allow_inexact: Annotated[
        bool, option("--allow-inexact", "With --resume: new episodes where the old ones cannot be continued.")
    ] = False,
    tensorboard: Annotated[
        bool, option("--tensorboard", "Write curves for TensorBoard, too; train.tensorboard.")
    ] = False,
    imports: options.Import = None,
    quiet: Annotated[bool, option("--quiet", "Show no progress.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train an agent, or resume a run.

    A new run gets a directory under runs/. --resume continues as the run began; with --set train.env_steps=N beyond its
    end.
    """
    if resume is None and config is None:
        raise UsageError("Missing option '--config' (or '--resume', to resume a run); ppocli train --help tells more")
    if resume is not None and (
        config or algorithm or seeds or name or stop_when_solved or begin_from or seed is not None
    ):
        takes_no = "it takes no --config, --from, --algorithm, --seed, --seeds, --name or --stop-when-solved"
        raise UsageError(f"--resume continues a run as it began; {takes_no}")
    if allow_inexact and resume is None:
        raise UsageError("--allow-inexact goes with --resume")
    if keep_optimizer and begin_from is None:
        raise UsageError("--keep-optimizer goes with --from")
    if seed is not None and seeds is not None:
        raise UsageError("--seed trains one run and --seeds several; choose one")
    if jobs is not None and seeds is None:
        raise UsageError("--jobs goes with --seeds")
    chosen = [f"algorithm={algorithm}"] * bool(algorithm) + ["train.tensorboard=true"] * tensorboard
    launch = Launch(
        config=config or "",
        overrides=[*(overrides or []), *chosen],
        runs_dir=runs_dir,
        name=name,
        stop_when_solved=stop_when_solved,
        imports=imports_of(imports),
        quiet=quiet,
        as_json=as_json,
        begin_from=begin_from,
        keep_optimizer=keep_optimizer,
    )
    if seeds is not None:
        _train_several(launch, seeds, jobs)
    _train_one(launch, seed, resume, allow_inexact)


@dataclass(frozen=True)
class Launch:
    """What the command asks of each run that it trains."""

    config: str
    overrides: list[str]
    runs_dir: Path
    name: str | None
    stop_when_solved: bool
    imports: list[str]
    quiet: bool
    as_json: bool
    begin_from: str | None
    keep_optimizer: bool

    def origin(self) -> "Origin | None":
        """Return what each run begins with; None where it knows nothing. Raises RunError, CheckpointError."""
        from ppocli.records import catalog, checkpoint
        from ppocli.training.job import Origin

        if self.begin_from is None:
            return None
        path, _ = catalog.find_checkpoint(self.begin_from, self.runs_dir)
        return Origin(checkpoint.load(path), self.keep_optimizer)

    def job(self, config: "Config", command: "Command", origin: "Origin | None", workers: int | None = None) -> "Job":
        """Return the job of training a new run. Raises UsageError."""
        from ppocli.training.job import new_job

        job = new_job(
            config, command, self.runs_dir, self.name, stop_when_solved=self.stop_when_solved, workers=workers
        )
        return replace(job, origin=origin)


def _train_one(launch: Launch, seed: int | None, resume: str | None, allow_inexact: bool) -> NoReturn:
    started = time.perf_counter()
    with importing():
        from ppocli.config.load import load_config
        from ppocli.envs import make
        from ppocli.envs.api import Pictures
        from ppocli.records import catalog, info
        from ppocli.training.resume import moved_schedules, resume_job

        command = info.command_of(sys.argv, launch.config, launch.overrides)
        if resume is None:
            settings = load_config(launch.config, launch.overrides, seed)
            job = launch.job(settings, command, launch.origin())
        else:
            job = resume_job(catalog.find_run(resume, launch.runs_dir), command, allow_inexact=allow_inexact)
        import_modules(launch.imports)
        if job.resumes:
            require_imports(job.run)
        with handling(end_in_order):
            environments = make.make_environments(job.config, job.progress.iterations)
        let_threads_wait(idly=False)
        with handling(ending_after(environments.close)):
            from ppocli.device import keep_freed_memory  # and torch, while worker processes start
            from ppocli.training import loop, outcome, setup
            from ppocli.views import console, progress, results
    if job.saved is not None and (changes := setup.inexactness(job.saved)):
        console.info(f"warning: the last bits may differ from those of an uninterrupted run: {', '.join(changes)}")
    if job.resumes and job.run.info.code_now:
        console.info("warning: the task's code is another than when the run began; it goes on with what it is now")
    if job.saved is not None and (moves := moved_schedules(job.saved, job.config)):
        end = job.saved.config.train.env_steps
        advice = f"--set train.schedule_env_steps={end} leaves schedules as they were, at their end"
        console.info(f"warning: with another end of training, {', '.join(moves)}; {advice}")
    spec = environments.training.obs_spec
    if isinstance(spec, Pictures):
        console.info(f"seen: {spec}; those of one iteration take {setup.rollout_bytes(job.config, spec) / 1e6:,.0f} MB")
    keep_freed_memory()
    sums = outcome.Outcome(job)
    with (
        stop_request() as stop,
        progress.training_progress(job, stop, environments.training, quiet=launch.quiet) as show,
    ):
        # Still in here: what stops training early also has time to write its last checkpoint.
        iterations = loop.train(job, environments, started=started, should_stop=stop.__bool__)
        outcome.follow(iterations, [sums.add, show], stop.__bool__)
    result = sums.result(time.perf_counter() - started, interrupted=bool(stop))
    if stop:
        console.info(f"Interrupted. To resume: {console.command('train --resume', console.shell_path(result.run_dir))}")
    _print_result(result, results.training_result, launch, stop)
    raise typer.Exit(stop.exit_code)


def _train_several(launch: Launch, seeds: str, jobs: int | None) -> NoReturn:
    """Train several seeds, evaluate each, and compare them."""
    started = time.perf_counter()
    let_threads_wait(idly=True)
    with importing():
        from ppocli.config.load import load_config
        from ppocli.records.info import command_of
        from ppocli.training.outcome import follow
        from ppocli.training.seeds import Failure, Message, over_seeds, parse_seeds, share_out, train_seeds
        from ppocli.views import progress, results

    numbers, command = parse_seeds(seeds), command_of(sys.argv, launch.config, launch.overrides)
    shared = load_config(launch.config, launch.overrides)
    import_modules(launch.imports)
    at_a_time, workers = share_out(shared, len(numbers), jobs)
    origin = launch.origin()
    each = [launch.job(shared.changed("train", seed=number), command, origin, workers) for number in numbers]
    ended: dict[int, Message] = {}
    with stop_request() as stop, progress.SeedsProgress(shared, numbers, stop, quiet=launch.quiet) as display:
        messages = train_seeds(each, at_a_time, imports=launch.imports, should_stop=stop.__bool__)
        follow(messages, [lambda message: ended.update([message]), display.update])
    seconds = time.perf_counter() - started
    together = over_seeds(shared.env.id, numbers, ended, at_a_time=at_a_time, seconds=seconds, stopped=bool(stop))
    failures = [end for end in ended.values() if isinstance(end, Failure)]
    sys.stderr.write("".join(dict.fromkeys(failure.frames for failure in failures)))
    results.seeds_without_result(together)
    if together.runs and not stop:
        together = replace(together, figure=_figure([run.run_dir for run in together.runs], seeds))
    _print_result(together, results.seeds_result, launch, stop)
    raise typer.Exit(stop.exit_code or max((failure.exit_code for failure in failures), default=0))


def _figure(run_dirs: list[Path], seeds: str) -> Path | None:
    """Draw the learning curve over the seeds; None where there is none, as is said."""
    with importing("Drawing"):
        from ppocli.evaluation.curves import WHY_LEFT_OUT, Axis, drawable
        from ppocli.pictures import figures
        from ppocli.records.run import Run
        from ppocli.views import console
    seeds = seeds.replace(",", "_").replace(" ", "")[:100]  # as names of files have an end
    output = run_dirs[0].parent / "plots" / f"{run_dirs[0].name.partition('-')[0]}-seeds-{seeds}.png"
    try:
        runs, left_out = drawable([Run(folder) for folder in run_dirs], Axis.ENV_STEPS)
        for run in left_out:
            console.info(f"warning: not in the figure: {run.path}: {WHY_LEFT_OUT}")
        with console.working("Drawing"):
            return figures.draw(runs, output)
    except PpocliError as error:  # of training so short that there is nothing to draw
        console.info(f"warning: no figure: {error}")
        return None


def _print_result(result: Any, show: Callable[[Any], None], launch: Launch, stop: StopRequest) -> None:
    from ppocli.views import console

    try:
        if launch.as_json:
            console.as_json(result)
        else:
            show(result)
    except OSError:
        if not stop:  # a hang-up took the terminal along, and is what to report
            raise
