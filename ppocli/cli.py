"""The `ppocli` command: parses, calls, prints, and sets the exit code.

Imports nothing heavy at the top, so that `--help` and a mistyped option answer at once; each command imports what it
needs.
"""

import gc
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from ppocli import __version__
from ppocli.errors import PpocliError, UsageError, one_line

if TYPE_CHECKING:
    from ppocli.runs import Run

app = typer.Typer(
    name="ppocli",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train, evaluate and watch PPO agents on Gymnasium tasks.",
)


# What completion does not know, the shell completes as a file.
def _complete_config(incomplete: str) -> list[str]:
    from ppocli.config import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def _complete_run(context: typer.Context, incomplete: str) -> list[str]:
    from ppocli.catalog import run_names

    names = ["latest", *run_names(context.params.get("runs_dir") or RUNS_DIR)]
    # Others than ppocli gives its runs are no single word to a shell, or more than a word.
    return [name for name in names if name.startswith(incomplete) and re.fullmatch(r"[\w./-]+", name)]


RUNS_DIR = Path("runs")
_config: Any = typer.Option(
    "--config",
    metavar="FILE|PRESET",
    help="A YAML file, or the name of a preset such as lunar.",
    autocompletion=_complete_config,
)
_target: Any = typer.Argument(
    metavar="RUN|CHECKPOINT",
    help="A run's directory, the beginning of its name, latest, or a .safetensors file.",
    autocompletion=_complete_run,
)
ConfigOption = Annotated[str, _config]
OptionalConfig = Annotated[str | None, _config]
TargetArgument = Annotated[str, _target]
OptionalTarget = Annotated[str | None, _target]
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
RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Runs' directories, beginnings of their names, or latest.",
        autocompletion=_complete_run,
    ),
]
ImportOption = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="A module of yours that registers environments. Repeatable."),
]


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
    config: OptionalConfig = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run that was stopped, or killed.",
            autocompletion=_complete_run,
        ),
    ] = None,
    overrides: SetOption = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Overrides train.seed.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="0-4|0,3,7", help="Train several, each a run, and compare them.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="With --seeds: how many at a time; by default one a core.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Appended to the run's directory name.")] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    stop_when_solved: Annotated[bool, typer.Option("--stop-when-solved", help="End once the task is solved.")] = False,
    allow_inexact: Annotated[
        bool,
        typer.Option("--allow-inexact", help="With --resume: new episodes where the old ones cannot be gone on with."),
    ] = False,
    imports: ImportOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train an agent, or go on with a run.

    A new run gets a directory under runs/. --resume goes on as the run began; with --set train.env_steps=N beyond its
    end.
    """
    if resume is None and config is None:
        raise UsageError(
            "Missing option '--config' (or '--resume', to go on with a run); ppocli train --help tells more"
        )
    if resume is not None and (config or seeds or name or stop_when_solved or seed is not None):
        raise UsageError(
            "--resume goes on with a run as it began; it takes no --config, --seed, --seeds, --name or "
            "--stop-when-solved"
        )
    if allow_inexact and resume is None:
        raise UsageError("--allow-inexact goes with --resume")
    if seed is not None and seeds is not None:
        raise UsageError("--seed trains one run and --seeds several; choose one")
    if jobs is not None and seeds is None:
        raise UsageError("--jobs goes with --seeds")
    if seeds is not None:
        _train_seeds(config or "", overrides, seeds, jobs, name, runs_dir, stop_when_solved, imports, quiet, as_json)
    started = time.perf_counter()
    from ppocli import console
    from ppocli.signals import stop_request

    saved = None
    with console.working("Starting"), _importing():
        _import_modules(imports)
        from ppocli.config import load_config
        from ppocli.envs.make import make_environments
        from ppocli.runs import new_run

        if resume is None:
            settings = load_config(config or "", overrides or (), seed)
            run = new_run(runs_dir, settings, name)
        else:
            from ppocli.catalog import find_run
            from ppocli.resume import inexactness, newest_checkpoint, resumed_config, stops_when_solved

            run = find_run(resume, runs_dir)
            run.lock()
            saved = newest_checkpoint(run)
            settings = resumed_config(run, saved, overrides or ())
            stop_when_solved = stops_when_solved(run, saved, settings)
        iterations = 0 if saved is None else saved.progress.iterations
        environments = make_environments(settings, iterations)  # their workers start while torch is imported
        from ppocli.checkpoint import Progress
        from ppocli.envs.api import Continuous
        from ppocli.evaluate import target_return
        from ppocli.outcome import Outcome
        from ppocli.progress import training_progress
        from ppocli.train import train
    progress = Progress() if saved is None else saved.progress
    if saved is not None and (changes := inexactness(saved)):
        console.info(f"warning: the last bits may differ from those of an uninterrupted run: {', '.join(changes)}")
    outcome = Outcome(settings, run, progress)
    discrete = not isinstance(environments.training.action_spec, Continuous)
    with (
        stop_request() as stop,
        training_progress(settings, run, progress, stop, discrete_actions=discrete, quiet=quiet) as display,
    ):
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
                outcome.add(report)
                display.update(report)
                if stop:
                    break
    result = outcome.result(time.perf_counter() - started, interrupted=bool(stop))
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


def _train_seeds(
    config: str,
    overrides: list[str] | None,
    seeds: str,
    jobs: int | None,
    name: str | None,
    runs_dir: Path,
    stop_when_solved: bool,
    imports: list[str] | None,
    quiet: bool,
    as_json: bool,
) -> NoReturn:
    """Train several seeds, evaluate each, and compare them: `train --seeds`."""
    started = time.perf_counter()
    from ppocli import console
    from ppocli.signals import stop_request

    with console.working("Starting"), _importing():
        _import_modules(imports)
        from ppocli import ensemble
        from ppocli.config import load_config
        from ppocli.progress import SeedsProgress
        from ppocli.runs import Run, new_run

    numbers = ensemble.parse_seeds(seeds)
    at_a_time, shared = ensemble.share_out(load_config(config, overrides or ()), len(numbers), jobs)
    runs = [(settings, new_run(runs_dir, settings, name)) for settings in map(shared.with_seed, numbers)]
    results: dict[int, ensemble.Result] = {}
    failures: dict[int, ensemble.Failure] = {}
    with stop_request() as stop, SeedsProgress(shared, numbers, stop, quiet=quiet) as display:
        messages = ensemble.train_seeds(
            runs, at_a_time, stop_when_solved=stop_when_solved, imports=imports or (), should_stop=lambda: bool(stop)
        )
        with closing(messages):
            for number, message in messages:
                if isinstance(message, ensemble.Standing):
                    display.update(number, message)
                elif isinstance(message, ensemble.Failure):
                    failures[number] = message
                    display.end(number, "failed")
                else:
                    results[number] = message
                    display.end(number, _in_short(message))
    for reason in dict.fromkeys(failure.message for _, failure in sorted(failures.items())):
        failed = [str(number) for number, failure in sorted(failures.items()) if failure.message == reason]
        console.info(f"error: seed{'s' if failed[1:] else ''} {', '.join(failed)}: {reason}")
    for _, result in sorted(results.items()):
        if result["interrupted"]:
            console.info(f"Interrupted. To go on: ppocli train --resume {console.shell_path(result['run_dir'])}")
    if not_begun := [str(number) for number in numbers if number not in results.keys() | failures.keys()]:
        console.info(f"Not begun: --seeds {','.join(not_begun)}")
    together = {
        "env_id": shared.env.id,
        "seeds": numbers,
        "at_a_time": at_a_time,
        "wall_seconds": time.perf_counter() - started,
        "interrupted": bool(stop),
        **ensemble.over_seeds(list(results.values())),
        "figure": None,
        "runs": [results[number] for number in sorted(results)],
        "failures": {number: failure.message for number, failure in sorted(failures.items())},
    }
    if results and not stop:
        trained = [Run(Path(result["run_dir"])) for result in together["runs"]]
        name = f"{trained[0].path.name.partition('-')[0]}-seeds-{seeds.replace(',', '_').replace(' ', '')}.png"
        try:
            with console.working("Drawing"), _importing():
                from ppocli import plot
            with console.working("Drawing"):
                together["figure"] = str(plot.draw(trained, trained[0].path.absolute().parent / "plots" / name))
        except PpocliError as error:  # of training so short that there is nothing to draw
            console.info(f"warning: no figure: {error}")
    try:
        if as_json:
            _print_json(together)
        elif results:
            console.seeds_result(together)
    except OSError:
        if not stop:
            raise
    raise typer.Exit(stop.exit_code or max((failure.exit_code for failure in failures.values()), default=0))


def _in_short(result: dict[str, Any]) -> str:
    evaluation = result["evaluation"]
    if evaluation is None:
        return f"interrupted after {result['env_steps']:,} steps"
    solved = f", solved after {result['solved_at_env_steps']:,} steps" if result["solved"] else ""
    return f"return {evaluation['return_mean']:.1f}{solved}"


@app.command("evaluate")
def evaluate_command(
    target: TargetArgument,
    num_episodes: EpisodesOption = 100,
    seed: EvaluationSeedOption = 0,
    sampled: StochasticOption = False,
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
        from ppocli.catalog import find_checkpoint
        from ppocli.files import is_writable
        from ppocli.results import evaluate_checkpoint, load_checkpoint
    path, run = find_checkpoint(target, runs_dir)
    saved = load_checkpoint(path)
    if run is not None and not is_writable(run.path):
        console.info(f"warning: the run is read-only: not written to {console.short_path(run.evaluation)}")
        run = None
    with console.working(f"Playing {num_episodes} episodes"):
        result = evaluate_checkpoint(saved, run, num_episodes, seed, sampled=sampled)
    if as_json:
        _print_json(result)
        return
    console.result(console.short_path(path))
    console.result(f"{num_episodes} unseen episodes of {saved.config.env.id}, seed {seed}")
    agent = "agent, stochastic" if sampled else "agent, greedy"
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
    from ppocli import console

    with console.working("Starting"), _importing():
        from ppocli.config import load_config
        from ppocli.results import make_baseline
        from ppocli.runs import baseline_folder
    settings = load_config(config, overrides or ())
    folder = baseline_folder(runs_dir, settings.env.id)
    with console.working(f"Playing {num_episodes} episodes"):
        result = make_baseline(settings, folder, num_episodes, seed)
    if as_json:
        _print_json(result)
        return
    console.result(f"{num_episodes} episodes of {settings.env.id}, seed {seed}")
    console.statistics({"random policy": result})
    console.info(f"written to {console.short_path(folder)}")


@app.command("render")
def render_command(
    target: OptionalTarget = None,
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
    sampled: StochasticOption = False,
    random_actions: Annotated[bool, typer.Option("--random", help="Watch random actions; takes --config.")] = False,
    config: OptionalConfig = None,
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
    from ppocli.catalog import find_checkpoint
    from ppocli.config import load_config
    from ppocli.envs.gymnasium import GymnasiumVectorEnv
    from ppocli.envs.make import SLOTS
    from ppocli.evaluate import greedy, random, stochastic
    from ppocli.results import load_checkpoint
    from ppocli.runs import baseline_folder
    from ppocli.seeds import Purpose, evaluation_seeds

    saved = None
    if target is None:
        settings = load_config(config or "", overrides or ())
        folder, stem = baseline_folder(runs_dir, settings.env.id) / "videos", "random"
    else:
        path, run = find_checkpoint(target, runs_dir)
        saved = load_checkpoint(path)
        settings = saved.config
        folder = Path() if run is None else run.videos
        stem = f"{path.stem}-stochastic" if sampled else path.stem
    output = output or folder / f"{stem}-seed{seed}.mp4"
    if human:
        render.check_display()
    else:
        render.check_output(output)
    with closing(GymnasiumVectorEnv(settings.env, SLOTS, "human" if human else "rgb_array")) as envs:
        if saved is None:
            policy = random(envs.action_spec)
        else:
            policy = (stochastic if sampled else greedy)(saved.build_agent(envs))
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


@app.command("runs")
def runs_command(
    env: Annotated[
        str | None, typer.Option("--env", metavar="TEXT", help="Only runs of environments whose id begins so.")
    ] = None,
    state: Annotated[
        Literal["running", "finished", "interrupted", "failed"] | None, typer.Option("--state", help="Only these.")
    ] = None,
    sort: Annotated[
        Literal["started", "env", "seed", "steps", "return"], typer.Option("--sort", help="Numbers: the highest first.")
    ] = "started",
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """List the runs: how each stands.

    Names in it, or their beginnings, are what other commands take as RUN.
    """
    from ppocli import console
    from ppocli.catalog import all_runs, sort_summaries, summarize_run

    found = []
    for run in all_runs(runs_dir):
        try:
            found.append(summarize_run(run))
        except PpocliError as error:
            console.info(f"warning: left out: {error}")
    found = [run for run in found if run.env_id.startswith(env or "") and state in (None, run.state)]
    found = sort_summaries(found, sort)
    if as_json:
        _print_json({"runs": [{**asdict(run), "run_dir": str(run.run_dir.absolute())} for run in found]})
    elif found:
        console.runs(found)
    else:
        console.info(f"no such run under {runs_dir}; ppocli train makes one")


@app.command("plot")
def plot_command(
    targets: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.png|.svg|.pdf", help="By default a PNG, in plots/ beside the runs."),
    ] = None,
    axis: Annotated[
        Literal["env-steps", "seconds"], typer.Option("--x", help="What the curves of several runs are drawn over.")
    ] = "env-steps",
    statistic: Annotated[
        Literal["mean", "iqm"], typer.Option("--statistic", help="How the seeds of a config become one curve.")
    ] = "mean",
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
) -> None:
    """Draw learning: PNG, SVG or PDF.

    One run is drawn beside the random policy. Of several the learning curves are drawn, those of one environment and
    config, but for the seed, together, with a 95 % bootstrap band.
    """
    _import_modules(imports)
    from ppocli import console

    with console.working("Starting"), _importing():
        from ppocli import plot
        from ppocli.curves import Axis, Statistic

    if output is not None:
        plot.check_output(output)
    runs = _find_runs(targets, runs_dir)
    with console.working("Drawing"):
        output = plot.draw(runs, output, Axis(axis), Statistic(statistic))
    console.result(f"figure: {console.short_path(output)}")


@app.command("report")
def report_command(
    targets: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.html", help="By default report.html in the run, or beside the runs."),
    ] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
) -> None:
    """Tell all about runs in one HTML file.

    It needs no network: curves, evaluation, films of episodes, health of the training, and how to make it again.
    """
    _import_modules(imports)
    from ppocli import console

    with console.working("Starting"), _importing():
        from ppocli.report.page import check_output, write

    if output is not None:
        check_output(output)
    runs = _find_runs(targets, runs_dir)
    with console.working("Evaluating, filming and writing"):
        output = write(runs, output)
    console.result(f"report: {console.short_path(output)}")


def _find_runs(targets: list[str], runs_dir: Path) -> "list[Run]":
    """Return the runs that are meant, each seed of a config once, and say which are left out."""
    from ppocli import console
    from ppocli.catalog import find_runs
    from ppocli.curves import without_repeats

    runs, repeats = without_repeats(find_runs(targets, runs_dir))
    for run, kept in repeats:
        path = console.short_path(run.path)
        console.info(f"warning: left out: {path}: of the same config and seed as {kept.path.name}; each counts once")
    return runs


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

    os.environ.pop("MPLBACKEND", None)  # no window is drawn in, and one that matplotlib does not know it takes amiss
    gc.disable()
    try:
        with stop_signals_held_back():
            yield
    finally:
        gc.freeze()  # nor need it be looked through at exit
        gc.enable()


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, allow_nan=False))
