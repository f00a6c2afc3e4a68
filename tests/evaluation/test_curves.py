import csv
import json
from dataclasses import astuple

import numpy as np
import pytest

from ppocli.config.models import Config
from ppocli.errors import RunError
from ppocli.evaluation.curves import (
    Axis,
    Statistic,
    band,
    differing_keys,
    drawable,
    groups,
    learning_curve,
    overlapping,
    running_mean,
    settings_of,
    without_repeats,
)
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


def test_runs_without_a_place_in_common_are_left_out(tmp_path):
    def run(name, *ends, **sections):
        return run_with(tmp_path / name, [episode(n, end, n, 3.0) for n, end in enumerate(ends, start=1)], **sections)

    empty = run("empty")
    short = run("short", 8, train={"seed": 1})
    long = run("long", 64, 128, train={"seed": 2})
    longer = run("longer", 8, 64, train={"seed": 3})  # ends just where the other begins
    other = run("other", 4, rollout={"gamma": 0.9})  # which is early, but has nobody to overlap with
    runs = [empty, short, long, longer, other]
    assert drawable(runs, Axis.ENV_STEPS) == ([long, longer, other], [empty, short])
    assert drawable(runs, Axis.SECONDS) == ([short, long, longer, other], [empty])  # all first end after 1 s
    assert overlapping(runs[:4], Axis.ENV_STEPS) == [long, longer]
    assert overlapping([empty], Axis.ENV_STEPS) == []
    assert band([long, longer], Axis.ENV_STEPS, Statistic.MEAN).x[[0, -1]].tolist() == [64, 64]


def test_where_no_run_has_an_episode_one_is_named(tmp_path):
    runs = [run_with(tmp_path / name, train={"seed": seed}) for seed, name in enumerate("ab")]
    with pytest.raises(RunError, match="a: no episode has ended in it yet, so there is nothing to draw"):
        drawable(runs, Axis.ENV_STEPS)


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
        "gamma 0.995, learning_rate 0.0006 → 0.0001",
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
    # what the other two have in common is not said of them
    assert [group.label for group in found] == ["gae_lambda 0.95 …", "gae_lambda 0.8", "gae_lambda 0.7"]
    # of two keys that split all the same, the first; then another, for those that it leaves together
    rollouts = [{"gamma": 0.5, "gae_lambda": 0.5}, *[{"gamma": 0.9, "gae_lambda": 0.8}] * 3]
    updates = [
        {"vf_coef": value, "update_epochs": epochs} for value, epochs in ((0.1, 3), (0.2, 3), (0.1, 4), (0.2, 4))
    ]
    configs = enumerate(zip(rollouts, updates, strict=True))
    found = groups([run_with(tmp_path / f"x{number}", rollout=one, update=two) for number, (one, two) in configs])
    assert [group.label for group in found] == [
        "gamma 0.5, update_epochs 3, vf_coef 0.1 …",
        "update_epochs 3, vf_coef 0.2",
        "update_epochs 4, vf_coef 0.1",
        "update_epochs 4, vf_coef 0.2",
    ]


def test_an_algorithm_is_told_by_its_name_and_by_no_key_of_another(tmp_path):
    sections = [{"ppo": {"clip_coef": 0.1}}, {"algorithm": "trpo", "trpo": {"target_kl": 0.02}}, {"algorithm": "trpo"}]
    runs = [run_with(tmp_path / str(number), **changed) for number, changed in enumerate(sections)]
    assert [group.label for group in groups(runs[:2])] == ["ppo", "trpo"]
    labels = [group.label for group in groups(runs)]
    assert labels == ["ppo", "trpo, target_kl 0.02", "trpo"]


def test_overrides_of_a_stranger_that_are_no_keys_and_values_end_no_command(tmp_path):
    runs = [run_with(tmp_path / str(number), rollout={"gamma": 1 - number / 10}) for number in range(2)]
    for number, run in enumerate(runs):
        (run.path / "run.json").write_text(json.dumps({"config_name": f"{number}", "overrides": ["nonsense"]}))
    assert [group.label.partition(",")[0] for group in groups(runs)] == ["0", "1"]


def test_of_many_configs_each_is_told_by_what_is_its_own(tmp_path):
    sections = [
        {},
        {"rollout": {"gamma": 0.9, "gae_lambda": 0.8}},
        {"update": {"learning_rate": 1e-4}},
        {"network": {"activation": "relu"}},
        {"ppo": {"clip_coef": 0.1}},
        {"env": {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}},
    ]
    runs = [run_with(tmp_path / str(number), **changed) for number, changed in enumerate(sections)]
    own = ["learning_rate 0.0001", "activation relu", "clip_coef 0.1", "kwargs sutton_barto_reward=True"]
    assert [group.label for group in groups(runs)] == ["the common settings", "gamma 0.9 …", *own]
    for run in runs:
        (run.path / "run.json").write_text(json.dumps({"config_name": "small", "overrides": []}))
    labels = [group.label for group in groups(runs)]
    assert labels == ["small", "small, gamma 0.9 …", *[f"small, {words}" for words in own]]


