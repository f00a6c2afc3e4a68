"""`ppocli evaluate`, `ppocli random-baseline` and `ppocli render`: a policy plays."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from ppocli.cli import options
from ppocli.cli.options import option
from ppocli.cli.process import found_checkpoint, importing, imports_of, require_imports
from ppocli.errors import CheckpointError, UsageError
from ppocli.evaluation import NUM_EPISODES
from ppocli.files import check_output
from ppocli.guests import import_modules


def evaluate_command(
    target: options.Target,
    num_episodes: options.Episodes = NUM_EPISODES,
    seed: options.EpisodesSeed = 0,
    sampled: options.Stochastic = False,
    target_return: Annotated[float | None, option("--target RETURN", "What counts as solved, if not the own.")] = None,
    overrides: Annotated[list[str] | None, option("--set KEY=VALUE", "Another env.kwargs.NAME. Repeatable.")] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Measure a trained agent beside a random one.

    Both play the same episodes, which no training run has seen.
    """
    with importing():
        from ppocli.config.load import measured_in, parse_config
        from ppocli.evaluation.results import evaluate_checkpoint
        from ppocli.files import is_writable
        from ppocli.views import console, results
    saved, run = found_checkpoint(target, runs_dir, imports)
    task = measured_in(saved.config, overrides or ())
    output = None if run is None else run.evaluation_in(task)
    if run is not None and not is_writable(run.path):
        console.info(f"warning: the run is read-only: not written to {output}")
        run = None
    elif output is not None and run.info.code_now:
        name = output.name
        console.info(f"warning: the task's code is another than in training: its result is kept apart, in {name}")
    if target_return is not None:
        asked = saved.config.changed("train", target_return=target_return)
        saved = replace(saved, config=parse_config(asked.model_dump(), "--target"))
    with console.counting(num_episodes) as tell, _fitting(overrides):
        result = evaluate_checkpoint(saved, run, num_episodes, seed, task=task, sampled=sampled, tell=tell)
    if (gap := result.greedy_shortfall) is not None:
        trained = f"training, which samples actions, averaged {result.return_mean + gap:.1f} before this checkpoint"
        console.info(f"warning: {trained}, {gap:.1f} more than the greedy policy; compare --stochastic")
    if as_json:
        console.as_json(result)
        return
    console.out.print(console.short_path(saved.path))
    otherwise = f", {' '.join(overrides)}" if overrides else ""
    console.out.print(f"{num_episodes} unseen episodes of {saved.config.env.id}, seed {seed}{otherwise}")
    agent = "agent, stochastic" if sampled else "agent, greedy"
    results.statistics({agent: result, "random policy": result.random_baseline})
    if run is not None:
        console.info(f"written to {output}")


