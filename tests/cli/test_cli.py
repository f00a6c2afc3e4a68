"""The command line as people and scripts use it: results, exit codes, and one clear line for every mistake."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from ppocli import __version__
from ppocli.cli import train
from ppocli.records import checkpoint
from ppocli.records.run import Run
from ppocli.views import console
from tests.cli.commands import FAST, PATIENCE_SECONDS, error_line, strict_json

# ----------------------------------------------------------------------------------------------------------------------
# Help


@pytest.mark.parametrize("command", ["train", "evaluate", "random-baseline", "render", "runs", "plot", "report"])
def test_every_command_has_help(ppocli, command):
    outcome = ppocli(command, "--help")
    assert outcome.exit_code == 0
    assert f"Usage: ppocli {command}" in outcome.stdout
    assert "--runs-dir" in outcome.stdout
    assert command in ppocli("--help").stdout


def test_bare_command_is_help(ppocli):
    assert ppocli() == ppocli("--help")


def test_version(ppocli):
    assert ppocli("--version").stdout == f"ppocli {__version__}\n"


# ----------------------------------------------------------------------------------------------------------------------
# What the commands do


def test_train_writes_a_run_and_one_json_object(run_dir, ppocli):
    assert run_dir.parent == Path.cwd() / "runs" / "CartPole-v1"
    assert run_dir.name.endswith("-seed3-demo")
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    assert files == {
        ".lock",
        "config.yaml",
        "run.json",
        "metrics.csv",
        "episodes.csv",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        *(f"snapshots/{env_steps:012d}.safetensors" for env_steps in (0, 2048)),
    }
    outcome = ppocli("train", "--config", str(run_dir / "config.yaml"), "--json")
    result = strict_json(outcome.stdout)
    assert {
        *(
            "run_dir",
            "env_id",
            "seed",
            "env_steps",
            "iterations",
            "wall_seconds",
            "seconds",
            "env_steps_per_second",
            "resumed_at_env_steps",
            "solved",
        ),
        *("solved_at_env_steps", "solved_at_seconds", "best_return", "checkpoint"),
    } <= result.keys()
    assert (result["env_id"], result["seed"], result["env_steps"], result["iterations"]) == ("CartPole-v1", 3, 2048, 8)
    assert Path(result["checkpoint"]) == Path(result["run_dir"]) / "checkpoints" / "best.safetensors"
    assert result["wall_seconds"] > 0
    assert sum(result["seconds"].values()) == pytest.approx(result["wall_seconds"])
    assert "return" in outcome.stderr


def test_train_ends_by_naming_the_run_and_the_next_commands(ppocli):
    outcome = ppocli("train", "--config", "cartpole", *FAST, "--name", "a-name-that-makes-every-line-longer-than-80")
    run = next(Path("runs/CartPole-v1").iterdir())
    assert f"ppocli evaluate {run}\n" in outcome.stdout
    assert f"ppocli render {run}\n" in outcome.stdout
    assert "still below 475" in outcome.stdout
    assert re.search(
        r"^seconds  start [\d.]+, rollouts [\d.]+, updates [\d.]+, evaluations [\d.]+, other [\d.]+$",
        outcome.stdout,
        re.MULTILINE,
    )


def test_runs_dir(ppocli, tmp_path):
    ppocli("train", "--config", "cartpole", *FAST, "--runs-dir", "else/where")
    assert len(list((tmp_path / "else/where/CartPole-v1").iterdir())) == 1
    assert not (tmp_path / "runs").exists()


def test_stop_when_solved(ppocli):
    outcome = ppocli("train", "--config", "cartpole", "--set", "train.target_return=10", "--stop-when-solved", "--json")
    result = strict_json(outcome.stdout)
    assert result["solved"] is True
    assert result["env_steps"] == result["solved_at_env_steps"] < 20_000
    assert 0 < result["solved_at_seconds"] <= result["wall_seconds"]


def test_evaluate_on_a_run_latest_and_a_checkpoint(run_dir, ppocli):
    targets = [str(run_dir), "latest", str(run_dir / "checkpoints" / "best.safetensors")]
    results = [strict_json(ppocli("evaluate", target, "--episodes", "20", "--json").stdout) for target in targets]
    assert results[0] == results[1] == results[2]
    assert {
        *("env_id", "episodes", "seed", "deterministic", "return_mean", "return_std", "return_median", "return_iqm"),
        *("return_iqm_ci95", "return_min", "return_max", "length_mean", "solved_fraction", "terminated_fraction"),
        "truncated_fraction",
    } <= results[0].keys()
    assert (results[0]["episodes"], results[0]["seed"], results[0]["deterministic"]) == (20, 0, True)
    assert results[0]["random_baseline"]["episodes"] == 20
    written = strict_json((run_dir / "evaluation.json").read_text())
    assert results[0].items() <= written.items()
    assert sum(written["episode_returns"]) / 20 == pytest.approx(results[0]["return_mean"])


def test_evaluate_stochastic_and_seed(run_dir, ppocli):
    greedy = strict_json(ppocli("evaluate", "latest", "--json").stdout)
    stochastic = strict_json(ppocli("evaluate", "latest", "--stochastic", "--json").stdout)
    other = strict_json(ppocli("evaluate", "latest", "--seed", "1", "--json").stdout)
    assert stochastic["deterministic"] is False
    assert len({result["return_mean"] for result in (greedy, stochastic, other)}) == 3
    assert strict_json(ppocli("evaluate", "latest", "--episodes", "1", "--json").stdout)["return_iqm_ci95"] is None


def test_evaluate_shows_the_agent_beside_random_on_the_same_seeds(run_dir, ppocli):
    outcome = ppocli("evaluate", "latest", "--episodes", "30")
    assert "agent, greedy" in outcome.stdout
    assert "random policy" in outcome.stdout
    assert all(len(line) <= 80 for line in outcome.stdout.splitlines())
    beside = strict_json(ppocli("evaluate", "latest", "--episodes", "30", "--json").stdout)["random_baseline"]
    alone = strict_json(ppocli("random-baseline", "--config", "cartpole", "--episodes", "30", "--json").stdout)
    assert beside.items() <= alone.items()


def test_a_checkpoint_outside_a_run_is_evaluated_and_nothing_is_written(run_dir, ppocli, tmp_path):
    stray = tmp_path / "stray" / "agent.safetensors"
    stray.parent.mkdir()
    (run_dir / "checkpoints" / "best.safetensors").rename(stray)
    assert ppocli("evaluate", str(stray), "--episodes", "5").exit_code == 0
    assert list(stray.parent.iterdir()) == [stray]
    assert not (run_dir / "evaluation.json").exists()


def test_a_read_only_run_is_evaluated_and_stays_as_it_is(run_dir, ppocli, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)  # a superuser may always
    outcome = ppocli("evaluate", "latest", "--episodes", "3")
    assert "agent, greedy" in outcome.stdout
    for options in ((), ("--json",)):
        assert (
            "the run is read-only: not written to" in ppocli("evaluate", "latest", "--episodes", "3", *options).stderr
        )
    assert not (run_dir / "evaluation.json").exists()


def test_random_baseline_logs_its_episodes(ppocli, tmp_path):
    outcome = ppocli("random-baseline", "--config", "cartpole", "--episodes", "12")
    assert outcome.exit_code == 0
    folder = tmp_path / "runs/CartPole-v1/random-baseline"
    with (folder / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    written = strict_json((folder / "evaluation.json").read_text())
    assert [float(row["episode_return"]) for row in rows] == written["episode_returns"]
    assert [int(row["seed"]) for row in rows] == written["episode_seeds"]
    assert [int(row["episode"]) for row in rows] == list(range(1, 13))


def test_render(run_dir, ppocli, tmp_path):
    outcome = ppocli("render", "latest")
    assert outcome.exit_code == 0
    assert (run_dir / "videos" / "best-seed0.mp4").stat().st_size > 1000
    evaluated = strict_json(ppocli("evaluate", "latest", "--episodes", "2", "--json").stdout)
    written = strict_json((run_dir / "evaluation.json").read_text())
    first, second = written["episode_returns"]
    assert f"return {first:.1f}, {first:.0f} env steps" in outcome.stdout
    outcome = ppocli("render", "latest", "--output", "x.gif", "--episodes", "2")
    assert f"episode 2: return {second:.1f}" in outcome.stdout
    assert (tmp_path / "x.gif").exists()
    assert evaluated["return_max"] == max(first, second)
    told = strict_json(ppocli("render", "latest", "--episodes", "2", "--json").stdout)
    assert told["video"] == str(run_dir / "videos" / "best-seed0.mp4")
    assert [episode["episode_return"] for episode in told["episodes"]] == [first, second]


def test_figure_and_report_as_json_say_where_they_lie(run_dir, ppocli, tmp_path):
    for command, what, name in (("plot", "figure", "plots/returns.png"), ("report", "report", "report.html")):
        outcome = ppocli(command, "latest", "--json")
        assert strict_json(outcome.stdout) == {what: str(run_dir / name)}
        assert outcome.stderr == ""


@pytest.mark.parametrize("command", ["train", "evaluate", "random-baseline", "render", "plot", "report", "runs"])
def test_help_names_what_options_take(ppocli, command):
    text = ppocli(command, "--help").stdout
    assert not re.search(r"TEXT|INTEGER|<int|--[a-z-]+ <str>", text)
    assert ("Another env.kwargs.NAME; with --random" in text) == (command == "render")


def test_a_checkpoint_of_another_run_is_evaluated_and_nothing_written(run_dir, ppocli):
    assert ppocli("train", "--config", "cartpole", *FAST, "--seed", "4", "--quiet").exit_code == 0
    (other,) = run_dir.parent.glob("*-seed4")
    shutil.copy(other / "checkpoints/best.safetensors", run_dir / "checkpoints/best.safetensors")
    outcome = ppocli("evaluate", run_dir.name, "--episodes", "10", "--json")
    name = f"runs/CartPole-v1/{run_dir.name}/checkpoints/best.safetensors"
    assert outcome.stderr.splitlines() == [
        f"warning: {name} is of another run (CartPole-v1, seed 4): nothing is written to this one"
    ]
    assert not (run_dir / "evaluation.json").exists()
    own = strict_json(ppocli("evaluate", other.name, "--episodes", "10", "--json").stdout)
    assert strict_json(outcome.stdout)["return_mean"] == own["return_mean"]
    assert ppocli("report", str(run_dir), str(other), "--output", "both.html").exit_code == 0
    assert "of another run, CartPole-v1, seed 4" in Path("both.html").read_text()
    assert not (run_dir / "evaluation.json").exists()


def test_a_target_can_be_given_when_an_agent_is_evaluated(run_dir, ppocli):
    found = [
        strict_json(ppocli("evaluate", "latest", "--episodes", "10", *target, "--json").stdout)
        for target in ([], ["--target", "1"], ["--target", "-1e3"], ["--target", "501"])
    ]
    assert [one["target_return"] for one in found] == [475, 1, -1000, 501]
    assert [one["solved_fraction"] for one in found[1:]] == [1, 1, 0]
    assert len({one["return_mean"] for one in found}) == 1


def test_a_checkpoint_of_a_run_resumes_that_run(run_dir, ppocli):
    best = run_dir / "checkpoints" / "best.safetensors"
    outcome = ppocli("train", "--resume", str(best), "--set", "train.env_steps=4096", "--quiet")
    assert outcome.exit_code == 0
    assert "2,048 env steps more" in outcome.stdout
    assert "train.schedule_env_steps" not in outcome.stderr  # its learning rate is no schedule


def test_prolonging_a_schedule_is_said_and_how_to_keep_it(ppocli):
    scheduled = (*FAST, "--set", "update.learning_rate={start: 1e-3, end: 0}")
    assert ppocli("train", "--config", "cartpole", *scheduled, "--quiet").exit_code == 0
    outcome = ppocli("train", "--resume", "latest", "--set", "train.env_steps=4096", "--quiet")
    jump = "with another end of training, update.learning_rate from 0 to 0.0005; --set train.schedule_env_steps=2048"
    assert outcome.stderr.startswith(f"warning: {jump} leaves")


def test_render_random(ppocli, tmp_path):
    outcome = ppocli("render", "--random", "--config", "cartpole")
    assert outcome.exit_code == 0
    baseline = tmp_path / "runs/CartPole-v1/random-baseline"
    assert (baseline / "videos" / "random-seed0.mp4").exists()
    # which keeps nobody from putting a baseline beside it
    assert ppocli("train", "--config", "cartpole", *FAST).exit_code == 0
    assert ppocli("plot", "latest").exit_code == 0
    assert len(strict_json((baseline / "evaluation.json").read_text())["episode_returns"]) == 100


def test_render_learning(run_dir, ppocli):
    told = strict_json(ppocli("render", run_dir.name, "--learning", "--json").stdout)
    assert told["video"] == str(run_dir / "videos" / "learning-seed0.mp4")
    assert (run_dir / "videos" / "learning-seed0.mp4").stat().st_size > 1000
    assert [stage["trained_env_steps"] for stage in told["stages"][:-1]] == [0, 2048]
    # the last is its best agent, which plays as `render` lets it play
    (alone,) = strict_json(ppocli("render", "latest", "--json").stdout)["episodes"]
    assert {name: told["stages"][-1][name] for name in alone} == alone
    first = run_dir / "snapshots" / f"{0:012d}.safetensors"
    untrained = strict_json(ppocli("evaluate", str(first), "--episodes", "1", "--json").stdout)
    assert told["stages"][0]["episode_return"] == untrained["return_mean"]


def test_a_run_without_snapshots_has_no_film_of_its_learning(run_dir, ppocli):
    shutil.rmtree(run_dir / "snapshots")
    assert "no snapshots in it" in error_line(ppocli("render", "latest", "--learning"), 1)
    line = error_line(ppocli("render", "latest", "--learning", "--human"), 2)
    assert "--learning writes one greedy episode" in line


def test_an_algorithm_is_chosen_by_an_option(ppocli, tmp_path):
    outcome = ppocli(
        "train", "--config", "cartpole", *FAST, "--algorithm", "trpo", "--set", "trpo.target_kl=0.02", "--quiet"
    )
    assert outcome.exit_code == 0
    (run_dir,) = (tmp_path / "runs/CartPole-v1").glob("2*")
    written = (run_dir / "config.yaml").read_text()
    assert ("algorithm: trpo" in written, "target_kl: 0.02" in written, "ppo:" in written) == (True, True, False)
    assert ppocli("evaluate", "latest", "--episodes", "2").exit_code == 0
    line = error_line(ppocli("train", "--config", "cartpole", "--algorithm", "a2c"), 2)
    assert "algorithm: 'a2c' must be one of 'ppo', 'vpg', 'npg' or 'trpo'" in line
    line = error_line(ppocli("train", "--config", "cartpole", "--set", "trpo.target_kl=0.02"), 2)
    assert line.endswith("--set trpo.target_kl: only algorithm trpo has it, and this one is ppo")


def test_a_run_begins_with_the_agent_of_another(run_dir, ppocli, tmp_path):
    outcome = ppocli("train", "--config", "cartpole", *FAST, "--from", "latest", "--name", "child", "--quiet")
    assert outcome.exit_code == 0
    (child,) = (tmp_path / "runs/CartPole-v1").glob("*-child")
    assert f"{child.name} began with the agent of {run_dir.name}" in ppocli("runs").stdout
    (told,) = [run for run in strict_json(ppocli("runs", "--json").stdout)["runs"] if run["name"] == "child"]
    assert told["begun_from"] == run_dir.name
    assert "--keep-optimizer goes with --from" in error_line(
        ppocli("train", "--config", "cartpole", "--keep-optimizer"), 2
    )
    other = ("train", "--config", "pendulum", "--from", run_dir.name)
    assert "observations, actions and network must be of the same form" in error_line(ppocli(*other), 2)
    assert not (tmp_path / "runs/Pendulum-v1").exists()


def test_an_agent_is_measured_and_watched_under_other_physics(run_dir, ppocli):
    assert ppocli("evaluate", "latest", "--episodes", "3").exit_code == 0
    own = (run_dir / "evaluation.json").read_bytes()
    other = ("--set", "env.kwargs.sutton_barto_reward=true")
    outcome = ppocli("evaluate", "latest", "--episodes", "3", *other)
    assert "3 unseen episodes of CartPole-v1, seed 0, env.kwargs.sutton_barto_reward=true" in outcome.stdout
    (kept,) = run_dir.glob("evaluation-*.json")
    assert f"{kept.name}\n" in outcome.stderr
    found = strict_json(kept.read_text())
    assert (found["return_mean"], found["env_kwargs"]) == (-1, {"sutton_barto_reward": True})
    assert (run_dir / "evaluation.json").read_bytes() == own
    drawn = strict_json(ppocli("render", "latest", "--json", *other).stdout)
    assert [episode["episode_return"] for episode in drawn["episodes"]] == [-1]
    assert drawn["video"].endswith("videos/best-sutton_barto_reward=true-seed0.mp4")  # beside that of its own task
    line = error_line(ppocli("evaluate", "latest", "--set", "rollout.gamma=0.9"), 2)
    assert "here only env.kwargs.NAME and env.max_episode_steps may be set" in line


def test_patience_ends_a_run_and_says_so(ppocli):
    outcome = ppocli("train", "--config", "cartpole", *FAST, "--set", "train.max_seconds=1e-9", "--quiet")
    assert outcome.exit_code == 0
    assert "ended by train.max_seconds" in outcome.stdout
    (told,) = strict_json(ppocli("runs", "--json").stdout)["runs"]
    assert (told["state"], told["ended_by"], told["env_steps"]) == ("finished", "max_seconds", 256)


def test_a_wrong_ffmpeg_is_an_error_of_one_line_and_no_end_of_a_report(run_dir, ppocli, monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    line = error_line(ppocli("render", "latest"), 1)
    assert "ffmpeg failed: No such file or directory (IMAGEIO_FFMPEG_EXE is" in line
    assert list((run_dir / "videos").iterdir()) == []
    outcome = ppocli("report", "latest")
    assert outcome.exit_code == 0
    assert "There is no video: no mp4 can be written, as ffmpeg failed" in (run_dir / "report.html").read_text()


def test_render_in_a_window(run_dir, ppocli, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(CartPoleEnv.metadata, "render_fps", 10_000)  # nobody is watching
    outcome = ppocli("render", "latest", "--human")
    assert outcome.exit_code == 0
    assert "return" in outcome.stdout


# ----------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train", "Missing option '--config'"),
        ("trian", "No such command 'trian'"),
        ("train --config cartpole --sed 3", "No such option: --sed"),
        ("train --config cartpole --seed x", "'--seed'"),
        ("train --config cartpole --seed -1", "'--seed'"),
        ("train --config lunr", "no such preset, did you mean lunar?"),
        ("train --config nowhere.yaml", "nowhere.yaml: cannot read it"),
        ("train --config my/lunar.yaml", "there is a preset of that name: --config lunar"),
        ("train --config cartpole --set gamma=0.9", "gamma: unknown key, did you mean rollout.gamma?"),
        ("train --config cartpole --set rollout.gama=1", "rollout.gama: unknown key, did you mean gamma?"),
        ("train --config cartpole --set ppo.gama=1", "ppo.gama: unknown key, did you mean rollout.gamma?"),
        ("train --config cartpole --set rollout.gamma", "KEY=VALUE"),
        ("train --config cartpole --set env.id=LunarLander-v2", "Please use LunarLander-v3 instead"),
        ("train --config cartpole --set env.id=Nothing-v0", "'Nothing-v0' is not an environment"),
        ("train --config cartpole --set env.id=os:system", "env.id"),
        ("train --config cartpole --set update.minibatch_size=500", "update.minibatch_size: 500 does not divide"),
        ("train --config cartpole --set ppo.minibatch_size=500", "update.minibatch_size: 500 does not divide"),
        ("train --config cartpole --name ../x", "--name"),
        ("random-baseline --config cartpole --set env.id=LunarLander-v2", "LunarLander-v3"),
        ("random-baseline --config cartpole --episodes 0", "'--episodes'"),
        ("evaluate", "Missing argument"),
        ("render", "render takes a RUN or CHECKPOINT"),
        ("train --config cartpole --allow-inexact", "--allow-inexact goes with --resume"),
        ("train --config cartpole --import .x", "--import .x: "),
        ("train --config cartpole --set env.id=FrozenLake-v1 --set env.kwargs.map_name=9x9", "does not take"),
        ("render --random", "render --random takes --config"),
        ("render x --config cartpole", "--config goes with --random"),
        ("render --random --config cartpole --output x.avi", "must end in .mp4 or .gif"),
        ("render --random --config cartpole --output x.gif --human", "choose one"),
        ("train --config cartpole --set schedule=1", "schedule: unknown key"),
        ("train --config cartpole --set env.num_envs=1e12", "must be a whole number from 1 to 10,000"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(ppocli, tmp_path, arguments, message):
    assert message in error_line(ppocli(*arguments.split()), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate latest", "name the folder with --runs-dir"),
        ("evaluate nothing.safetensors", "no such run or checkpoint"),
        ("evaluate foreign.safetensors", "not a checkpoint, or a damaged one"),
        ("evaluate lastest", "no such run or checkpoint, did you mean latest?"),
        (
            "render --random --config cartpole --output foreign.safetensors/x.gif",
            "cannot write there (File exists); choose another --output",
        ),
        ("evaluate empty", "no training run"),
        ("render latest", "no training run under"),
        ("render foreign.safetensors", "not a checkpoint, or a damaged one"),
        ("train --config cartpole --runs-dir foreign.safetensors", "foreign.safetensors"),
        ("train --config cartpole --set env.id=Unbuilt-v0", "the package of Unbuilt is not installed"),
    ],
)
def test_other_failures_are_one_line_and_exit_code_1(ppocli, tmp_path, arguments, message):
    (tmp_path / "foreign.safetensors").write_bytes(b"this is no checkpoint, whatever its name says")
    (tmp_path / "empty").mkdir()
    assert message in error_line(ppocli(*arguments.split()), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"foreign.safetensors", "empty"}


def test_no_display_says_what_to_do_instead(ppocli, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    outcome = ppocli("render", "--random", "--config", "cartpole", "--human")
    assert "leave --human out to get a video file" in error_line(outcome, 1)


def test_a_name_cannot_steer_the_terminal(ppocli):
    line = error_line(ppocli("train", "--config", "a\x1b[2J\nb.yaml"), 2)
    assert line == "error: a [2J b.yaml: cannot read it: No such file or directory"


def test_a_bug_keeps_its_traceback(ppocli, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("ppocli.config.load.load_config", broken)
    with pytest.raises(ZeroDivisionError):
        ppocli("train", "--config", "cartpole")


# ----------------------------------------------------------------------------------------------------------------------
# All runs


def test_runs_are_listed_and_found_by_the_beginnings_of_their_names(ppocli, run_dir):
    listed = strict_json(ppocli("runs", "--json").stdout)["runs"]
    assert [run["run_dir"] for run in listed] == [str(run_dir)]
    assert {key: listed[0][key] for key in ("env_id", "name", "seed", "state", "env_steps", "solved")} == {
        "env_id": "CartPole-v1",
        "name": "demo",
        "seed": 3,
        "state": "finished",
        "env_steps": 2048,
        "solved": False,
    }
    assert run_dir.name in ppocli("runs").stdout
    for target in (run_dir.name[:12], f"CartPole-v1/{run_dir.name[:12]}", "Cart", str(run_dir)):
        outcome = ppocli("evaluate", target, "--episodes", "2", "--json")
        assert strict_json(outcome.stdout)["checkpoint"].startswith(str(run_dir))
    assert ppocli("train", "--resume", run_dir.name[:12], "--json").exit_code == 0


def test_runs_show_what_was_measured_where_it_was(ppocli, run_dir):
    (before,) = strict_json(ppocli("runs", "--json").stdout)["runs"]
    assert before["evaluated_return"] is None
    assert f"~{before['best_return']:.1f}" in ppocli("runs").stdout
    mean = strict_json(ppocli("evaluate", "latest", "--json").stdout)["return_mean"]
    (after,) = strict_json(ppocli("runs", "--json").stdout)["runs"]
    assert (after["best_return"], after["evaluated_return"]) == (before["best_return"], pytest.approx(mean))
    assert f" {mean:.1f} " in ppocli("runs").stdout
    assert "~" not in ppocli("runs").stdout


def test_evaluate_names_a_greedy_policy_far_worse_than_its_training(ppocli, run_dir):
    path = run_dir / "checkpoints" / "best.safetensors"
    saved = checkpoint.load(path)
    state = {}
    for name, values in saved.arrays.items():
        part, _, rest = name.partition(".")
        state.setdefault(part, {})[rest] = values

    def warnings_after(trained_return, *options):
        state["judge"]["recent_returns"] = np.full(100, trained_return)
        checkpoint.save(path, saved.config, saved.progress, saved.versions, state)
        outcome = ppocli("evaluate", "latest", "--json", *options)
        lines = [line for line in outcome.stderr.splitlines() if line.startswith("warning: ")]
        return strict_json(outcome.stdout), lines

    result, (line,) = warnings_after(450.0)
    gap = 450 - result["return_mean"]
    assert result["greedy_shortfall"] == pytest.approx(gap)
    assert line == (
        f"warning: training, which samples actions, averaged 450.0 before this checkpoint, {gap:.1f} more than the "
        "greedy policy; compare --stochastic"
    )
    for trained_return, options in ((450.0, ["--stochastic"]), (1.0, [])):
        result, lines = warnings_after(trained_return, *options)
        assert (result["greedy_shortfall"], lines) == (None, [])


def test_runs_are_filtered_and_sorted(ppocli, run_dir):
    damaged = shutil.copytree(run_dir, run_dir.with_name("damaged"))
    (damaged / "metrics.csv").write_text("nothing")
    other = ("--set", "env.id=Counting-v0", "--set", "env.workers=0", "--seed", "2", "--set", "train.env_steps=256")
    assert ppocli("train", "--config", "cartpole", *FAST, *other).exit_code == 0

    def seeds(*options):
        return [run["seed"] for run in strict_json(ppocli("runs", "--json", *options).stdout)["runs"]]

    outcome = ppocli("runs")
    assert outcome.exit_code == 0
    assert "warning: left out: " in outcome.stderr
    assert "metrics.csv" in outcome.stderr
    assert seeds() == [2, 3]
    assert seeds("--sort", "env") == seeds("--sort", "steps") == seeds("--sort", "return") == [3, 2]
    assert seeds("--sort", "best") == [3, 2]  # as the column was called
    assert seeds("--sort", "seed") == [2, 3]
    assert seeds("--env", "Cart") == [3]
    assert seeds("--state", "failed") == []
    assert "none of the runs under runs is one of those" in ppocli("runs", "--state", "failed").stderr
    assert ppocli("runs", "--env", "cart").stdout.count("CartPole-v1") == 1
    assert "no run under elsewhere; ppocli train makes one" in ppocli("runs", "--runs-dir", "elsewhere").stderr


def test_no_runs(ppocli):
    outcome = ppocli("runs")
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "ppocli train makes one" in outcome.stderr


def test_plot_draws_one_run_beside_random_and_several_as_curves(ppocli, run_dir, tmp_path):
    outcome = ppocli("plot", "latest")
    assert outcome.stdout == f"figure: {run_dir.relative_to(tmp_path)}/plots/returns.png\n"
    assert (run_dir / "plots" / "returns.png").read_bytes().startswith(b"\x89PNG")
    assert (run_dir.parent / "random-baseline" / "episodes.csv").exists()
    outcome = ppocli("plot", "latest", str(run_dir), "--x", "seconds", "--statistic", "iqm", "--output", "new/x.svg")
    assert outcome.stdout == "figure: new/x.svg\n"
    assert (tmp_path / "new" / "x.svg").read_bytes().startswith(b"<?xml")
    assert ppocli("plot", "latest", "--why").stdout == f"figure: {run_dir.relative_to(tmp_path)}/plots/why.png\n"


def test_a_run_without_an_episode_is_left_out_of_a_figure_with_a_warning(ppocli, run_dir):
    empty = shutil.copytree(run_dir, run_dir.with_name("empty"))
    (empty / "config.yaml").write_text((run_dir / "config.yaml").read_text().replace("seed: 3", "seed: 4"))
    (empty / "episodes.csv").write_text((run_dir / "episodes.csv").read_text().splitlines()[0] + "\n")
    other = shutil.copytree(run_dir, run_dir.with_name("other"))
    (other / "config.yaml").write_text((run_dir / "config.yaml").read_text().replace("seed: 3", "seed: 5"))
    outcome = ppocli("plot", str(empty), str(run_dir), str(other))
    assert (outcome.exit_code, outcome.stdout) == (0, "figure: runs/CartPole-v1/plots/learning-curves.png\n")
    why = "it ends before its own or another run's first episode does"
    assert outcome.stderr == f"warning: left out: runs/CartPole-v1/empty: {why}\n"
    assert "no episode has ended in it yet, so there is nothing to draw" in error_line(ppocli("plot", str(empty)), 1)
    for path in (*empty.rglob("*.safetensors"), *other.rglob("*.safetensors")):
        path.unlink()  # which are not of these runs
    assert ppocli("report", str(empty), str(run_dir), str(other)).stderr == ""


def test_prolonging_one_of_several_seeds_does_not_split_them(ppocli, run_dir, tmp_path):
    assert ppocli("train", "--config", str(run_dir / "config.yaml"), "--seed", "4", "--name", "demo").exit_code == 0
    assert ppocli("train", "--resume", "latest", "--set", "train.env_steps=4096").exit_code == 0
    assert ppocli("plot", *map(str, run_dir.parent.glob("2*")), "--output", "x.svg").exit_code == 0
    assert "mean of 2 seeds" in (tmp_path / "x.svg").read_text()
    longer = ("--set", "train.env_steps=6144", "--set", "train.schedule_env_steps=2048")  # as long as it was to be
    assert ppocli("train", "--resume", "latest", *longer).exit_code == 0
    assert ppocli("plot", *map(str, run_dir.parent.glob("2*")), "--output", "x.svg").exit_code == 0
    assert "mean of 2 seeds" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("plot latest", 1, "no training run under"),
        ("plot latest --output x.jpg", 2, "--output x.jpg: the name must end in .png, .svg or .pdf"),
        ("plot", 2, "RUN"),
        ("runs --state dead", 2, "--state"),
        ("train --config cartpole --seed 1 --seeds 0-2", 2, "choose one"),
        ("train --config cartpole --seeds 4-0", 2, "--seeds 4-0: write them as 0-4 or as 0,3,7"),
        ("train --config cartpole --jobs 2", 2, "--jobs goes with --seeds"),
        ("train --resume latest --seeds 0-2", 2, "takes no --config, --from, --algorithm, --seed, --seeds"),
        ("train --config nothing --seeds 0-2", 2, "no such preset"),
    ],
)
def test_mistakes_with_several_runs(ppocli, tmp_path, arguments, code, message):
    assert message in error_line(ppocli(*arguments.split()), code)
    assert list(tmp_path.iterdir()) == []


def test_several_seeds_end_with_a_table_a_figure_and_one_object_each(ppocli, tmp_path):
    several = ("train", "--config", "cartpole", *FAST, "--seeds", "3,0")
    together = strict_json(ppocli(*several, "--json").stdout)
    assert [run["seed"] for run in together["runs"]] == [0, 3]
    assert [run["env_steps"] for run in together["runs"]] == [2048, 2048]
    assert together["return_mean"] == sum(run["evaluation"]["return_mean"] for run in together["runs"]) / 2
    assert Path(together["figure"]).parent == tmp_path / "runs" / "CartPole-v1" / "plots"
    assert Path(together["figure"]).read_bytes().startswith(b"\x89PNG")
    assert [run["name"] for run in strict_json(ppocli("runs", "--json").stdout)["runs"]] == [None, None]
    for run in together["runs"]:  # side by side no run has a worker; what was asked for is another matter
        trained = Run(Path(run["run_dir"]))
        assert (trained.config.env.workers, trained.info.workers) == ("auto", 0)


def test_a_figure_has_a_file_however_many_seeds_are_listed(run_dir):
    seeds = ",".join(map(str, range(200)))  # some hundred characters more than the name of a file may have
    figure = train._figure([run_dir], seeds)
    assert figure.is_file()
    assert figure.name.startswith(f"{run_dir.name.partition('-')[0]}-seeds-0_1_2_")


def test_a_figure_of_several_seeds_leaves_out_what_has_no_curve(run_dir, capsys, monkeypatch):
    monkeypatch.setattr(console, "began_in", run_dir.parents[2])
    empty = shutil.copytree(run_dir, run_dir.with_name("empty"))
    (empty / "episodes.csv").write_text((run_dir / "episodes.csv").read_text().splitlines()[0] + "\n")
    assert train._figure([run_dir, empty], "3,4").is_file()
    assert capsys.readouterr().err.startswith("warning: not in the figure: runs/CartPole-v1/empty: it ends before ")


def test_seeds_without_a_single_episode_have_no_figure(ppocli):
    sets = ("--set", "env.num_envs=2", "--set", "rollout.horizon=2", "--set", "update.minibatch_size=4")
    outcome = ppocli(
        "train", "--config", "cartpole", *FAST, *sets, "--set", "train.env_steps=4", "--seeds", "0", "--json"
    )
    assert (outcome.exit_code, strict_json(outcome.stdout)["figure"]) == (0, None)
    assert "warning: no figure: " in outcome.stderr
    assert "no episode has ended in it yet" in outcome.stderr


def test_a_seed_that_fails_is_an_error_of_the_command(ppocli):
    outcome = ppocli("train", "--config", "cartpole", "--set", "env.id=Unbuilt-v0", "--seeds", "0,1", "--jobs", "1")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "error: seed 0: env.id: 'Unbuilt-v0'" in outcome.stderr


# ----------------------------------------------------------------------------------------------------------------------
# Shell completion


def test_presets_are_completed_in_a_shell(tmp_path):
    command = [sys.executable, "-m", "ppocli"]
    words = {"_PPOCLI_COMPLETE": "complete_bash", "COMP_WORDS": "ppocli train --config mountain", "COMP_CWORD": "3"}
    settings = {"cwd": tmp_path, "env": os.environ | words, "timeout": PATIENCE_SECONDS}
    outcome = subprocess.run(command, capture_output=True, text=True, **settings)
    assert (outcome.stdout.split(), outcome.stderr) == (["mountain_car", "mountain_car_continuous"], "")


@pytest.fixture
def completions(ppocli, monkeypatch):
    """Return the words that complete a line."""

    def completed(line):
        monkeypatch.setenv("_PPOCLI_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        outcome = ppocli()
        assert (outcome.exit_code, outcome.stderr) == (0, "")
        return outcome.stdout.split()

    return completed


def test_runs_are_completed(completions, run_dir):
    assert completions("ppocli evaluate l") == ["latest"]
    assert completions("ppocli render 20") == [run_dir.name]
    assert completions("ppocli plot latest Cart") == [f"CartPole-v1/{run_dir.name}"]
    assert completions("ppocli train --resume 20") == [run_dir.name]
    assert completions("ppocli evaluate --runs-dir elsewhere 20") == []
    for name in ("my run", "$(touch x)"):  # which would be more than a word to the shell
        shutil.copytree(run_dir, run_dir.with_name(name))
    assert completions("ppocli plot m") == completions("ppocli plot $") == []


def test_files_are_those_of_where_the_command_began_wherever_an_import_goes(ppocli, run_dir, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "wanders.py").write_text("import os; os.chdir('elsewhere')")
    monkeypatch.setattr(sys, "path", [*sys.path])
    best = (run_dir / "checkpoints" / "best.safetensors").relative_to(tmp_path)
    outcome = ppocli("evaluate", str(best), "--episodes", "2", "--import", "wanders.py", "--json")
    assert strict_json(outcome.stdout)["checkpoint"] == str(tmp_path / best)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("wanders")
    stray = Path(shutil.copy(best, "stray.safetensors"))
    assert ppocli("render", str(stray), "--import", "wanders.py").exit_code == 0
    assert Path.cwd() == tmp_path / "elsewhere"
    assert (tmp_path / "stray-seed0.mp4").stat().st_size > 0
    sys.modules.pop("wanders")
