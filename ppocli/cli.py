"""The `ppocli` command: parses, calls, prints, and sets the exit code.

Imports nothing heavy at the top, so that `--help` and a mistyped option answer at once; each command imports what it
needs.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from ppocli import __version__
from ppocli.errors import PpocliError, UsageError, one_line

if TYPE_CHECKING:
    from ppocli.checkpoint import Checkpoint
    from ppocli.envs.api import VectorEnv
    from ppocli.evaluate import Policy

app = typer.Typer(
    name="ppocli",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Train, evaluate and watch PPO agents on Gymnasium tasks.",
)

ConfigOption = Annotated[
    str, typer.Option("--config", metavar="FILE|PRESET", help="A YAML file, or the name of a preset such as lunar.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example ppo.gamma=0.99. Repeatable."),
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Where runs lie.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
EpisodesOption = Annotated[int, typer.Option("--episodes", min=1, help="How many episodes.")]
EvaluationSeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Chooses the episodes; no training run ever plays them.")
]
StochasticOption = Annotated[bool, typer.Option("--stochastic", help="Draw actions as in training.")]
TargetArgument = Annotated[
    str, typer.Argument(metavar="RUN|CHECKPOINT", help="A run directory, latest, or a .safetensors file.")
]
ImportOption = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="A module of yours that registers environments. Repeatable."),
]
RUNS_DIR = Path("runs")


def main() -> NoReturn:
    """Run the command line and exit: 0, 2 for wrong usage, 1 for other failures, 128+n on signal n."""
    try:
        _make_streams_safe()
        code = app(sys.argv[1:] or ["--help"], prog_name="ppocli", standalone_mode=False)
    except PpocliError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _fail(f"{error.format_message()} (ppocli --help and ppocli COMMAND --help list what there is)", error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        _fail(f"{error.filename or 'files'}: {error.strerror or error}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, exit_code: int) -> NoReturn:
    with suppress(OSError):
        print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(exit_code)


def _make_streams_safe() -> None:
    """Let every stream lead somewhere, and hold every character.

    One that is closed would give its number to the next file that is opened, which would then get what is meant for it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _show_version(show: bool) -> None:
    if show:
        print(f"ppocli {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


@app.command("train")
def train_command(
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE|PRESET", help="A YAML file, or the name of a preset such as lunar."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped, or killed.")
    ] = None,
    overrides: SetOption = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Overrides train.seed.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Appended to the run's directory name.")] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    stop_when_solved: Annotated[bool, typer.Option("--stop-when-solved", help="End once the task is solved.")] = False,
    allow_inexact: Annotated[
        bool,
        typer.Option("--allow-inexact", help="With --resume: new episodes where the old ones cannot be gone on with."),
    ] = False,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an agent, in a new directory under runs/, or go on with one.

    --resume goes on as the run began; with --set train.env_steps=N beyond its end.
    """
    started = time.perf_counter()
    if resume is None and config is None:
        raise UsageError(
            "Missing option '--config' (or '--resume', to go on with a run); ppocli train --help tells more"
        )
    if resume is not None and (config is not None or seed is not None or name is not None or stop_when_solved):
        raise UsageError(
            "--resume goes on with a run as it began; it takes no --config, --seed, --name or --stop-when-solved"
        )
    if allow_inexact and resume is None:
        raise UsageError("--allow-inexact goes with --resume")
    from ppocli import console
    from ppocli.signals import stop_request

    saved = None
    with console.working("Starting"), _importing():
        _import_modules(imports)
        from ppocli.config import load_config
        from ppocli.envs.make import make_environments
        from ppocli.runs import PhaseSeconds, find_run, new_run

        if resume is None:
            settings = load_config(config or "", overrides or (), seed)
            run = new_run(runs_dir, settings, name)
        else:
            from ppocli.resume import inexactness, newest_checkpoint, resumed_config, stops_when_solved

            run = find_run(resume, runs_dir)
            run.lock()
            saved = newest_checkpoint(run)
            settings = resumed_config(run, saved, overrides or ())
            stop_when_solved = stops_when_solved(run, saved, settings)
        iterations = 0 if saved is None else saved.progress.iterations
        environments = make_environments(settings, iterations)  # their workers start while torch is imported
        from ppocli.checkpoint import Progress
        from ppocli.evaluate import target_return
        from ppocli.train import train
    progress = Progress() if saved is None else saved.progress
    if saved is not None and (changes := inexactness(saved)):
        console.info(f"warning: the last bits may differ from those of an uninterrupted run: {', '.join(changes)}")
    phases = PhaseSeconds(progress.seconds)
    with stop_request() as stop, console.TrainingProgress(settings, progress.env_steps) as bar:
        reports = train(
            settings,
            run,
            environments,
            stop_when_solved=stop_when_solved,
            started=started,
            resume=resume is not None,
            saved=saved,
            allow_inexact=allow_inexact,
            should_stop=lambda: bool(stop),
        )
        with closing(reports):  # still in here: what stops training early also has time to write its last checkpoint
            for report in reports:
                progress = report.progress
                bar.update(report)
                phases.add(report.metrics)
                if stop:
                    break
    wall_seconds = time.perf_counter() - started
    result: dict[str, Any] = {
        "run_dir": str(run.path.absolute()),
        "env_id": settings.env.id,
        "seed": settings.train.seed,
        "env_steps": progress.env_steps,
        "iterations": progress.iterations,
        "wall_seconds": wall_seconds,
        "seconds": phases.shares(wall_seconds),
        "env_steps_per_second": progress.env_steps / (progress.seconds or wall_seconds),
        "solved": progress.solved_at_env_steps is not None,
        "solved_at_env_steps": progress.solved_at_env_steps,
        "solved_at_seconds": progress.solved_at_seconds,
        "best_return": progress.best_return,
        "checkpoint": str(run.chosen_checkpoint().absolute()),
        "interrupted": bool(stop),
    }
    if stop:
        console.info(f"Interrupted. To go on: ppocli train --resume {console.shell_path(run.path)}")
    try:
        if as_json:
            _print_json(result)
        else:
            console.training_result(result, target_return(settings))
    except OSError:
        if not stop:  # a hang-up took the terminal along, and is what to report
            raise
    raise typer.Exit(stop.exit_code)


@app.command("evaluate")
def evaluate_command(
    target: TargetArgument,
    num_episodes: EpisodesOption = 100,
    seed: EvaluationSeedOption = 0,
    stochastic: StochasticOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained agent beside a random one.

    Both play the same episodes, which no training run has seen.
    """
    _import_modules(imports)
    from ppocli import console

    with console.working("Starting"), _importing():
        from ppocli.envs.make import evaluation_envs
        from ppocli.evaluate import episode_lists, evaluate, random, statistics
        from ppocli.files import write_json
        from ppocli.runs import find_checkpoint
        from ppocli.seeds import Purpose, evaluation_seeds
    path, run = find_checkpoint(target, runs_dir)
    saved = _load_checkpoint(path)
    seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
    with closing(evaluation_envs(saved.config.env)) as envs, console.working(f"Playing {num_episodes} episodes"):
        episodes = evaluate(envs, _trained_policy(saved, envs, stochastic), seeds)
        random_episodes = evaluate(envs, random(envs.action_spec), seeds)
    result = {
        **statistics(saved.config, episodes, seed, deterministic=not stochastic),
        "checkpoint": str(path.absolute()),
        "random_baseline": statistics(saved.config, random_episodes, seed, deterministic=False),
    }
    if run is not None:
        write_json(run.evaluation, {**result, **episode_lists(episodes)})
    if as_json:
        _print_json(result)
        return
    console.result(console.short_path(path))
    console.result(f"{num_episodes} unseen episodes of {saved.config.env.id}, seed {seed}")
    agent = "agent, stochastic" if stochastic else "agent, greedy"
    console.statistics({agent: result, "random policy": result["random_baseline"]})
    if run is not None:
        console.info(f"written to {console.short_path(run.evaluation)}")


