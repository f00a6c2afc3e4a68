import csv
import json
from dataclasses import astuple

import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.errors import RunError
from ppocli.evaluation.curves import Axis, Statistic, band, groups, learning_curve, running_mean, without_repeats
from ppocli.records.logs import LoggedEpisode
from ppocli.records.run import Run
from tests.records.runs import columns_of


def episode(number, env_steps, seconds, episode_return):
    return LoggedEpisode(number, env_steps, seconds, 0, 7, episode_return, 10, True, False)


def run_with(folder, episodes=(), target=None, **sections):
    """A run's directory as far as curves read it."""
    folder.mkdir()
    config = Config.model_validate({"env": {"id": "CartPole-v1"}} | sections)
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "run.json").write_text(json.dumps({"target_return": target}))
    with (folder / "episodes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns_of(LoggedEpisode), *map(astuple, episodes)])
    return Run(folder)


def test_the_running_mean_is_over_what_there_is_and_at_most_the_window():
    np.testing.assert_allclose(running_mean([1, 3, 5, 10], window=2), [1, 2, 4, 7.5])
    assert running_mean([], window=2).size == 0
    values = np.random.default_rng(0).normal(size=250)
    means = running_mean(values)
    assert means[-1] == pytest.approx(values[150:].mean())
    assert means[99] == pytest.approx(values[:100].mean())
    assert means[100] == pytest.approx(values[1:101].mean())


def test_a_curve_is_over_env_steps_or_seconds():
    episodes = [episode(1, 64, 2.5, 10.0), episode(2, 128, 5.0, 30.0)]
    for axis, x in ((Axis.ENV_STEPS, [64, 128]), (Axis.SECONDS, [2.5, 5.0])):
        found, returns = learning_curve(episodes, axis)
        assert found.tolist() == x
        assert returns.tolist() == [10.0, 20.0]


def test_runs_are_compared_where_all_have_something_to_say(tmp_path):
    # straight lines from 0 to 10 and from 20 to 40: the running means of two episodes are themselves straight
    first = run_with(tmp_path / "a", [episode(1, 0, 1, 0.0), episode(2, 100, 2, 20.0)])
    second = run_with(tmp_path / "b", [episode(1, 50, 1, 20.0), episode(2, 250, 2, 60.0)])
    found = band([first, second], Axis.ENV_STEPS, Statistic.MEAN)
    assert (found.x[0], found.x[-1]) == (50, 100)
    # at 50 the first stands at 5 and the second at 20; at 100 at 10 and 25
    assert found.center[[0, -1]] == pytest.approx([12.5, 17.5])
    low, high = found.interval
    # of two values the error of the mean is half their difference, and t's quantile for one degree of freedom 12.7062
    assert (low[0], high[0]) == pytest.approx((12.5 - 12.7062 * 7.5, 12.5 + 12.7062 * 7.5), abs=1e-3)
    assert (low[-1], high[-1]) == pytest.approx((17.5 - 12.7062 * 7.5, 17.5 + 12.7062 * 7.5), abs=1e-3)


def test_the_interquartile_mean_of_five_runs_forgets_the_two_at_the_ends(tmp_path):
    runs = [
        run_with(tmp_path / str(level), [episode(1, 0, 1, level), episode(2, 9, 2, level)])
        for level in (-1000.0, 1.0, 2.0, 3.0, 500.0)
    ]
    middle = band(runs, Axis.ENV_STEPS, Statistic.IQM)
    assert middle.center == pytest.approx(2.0)
    # and so does its interval: winsorised they are 1, 1, 2, 3, 3, of which three are kept
    assert middle.interval[1] == pytest.approx(2 + 4.3027 * (4 / 6) ** 0.5, abs=1e-3)
    assert band(runs, Axis.ENV_STEPS, Statistic.MEAN).center == pytest.approx((-1000 + 1 + 2 + 3 + 500) / 5)


def test_one_run_has_no_interval(tmp_path):
    assert band([run_with(tmp_path / "a", [episode(1, 5, 1, 3.0)])], Axis.SECONDS, Statistic.MEAN).interval is None


def test_a_run_without_an_episode_is_named(tmp_path):
    with pytest.raises(RunError, match="a: no episode has ended in it yet"):
        band([run_with(tmp_path / "a")], Axis.ENV_STEPS, Statistic.MEAN)


def test_runs_that_nowhere_overlap_are_no_curve(tmp_path):
    long = run_with(tmp_path / "long", [episode(1, 64, 1, 3.0), episode(2, 128, 2, 3.0)])
    short = run_with(tmp_path / "short", [episode(1, 8, 1, 3.0)])
    with pytest.raises(RunError, match="short: it ends before another run's first episode does; leave it out"):
        band([long, short], Axis.ENV_STEPS, Statistic.MEAN)


def test_groups_are_by_environment_and_config_but_for_what_changes_no_result(tmp_path):
    runs = [
        run_with(tmp_path / "0", target=475, train={"seed": 0}),
        run_with(tmp_path / "1", train={"seed": 1, "checkpoint_interval": 5}),
        run_with(tmp_path / "2", rollout={"gamma": 0.9}, update={"learning_rate": 1e-3}),
        run_with(tmp_path / "3", env={"id": "Acrobot-v1", "workers": 0}),
        run_with(tmp_path / "4", env={"id": "Acrobot-v1", "workers": 1}),
    ]
    found = groups(runs)
    assert [(group.env_id, [run.path.name for run in group.runs]) for group in found] == [
        ("CartPole-v1", ["0", "1"]),
        ("CartPole-v1", ["2"]),
        ("Acrobot-v1", ["3", "4"]),
    ]
    assert [group.label for group in found] == [
        "gamma 0.99, learning_rate 0.0003 → 0",
        "gamma 0.9, learning_rate 0.001",
        "",
    ]
    assert [group.target for group in found] == [475.0, None, None]


def test_a_label_stays_short_and_yet_tells_all_apart(tmp_path):
    update = {"vf_coef": 0.1, "update_epochs": 3}
    first, second, third = (
        {},
        {"rollout": {"gamma": 0.9, "gae_lambda": 0.8}, "update": update},
        {"rollout": {"gamma": 0.9, "gae_lambda": 0.7}, "update": update},
    )
    found = groups([run_with(tmp_path / str(number), **one) for number, one in enumerate((first, second, third))])
    assert [group.label for group in found] == ["gae_lambda 0.95 …", "gae_lambda 0.8 …", "gae_lambda 0.7 …"]
    # of two keys that split all the same, the first; then another, for those that it leaves together
    rollouts = [{"gamma": 0.5, "gae_lambda": 0.5}, *[{"gamma": 0.9, "gae_lambda": 0.8}] * 3]
    updates = [
        {"vf_coef": value, "update_epochs": epochs} for value, epochs in ((0.1, 3), (0.2, 3), (0.1, 4), (0.2, 4))
    ]
    configs = enumerate(zip(rollouts, updates, strict=True))
    found = groups([run_with(tmp_path / f"x{number}", rollout=one, update=two) for number, (one, two) in configs])
    assert [group.label for group in found] == [
        "gamma 0.5, update_epochs 3, vf_coef 0.1 …",
        "gamma 0.9, update_epochs 3, vf_coef 0.2 …",
        "gamma 0.9, update_epochs 4, vf_coef 0.1 …",
        "gamma 0.9, update_epochs 4, vf_coef 0.2 …",
    ]


def test_values_that_look_alike_are_told_apart(tmp_path):
    configs = [{"gamma": 0.9999999}, {"gamma": 0.9999998}]
    found = groups([run_with(tmp_path / f"g{number}", rollout=rollout) for number, rollout in enumerate(configs)])
    assert [group.label for group in found] == ["gamma 0.9999999", "gamma 0.9999998"]
    configs = [{"learning_rate": {"start": 3e-4, "end": 0, "shape": shape}} for shape in ("linear", "cosine")]
    found = groups([run_with(tmp_path / f"s{number}", update=update) for number, update in enumerate(configs)])
    assert [group.label for group in found] == ["learning_rate 0.0003 → 0", "learning_rate 0.0003 → 0 (cosine)"]


def test_a_config_goes_by_its_name_and_by_its_values_where_that_is_not_enough(tmp_path):
    gammas = enumerate((0.9, 0.8, 0.7, 0.6))
    runs = [run_with(tmp_path / str(number), rollout={"gamma": gamma}) for number, gamma in gammas]

    def says(run, **info):
        (run.path / "run.json").write_text(json.dumps(info))

    for run, name in zip(runs, ("lunar", "lunar", "own", ""), strict=True):
        says(run, config_name=name, overrides=[])
    labels = ["lunar, gamma 0.9", "lunar, gamma 0.8", "own", "gamma 0.6"]
    assert [group.label for group in groups(runs)] == labels
    says(runs[0], config_name="notebook/lunar", overrides=["train.seed=7", "rollout.gamma=0.9"])
    says(runs[1], config_name="small", overrides=[])
    assert [group.label for group in groups(runs)] == ["notebook/lunar, gamma 0.9", "small", *labels[2:]]
    assert [group.label for group in groups(runs[2:3])] == [""]
    keys = ("rollout.gamma", "update.vf_coef", "train.seed", "update.norm_adv", "env.num_envs")
    for run in runs[:2]:
        says(run, config_name=run.path.name, overrides=[f"{key}=1" for key in keys])
    assert groups(runs)[0].label == "0, gamma 1, vf_coef 1, norm_adv 1 …"


def test_runs_of_version_0_1_go_by_the_words_of_their_command(tmp_path):
    gammas = enumerate((0.9, 0.8, 0.7, 0.6))
    runs = [run_with(tmp_path / str(number), rollout={"gamma": gamma}) for number, gamma in gammas]
    commands = [["--config", "lunar"], ["--config=configs/lunar.yaml", "--seed", "3"], ["--config", "my/own.yaml"], []]
    for run, command in zip(runs, commands, strict=True):
        (run.path / "run.json").write_text(json.dumps({"command": ["ppocli", "train", *command]}))
    labels = ["lunar, gamma 0.9", "lunar, gamma 0.8", "own", "gamma 0.6"]
    assert [group.label for group in groups(runs)] == labels
    command = ["--config", "lunar", "--config=notebook/lunar", "--set", "train.seed=7", "--set=ppo.gamma=0.9"]
    (runs[0].path / "run.json").write_text(json.dumps({"command": command}))  # the last --config is the one that counts
    (runs[1].path / "run.json").write_text(json.dumps({"command": ["--config", "C:\\Users\\me\\small.yaml"]}))
    assert [group.label for group in groups(runs)] == ["notebook/lunar, gamma 0.9", "small", *labels[2:]]


def test_a_config_is_the_same_by_its_old_names(tmp_path):
    new = run_with(tmp_path / "new", rollout={"gamma": 0.9}, update={"norm_adv": False})
    old = run_with(tmp_path / "old")
    (old.path / "config.yaml").write_text("env: {id: CartPole-v1}\nppo: {gamma: 0.9, norm_adv: false}\n")
    other = run_with(tmp_path / "other", rollout={"gamma": 0.8})
    assert [group.runs for group in groups([new, old, other])] == [(new, old), (other,)]


def test_the_same_seed_of_a_config_counts_once(tmp_path):
    short = run_with(tmp_path / "short", [episode(1, 8, 1, 3.0)])
    long = run_with(
        tmp_path / "long", [episode(1, 8, 1, 3.0), episode(2, 64, 1, 3.0)], env={"id": "CartPole-v1", "workers": 0}
    )
    again = run_with(tmp_path / "again")
    others = [run_with(tmp_path / "seed", train={"seed": 1}), run_with(tmp_path / "config", rollout={"gamma": 0.9})]
    kept, repeats = without_repeats([short, others[0], long, again, others[1]])
    assert kept == [long, *others]
    assert repeats == [(short, long), (again, long)]


def test_what_a_run_has_beyond_the_end_of_the_shortest_is_kept_apart(tmp_path):
    short = run_with(tmp_path / "short", [episode(1, 10, 1, 0.0), episode(2, 100, 2, 0.0)])
    almost = run_with(tmp_path / "almost", [episode(1, 10, 1, 0.0), episode(2, 101, 2, 0.0)])
    long = run_with(tmp_path / "long", [episode(1, 0, 1, 2.0), episode(2, 50, 2, 2.0), episode(3, 150, 3, 5.0)])
    found = band([short, almost, long], Axis.ENV_STEPS, Statistic.MEAN)
    ((x, y),) = found.tails
    assert found.x[-1] == 100
    assert x.tolist() == [100, 150]
    assert y == pytest.approx([2.5, 3.0])  # the running mean goes from 2 at 50 to 3 at 150
    assert band([short, almost], Axis.ENV_STEPS, Statistic.MEAN).tails == ()