def random_baseline_command(
    config: options.Config,
    overrides: options.Set = None,
    num_episodes: options.Episodes = NUM_EPISODES,
    seed: options.EpisodesSeed = 0,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Measure random actions just as evaluate would."""
    with importing():
        from ppocli.config.load import load_config
        from ppocli.evaluation.results import make_baseline
        from ppocli.records.run import baseline_folder
        from ppocli.views import console, results
    settings = load_config(config, overrides or ())
    import_modules(imports_of(imports))
    folder = baseline_folder(runs_dir, settings.env.id)
    with console.counting(num_episodes) as tell:
        result = make_baseline(settings, folder, num_episodes, seed, tell)
    if as_json:
        console.as_json(result)
        return
    console.out.print(f"{num_episodes} episodes of {settings.env.id}, seed {seed}")
    results.statistics({"random policy": result})
    console.info(f"written to {folder}")


def render_command(
    target: options.OptionalTarget = None,
    output: Annotated[
        Path | None,
        option("--output FILE.mp4|FILE.gif", "By default an mp4 in the run's videos/; GIF is for short clips."),
    ] = None,
    human: Annotated[bool, option("--human", "Show a window instead of writing a file.")] = False,
    num_episodes: options.Episodes = 1,
    seed: options.EpisodesSeed = 0,
    sampled: options.Stochastic = False,
    learning: Annotated[
        bool, option("--learning", "The same start at several stages of training, side by side.")
    ] = False,
    random_actions: Annotated[bool, option("--random", "Watch random actions; takes --config.")] = False,
    config: Annotated[str | None, option("--config FILE|PRESET", "With --random: what to play.")] = None,
    overrides: Annotated[
        list[str] | None, option("--set KEY=VALUE", "Another env.kwargs.NAME; with --random, any key.")
    ] = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    imports: options.Import = None,
    as_json: options.Json = False,
) -> None:
    """Record an episode as a video, or show it.

    A video needs no display; --human opens a window.
    """
    _refuse_mixtures(target, config, random_actions=random_actions)
    if learning and (random_actions or human or sampled or overrides or num_episodes > 1):
        takes_no = "it takes no --random, --human, --stochastic, --episodes, --set"
        raise UsageError(f"render --learning writes one greedy episode; {takes_no}")
    if human and output is not None:
        raise UsageError("--human shows a window and --output writes a file; choose one")
    if learning:
        _render_learning(target or "", output, seed, runs_dir, imports, as_json)
        return
    here = Path.cwd()  # before what is imported may go elsewhere
    with importing():
        from ppocli.config.load import load_config, measured_in
        from ppocli.pictures import films
        from ppocli.records.run import baseline_folder
        from ppocli.views import console

    if target is None:
        saved, task = None, load_config(config or "", overrides or ()).evaluated_in
        import_modules(imports_of(imports))
        folder, stem = baseline_folder(runs_dir, task.id) / "videos", "random"
    else:
        saved, run = found_checkpoint(target, runs_dir, imports)
        task = measured_in(saved.config, overrides or ())
        folder = here if run is None else run.path / "videos"
        otherwise = [one.removeprefix("env.").removeprefix("kwargs.") for one in overrides or ()]
        stem = "-".join([saved.path.stem, *["stochastic"] * sampled, *map(_in_a_name, otherwise)])
    video = None if human else output or folder / f"{stem}-seed{seed}.mp4"
    if video is None:
        films.check_display()
    else:
        check_output(video, films.FORMATS)
    with _fitting(overrides):
        episodes = _play(saved, task, video, num_episodes, seed, sampled)
    if as_json:
        console.as_json({"video": video, "episodes": episodes})
        return
    _print_played([f"episode {number}" for number in range(1, len(episodes) + 1)], episodes, video)


@contextmanager
def _fitting(overrides: list[str] | None) -> Iterator[None]:
    """Within the block, what was set is to blame where an agent does not fit its task."""
    try:
        yield
    except CheckpointError as error:
        if not overrides:
            raise
        asked = " ".join(f"--set {one}" for one in overrides)
        raise UsageError(f"{asked}: observations or actions of another form than those it has learned with") from error


def _in_a_name(text: str) -> str:
    return re.sub(r"[^\w.=+-]+", "_", text)[:40]


def _refuse_mixtures(target: str | None, config: str | None, *, random_actions: bool) -> None:
    """Raise UsageError unless it is either an agent that plays, or chance in the environment of a config."""
    if random_actions and (config is None or target is not None):
        raise UsageError("render --random takes --config FILE|PRESET and no RUN")
    if not random_actions and target is None:
        raise UsageError("render takes a RUN or CHECKPOINT, or else --random with --config FILE|PRESET")
    if not random_actions and config is not None:
        raise UsageError("a RUN or CHECKPOINT has its own config; --config goes with --random")


def _render_learning(
    target: str, output: Path | None, seed: int, runs_dir: Path, imports: list[str] | None, as_json: bool
) -> None:
    """Film how a run has learned."""
    with importing():
        from ppocli.pictures import films, learning
        from ppocli.records.catalog import find_run
        from ppocli.views import console

    run = find_run(target, runs_dir)
    import_modules(imports_of(imports))
    require_imports(run)
    stages = learning.stages(run)
    video = output or run.path / "videos" / f"learning-seed{seed}.mp4"
    check_output(video, films.FORMATS)
    with console.working(f"Recording {video}"):
        episodes = learning.film(stages, seed, video)
    if as_json:
        played = zip(stages, episodes, strict=True)
        console.as_json(
            {"video": video, "stages": [{"trained_env_steps": stage.env_steps, **vars(one)} for stage, one in played]}
        )
        return
    _print_played([stage.name for stage in stages], episodes, video)


def _print_played(names: list[str], episodes: list[Any], video: Path | None) -> None:
    from ppocli.views import console

    for name, episode in zip(names, episodes, strict=True):
        console.out.print(f"{name}: return {episode.episode_return:.1f}, {episode.episode_length} env steps")
    if video is not None:
        console.out.print(f"video: {console.short_path(video)}")


def _play(saved: Any, env: Any, video: Path | None, num_episodes: int, seed: int, sampled: bool) -> list[Any]:
    """Let the agent that is `saved`, or chance, play in a window or for a `video`; return the episodes."""
    from ppocli.envs.make import drawn_envs
    from ppocli.evaluation import play
    from ppocli.evaluation.agents import load_agent
    from ppocli.pictures import films
    from ppocli.seeds import Purpose, evaluation_seeds
    from ppocli.views import console

    with closing(drawn_envs(env, "rgb_array" if video else "human")) as envs:
        if saved is None:
            policy = play.random(envs.action_spec, envs.obs_spec)
        else:
            policy = (play.stochastic if sampled else play.greedy)(load_agent(saved, envs))
        seeds = evaluation_seeds(seed, Purpose.EVALUATION, num_episodes)
        if video is None:
            return films.show(envs, policy, seeds)
        with console.working(f"Recording {video}"):
            return films.record(envs, policy, seeds, video)[0]