@app.command("random-baseline")
def random_baseline_command(
    config: ConfigOption,
    overrides: SetOption = None,
    num_episodes: EpisodesOption = 100,
    seed: EvaluationSeedOption = 0,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure random actions just as evaluate would."""
    _import_modules(imports)
    started = time.perf_counter()
    from ppocli import console
    from ppocli.config import load_config
    from ppocli.envs.make import evaluation_envs
    from ppocli.evaluate import episode_lists, evaluate, random, statistics
    from ppocli.files import write_atomically, write_json
    from ppocli.runs import baseline_folder, write_episodes
    from ppocli.seeds import Purpose, evaluation_seeds

    settings = load_config(config, overrides or ())
    with closing(evaluation_envs(settings.env)) as envs, console.working(f"Playing {num_episodes} episodes"):
        seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
        episodes = evaluate(envs, random(envs.action_spec), seeds)
    folder = baseline_folder(runs_dir, settings.env.id)
    result = {
        **statistics(settings, episodes, seed, deterministic=False),
        "run_dir": str(folder.absolute()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.yaml", settings.to_yaml().encode())
    write_episodes(folder / "episodes.csv", episodes, seconds=time.perf_counter() - started)
    write_json(folder / "evaluation.json", {**result, **episode_lists(episodes)})
    if as_json:
        _print_json(result)
        return
    console.result(f"{num_episodes} episodes of {settings.env.id}, seed {seed}")
    console.statistics({"random policy": result})
    console.info(f"written to {console.short_path(folder)}")


@app.command("render")
def render_command(
    target: Annotated[
        str | None,
        typer.Argument(metavar="RUN|CHECKPOINT", help="A run directory, latest, or a .safetensors file."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE.mp4|FILE.gif",
            help="By default an mp4 in the run's videos/; GIF is for short clips.",
        ),
    ] = None,
    human: Annotated[bool, typer.Option("--human", help="Show a window instead of writing a file.")] = False,
    num_episodes: EpisodesOption = 1,
    seed: EvaluationSeedOption = 0,
    stochastic: StochasticOption = False,
    random_actions: Annotated[bool, typer.Option("--random", help="Watch random actions; takes --config.")] = False,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE|PRESET", help="With --random: the environment's config.")
    ] = None,
    overrides: SetOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
) -> None:
    """Record an episode as a video, or show it.

    A video needs no display; --human opens a window.
    """
    _import_modules(imports)
    if random_actions and (config is None or target is not None):
        raise UsageError("render --random takes --config FILE|PRESET and no RUN")
    if not random_actions and target is None:
        raise UsageError("render takes a RUN or CHECKPOINT, or else --random with --config FILE|PRESET")
    if not random_actions and (config is not None or overrides):
        raise UsageError("a RUN or CHECKPOINT has its own config; --config and --set go with --random")
    if human and output is not None:
        raise UsageError("--human shows a window and --output writes a file; choose one")
    from ppocli import console, render
    from ppocli.config import load_config
    from ppocli.envs.gymnasium import GymnasiumVectorEnv
    from ppocli.envs.make import SLOTS
    from ppocli.evaluate import random
    from ppocli.runs import baseline_folder, find_checkpoint
    from ppocli.seeds import Purpose, evaluation_seeds

    saved = None
    if target is None:
        settings = load_config(config or "", overrides or ())
        folder, stem = baseline_folder(runs_dir, settings.env.id) / "videos", "random"
    else:
        path, run = find_checkpoint(target, runs_dir)
        saved = _load_checkpoint(path)
        settings = saved.config
        folder = Path() if run is None else run.videos
        stem = f"{path.stem}-stochastic" if stochastic else path.stem
    output = output or folder / f"{stem}-seed{seed}.mp4"
    if human:
        render.check_display()
    else:
        render.check_output(output)
    with closing(GymnasiumVectorEnv(settings.env, SLOTS, "human" if human else "rgb_array")) as envs:
        policy = random(envs.action_spec) if saved is None else _trained_policy(saved, envs, stochastic)
        seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
        if human:
            episodes = render.show(envs, policy, seeds)
        else:
            with console.working(f"Recording {output}"):
                episodes = render.record(envs, policy, seeds, output)
    for number, episode in enumerate(episodes, start=1):
        console.result(f"episode {number}: return {episode.episode_return:.1f}, {episode.episode_length} env steps")
    if not human:
        console.result(f"video: {console.short_path(output)}")


def _import_modules(names: list[str] | None) -> None:
    """Import what the user asked for, from the working directory too. Raises UsageError."""
    if not names:
        return
    sys.path.insert(0, str(Path.cwd()))
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, ValueError, TypeError) as error:
            raise UsageError(f"--import {name}: {error}") from error


@contextmanager
def _importing() -> Iterator[None]:
    """Keep the garbage collector away from what is imported: it is a great deal, and all of it stays to the end.

    Signals wait, too: torch cannot be interrupted while it is imported, and would crash.
    """
    from ppocli.signals import stop_signals_held_back

    gc.disable()
    try:
        with stop_signals_held_back():
            yield
    finally:
        gc.freeze()  # nor need it be looked through at exit
        gc.enable()


def _load_checkpoint(path: Path) -> "Checkpoint":
    from ppocli import checkpoint
    from ppocli.devices import use_one_thread

    use_one_thread()
    return checkpoint.load(path)


def _trained_policy(saved: "Checkpoint", envs: "VectorEnv", stochastic: bool) -> "Policy":
    from ppocli import evaluate

    agent = saved.build_agent(envs)
    return evaluate.stochastic(agent) if stochastic else evaluate.greedy(agent)


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, allow_nan=False))
