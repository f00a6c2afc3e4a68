"""`ppocli evaluate`, `ppocli random-baseline` and `ppocli render`: a policy plays."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ppocli.cli.options import (
    RUNS_DIR,
    ConfigOption,
    EpisodesOption,
    EvaluationSeedOption,
    ImportOption,
    JsonOption,
    OptionalConfig,
    OptionalTarget,
    RunsDirOption,
    SetOption,
    StochasticOption,
    TargetArgument,
)
from ppocli.cli.process import import_modules, importing, print_json
from ppocli.errors import UsageError
from ppocli.evaluation import NUM_EPISODES


def evaluate_command(
    target: TargetArgument,
    num_episodes: EpisodesOption = NUM_EPISODES,
    seed: EvaluationSeedOption = 0,
    sampled: StochasticOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained agent beside a random one.

    Both play the same episodes, which no training run has seen.
    """
    import_modules(imports)
    from ppocli.views import console

    with console.working("Starting"), importing():
        from ppocli.evaluation.results import evaluate_checkpoint
        from ppocli.files import is_writable
        from ppocli.records import checkpoint
        from ppocli.records.catalog import find_checkpoint
        from ppocli.views.results import statistics
    path, run = find_checkpoint(target, runs_dir)
    saved = checkpoint.load(path)
    if run is not None and not is_writable(run.path):
        console.info(f"warning: the run is read-only: not written to {console.short_path(run.evaluation)}")
        run = None
    with console.working(f"Playing {num_episodes} episodes"):
        result = evaluate_checkpoint(saved, run, num_episodes, seed, sampled=sampled)
    if as_json:
        print_json(result)
        return
    console.result(console.short_path(path))
    console.result(f"{num_episodes} unseen episodes of {saved.config.env.id}, seed {seed}")
    agent = "agent, stochastic" if sampled else "agent, greedy"
    statistics({agent: result, "random policy": result.random_baseline})
    if run is not None:
        console.info(f"written to {console.short_path(run.evaluation)}")


def random_baseline_command(
    config: ConfigOption,
    overrides: SetOption = None,
    num_episodes: EpisodesOption = NUM_EPISODES,
    seed: EvaluationSeedOption = 0,
    runs_dir: RunsDirOption = RUNS_DIR,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure random actions just as evaluate would."""
    import_modules(imports)
    from ppocli.views import console

    with console.working("Starting"), importing():
        from ppocli.config.load import load_config
        from ppocli.evaluation.results import make_baseline
        from ppocli.records.run import baseline_folder
        from ppocli.views.results import statistics
    settings = load_config(config, overrides or ())
    folder = baseline_folder(runs_dir, settings.env.id)
    with console.working(f"Playing {num_episodes} episodes"):
        result = make_baseline(settings, folder, num_episodes, seed)
    if as_json:
        print_json(result)
        return
    console.result(f"{num_episodes} episodes of {settings.env.id}, seed {seed}")
    statistics({"random policy": result})
    console.info(f"written to {console.short_path(folder)}")


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
    import_modules(imports)
    if random_actions and (config is None or target is not None):
        raise UsageError("render --random takes --config FILE|PRESET and no RUN")
    if not random_actions and target is None:
        raise UsageError("render takes a RUN or CHECKPOINT, or else --random with --config FILE|PRESET")
    if not random_actions and (config is not None or overrides):
        raise UsageError("a RUN or CHECKPOINT has its own config; --config and --set go with --random")
    if human and output is not None:
        raise UsageError("--human shows a window and --output writes a file; choose one")
    from ppocli.config.load import load_config
    from ppocli.envs.make import drawn_envs
    from ppocli.evaluation.agents import load_agent
    from ppocli.evaluation.play import greedy, random, stochastic
    from ppocli.files import check_output
    from ppocli.pictures import films
    from ppocli.records import checkpoint
    from ppocli.records.catalog import find_checkpoint
    from ppocli.records.run import baseline_folder
    from ppocli.seeds import Purpose, evaluation_seeds
    from ppocli.views import console

    saved = None
    if target is None:
        settings = load_config(config or "", overrides or ())
        folder, stem = baseline_folder(runs_dir, settings.env.id) / "videos", "random"
    else:
        path, run = find_checkpoint(target, runs_dir)
        saved = checkpoint.load(path)
        settings = saved.config
        folder = Path() if run is None else run.path / "videos"
        stem = f"{path.stem}-stochastic" if sampled else path.stem
    output = output or folder / f"{stem}-seed{seed}.mp4"
    if human:
        films.check_display()
    else:
        check_output(output, films.FORMATS)
    with closing(drawn_envs(settings.env, "human" if human else "rgb_array")) as envs:
        if saved is None:
            policy = random(envs.action_spec)
        else:
            policy = (stochastic if sampled else greedy)(load_agent(saved, envs))
        seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
        if human:
            episodes = films.show(envs, policy, seeds)
        else:
            with console.working(f"Recording {output}"):
                episodes = films.record(envs, policy, seeds, output)
    for number, episode in enumerate(episodes, start=1):
        console.result(f"episode {number}: return {episode.episode_return:.1f}, {episode.episode_length} env steps")
    if not human:
        console.result(f"video: {console.short_path(output)}")