def test_the_name_that_all_runs_of_a_group_have_is_its_label(tmp_path):
    def run(name, folder, **sections):
        made = run_with(tmp_path / folder, **sections)
        (made.path / "run.json").write_text(json.dumps({"name": name, "config_name": "lunar", "overrides": ["a.b=1"]}))
        return made

    slow = [run("slow", f"slow{seed}", train={"seed": seed}) for seed in range(2)]
    fast = [run("fast", f"fast{seed}", train={"seed": seed}, rollout={"gamma": 0.9}) for seed in range(2)]
    assert [group.label for group in groups(slow)] == ["slow"]
    assert [group.label for group in groups([*slow, *fast])] == ["slow", "fast"]
    again = run("slow", "again", rollout={"gamma": 0.8})  # the same name for another config
    assert [group.label for group in groups([*slow, again])] == ["slow, gamma 0.995", "slow, gamma 0.8"]
    other = run("other", "other", train={"seed": 2})
    assert [group.label for group in groups([*slow, other])] == [""]  # they share no name
    assert [group.label for group in groups([*slow, other, *fast])] == ["lunar, b 1", "fast"]


def test_values_that_look_alike_are_told_apart(tmp_path):
    configs = [{"gamma": 0.9999999}, {"gamma": 0.9999998}]
    found = groups([run_with(tmp_path / f"g{number}", rollout=rollout) for number, rollout in enumerate(configs)])
    assert [group.label for group in found] == ["gamma 0.9999999", "gamma 0.9999998"]
    configs = [{"learning_rate": {"start": 3e-4, "end": 0, "shape": shape}} for shape in ("linear", "cosine")]
    found = groups([run_with(tmp_path / f"s{number}", update=update) for number, update in enumerate(configs)])
    assert [group.label for group in found] == ["learning_rate 0.0003 → 0", "learning_rate 0.0003 → 0 (cosine)"]
    configs = [{"target_kl": limit} for limit in (None, 0.5)]
    found = groups([run_with(tmp_path / f"k{number}", ppo=ppo) for number, ppo in enumerate(configs)])
    assert [group.label for group in found] == ["target_kl none", "target_kl 0.5"]


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


def test_arguments_are_the_same_in_any_order_and_numbers_however_they_are_written(tmp_path):
    one, same, other, flag = (run_with(tmp_path / name) for name in ("one", "same", "other", "flag"))
    texts = ("{gravity: 10, wind: true}", "{wind: true, gravity: 10.0}", "{gravity: 11, wind: true}")
    for run, kwargs in zip((one, same, other), texts, strict=True):
        (run.path / "config.yaml").write_text(f"env: {{id: LunarLander-v3, kwargs: {kwargs}}}")
    (flag.path / "config.yaml").write_text("env: {id: LunarLander-v3, kwargs: {gravity: 10, wind: 1}}")
    assert [group.runs for group in groups([one, same, other])] == [(one, same), (other,)]
    assert without_repeats([one, same, other])[1] == [(same, one)]
    assert [group.runs for group in groups([one, flag])] == [(one,), (flag,)]  # true is not the number 1
    assert differing_keys([settings_of(one), settings_of(same)]) == []
    assert differing_keys([settings_of(one), settings_of(flag)]) == ["env.kwargs"]


def test_a_run_that_was_prolonged_stays_with_the_others_of_its_group(tmp_path):
    def run(name, env_steps, began, **train):
        made = run_with(tmp_path / name, [episode(1, env_steps, 1, 3.0)], train={"env_steps": env_steps} | train)
        (made.path / "run.json").write_text(json.dumps({"began_with_env_steps": began}))
        return made

    prolonged = run("prolonged", 2000, 1000)
    others = [run("new", 1000, 1000, seed=1), run("old", 1000, None, seed=2)]  # old ones did not record it
    longer = run("longer", 2000, 2000, seed=3)  # its schedules went down more slowly from the first step on
    found = groups([prolonged, *others, longer])
    assert [group.runs for group in found] == [(prolonged, *others), (longer,)]
    assert [group.label for group in found] == ["env_steps 1000", "env_steps 2000"]
    first = run("first", 1000, 1000)
    assert without_repeats([first, prolonged, longer]) == ([prolonged, longer], [(first, prolonged)])


def test_runs_of_other_code_are_no_repeats_and_their_group_says_so(tmp_path):
    def of(name, *digests):
        run = run_with(tmp_path / name, [episode(1, 64, 1.0, 5.0)])
        imports = [{"name": "my_task", "digest": digest} for digest in digests]
        (run.path / "run.json").write_text(json.dumps({"imports": imports}))
        return run

    old, again, new, plain = of("old", "a" * 64), of("again", "a" * 64), of("new", "b" * 64), of("plain")
    kept, repeats = without_repeats([old, again, new])
    assert (kept, repeats) == ([old, new], [(again, old)])
    assert [group.label for group in groups([old, new])] == ["several versions of the task's code"]
    assert [group.label for group in groups([old, again])] == [""]
    assert [group.label for group in groups([plain])] == [""]
