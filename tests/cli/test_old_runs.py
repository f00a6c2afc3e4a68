"""Runs of version 0.1, as it wrote them: whatever becomes of the package, every command goes on taking them."""

import shutil
from pathlib import Path

import pytest

from ppocli.config.load import load_config
from ppocli.records import checkpoint
from tests.cli.commands import strict_json

OLD_RUNS = Path(__file__).parents[1] / "data" / "old_runs"
CARTPOLE, PENDULUM = "CartPole-v1/20261126T031545Z-seed3-small", "Pendulum-v1/20261126T031611Z-seed0"

both = pytest.mark.parametrize("run", [CARTPOLE, PENDULUM])


@pytest.fixture(autouse=True)
def runs(tmp_path):
    """A folder of runs to work in, of which the originals know nothing."""
    return shutil.copytree(OLD_RUNS, tmp_path / "runs")


def test_they_are_listed(ppocli):
    cartpole, pendulum = strict_json(ppocli("runs", "--sort", "env", "--json").stdout)["runs"]
    assert cartpole["run_dir"].endswith(CARTPOLE)
    assert pendulum["run_dir"].endswith(PENDULUM)
    keys = ("state", "name", "seed", "env_steps", "solved", "error")
    assert [cartpole[key] for key in keys] == ["finished", "small", 3, 2048, True, None]
    assert [pendulum[key] for key in keys] == ["finished", None, 0, 3072, False, None]
    assert 0 < cartpole["solved_at_env_steps"] <= 2048
    table = ppocli("runs").stdout
    assert CARTPOLE.partition("/")[2] in table
    assert PENDULUM.partition("/")[2] in table


@both
def test_they_are_evaluated(ppocli, runs, run):
    result = strict_json(ppocli("evaluate", run, "--episodes", "3", "--json").stdout)
    assert (result["env_id"], result["episodes"]) == (run.split("/")[0], 3)
    assert len(strict_json((runs / run / "evaluation.json").read_text())["episode_returns"]) == 3


def test_an_evaluation_comes_out_as_it_did(ppocli, runs):
    """To the bit on any machine: this agent does not hesitate, so that its choices do not hang on last bits."""
    before = strict_json((runs / CARTPOLE / "evaluation.json").read_text())
    again = ppocli("evaluate", CARTPOLE, "--episodes", str(before["episodes"]), "--seed", str(before["seed"]))
    assert again.exit_code == 0
    after = strict_json((runs / CARTPOLE / "evaluation.json").read_text())
    timeless = ("episode_seeds", "episode_returns", "random_episode_returns", "return_mean", "return_iqm_ci95")
    assert [after[key] for key in timeless] == [before[key] for key in timeless]


@pytest.mark.parametrize(("run", "name", "format"), [(CARTPOLE, "x.gif", b"GIF89a"), (PENDULUM, "x.mp4", b"ftyp")])
def test_they_are_rendered(ppocli, tmp_path, run, name, format):
    outcome = ppocli("render", run, "--output", name)
    assert outcome.exit_code == 0, outcome.stderr
    assert format in (tmp_path / name).read_bytes()[:12]


@both
def test_they_are_plotted(ppocli, runs, run):
    outcome = ppocli("plot", run)
    assert outcome.exit_code == 0, outcome.stderr
    assert (runs / run / "plots" / "returns.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_they_are_plotted_and_reported_together(ppocli, runs):
    assert ppocli("plot", CARTPOLE, PENDULUM).exit_code == 0
    assert (runs / "plots" / "learning-curves.png").is_file()
    outcome = ppocli("report", CARTPOLE, PENDULUM)
    assert outcome.exit_code == 0, outcome.stderr
    page = (runs / "report.html").read_text()
    assert "PPO on CartPole-v1 and Pendulum-v1" in page
    assert "resumed 1×" in page
    for command in (
        "ppocli train --config pend.yaml --runs-dir runs --quiet --set ppo.ent_coef=1e-3",
        "ppocli train --resume latest --runs-dir runs --set train.env_steps=3000 --quiet",
    ):
        assert command in page


@both
def test_a_finished_one_has_nothing_left_to_train(ppocli, runs, run):
    last = (runs / run / "checkpoints" / "last.safetensors").read_bytes()
    outcome = ppocli("train", "--resume", run)
    assert outcome.exit_code == 0, outcome.stderr
    assert "nothing: it has its " in outcome.stdout
    assert (runs / run / "checkpoints" / "last.safetensors").read_bytes() == last


@both
def test_one_goes_on_beyond_its_end(ppocli, runs, run):
    before = checkpoint.load(runs / run / "checkpoints" / "last.safetensors").progress
    outcome = ppocli("train", "--resume", run, "--set", f"train.env_steps={before.env_steps + 1}", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = strict_json(outcome.stdout)
    assert result["resumed_at_env_steps"] == before.env_steps
    assert result["iterations"] == before.iterations + 1
    saved = checkpoint.load(runs / run / "checkpoints" / "last.safetensors")
    assert saved.progress.iterations == before.iterations + 1
    rows = (runs / run / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + saved.progress.iterations
    assert load_config(str(runs / run / "config.yaml")) == saved.config


def test_their_random_baseline_is_read(ppocli, runs):
    folder = runs / "CartPole-v1" / "random-baseline"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    mean = strict_json((folder / "evaluation.json").read_text())["return_mean"]
    assert ppocli("plot", CARTPOLE, "--output", "x.svg").exit_code == 0
    # Text of an SVG is drawn; what it says stands in a comment beside it.
    assert f"mean {mean:.1f}" in Path("x.svg").read_text()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@both
def test_their_config_trains_a_new_run(ppocli, runs, run):
    config, folder = str(runs / run / "config.yaml"), runs / run.split("/")[0]
    short = ("--set", "train.env_steps=1", "--set", "train.target_return=null")
    assert ppocli("train", "--config", config, *short, "--set", "ppo.gamma=0.5").exit_code == 0
    (new,) = (path for path in folder.iterdir() if path.name not in (run.split("/")[1], "random-baseline"))
    assert load_config(str(new / "config.yaml")).rollout.gamma == 0.5
