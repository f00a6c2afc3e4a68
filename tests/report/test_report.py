"""The report: what it says, from runs made by hand, and how the page behaves in a real browser."""

import base64
import csv
import itertools
import json
import re
import shutil
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import imageio
import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from ppocli.config.models import Config
from ppocli.errors import PpocliError, RunError, UsageError
from ppocli.evaluation import curves
from ppocli.evaluation.health import FIRST_ITERATION
from ppocli.files import check_output
from ppocli.pictures import figures
from ppocli.records.kept import Evaluation
from ppocli.records.logs import LoggedEpisode, Metrics
from ppocli.records.run import Run
from ppocli.records.writer import RunWriter
from ppocli.report import charts, data, films, page, sentences, tables
from tests import jobs
from tests.evaluation.test_curves import episode
from tests.records.runs import columns_of

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def metrics(iteration, **changes):
    healthy = {"approx_kl": 0.01, "clip_fraction": 0.1, "entropy": 0.5, "explained_variance": 0.9, "seconds": 12.5}
    row = (
        dict.fromkeys(columns_of(Metrics), 1.0)
        | healthy
        | {"iteration": iteration, "env_steps": 100 * iteration, "episodes": 1}
    )
    returns = {"return_min": iteration - 0.5, "return_mean": float(iteration), "return_max": iteration + 0.5}
    return Metrics(
        **row | returns | {"saturated_actions": None, "step_length": None, "line_search_steps": None} | changes
    )


def run_directory(folder, *, config=(), info=(), rows=(), episodes=()):
    """A run's directory as the report reads it, without a checkpoint."""
    folder.mkdir(parents=True)
    settings = Config.model_validate({"env": {"id": "CartPole-v1"}} | dict(config))
    (folder / "config.yaml").write_text(settings.to_yaml())
    (folder / "run.json").write_text(json.dumps({"state": "finished", "target_return": 475} | dict(info)))
    for name, row, lines in (("metrics", Metrics, rows), ("episodes", LoggedEpisode, episodes)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns_of(row), *map(astuple, lines)])
    return Run(folder)


def evaluated(environment, *returns):
    """What is known of an environment, as if the agents of its runs had been evaluated with these returns."""
    lists = iter(returns)

    def evaluation(found):
        return Evaluation(
            deterministic=True,
            checkpoint_env_steps=1,
            episode_seeds=list(range(len(found))),
            episode_returns=found,
            random_episode_returns=[-1.0, -3.0],
        )

    groups = [
        replace(group, runs=[replace(run, evaluation=evaluation(next(lists))) for run in group.runs])
        for group in environment.groups
    ]
    return replace(environment, groups=groups)


def solved(env_steps, seconds):
    return {"solved": {"env_steps": env_steps, "seconds": seconds, "return_mean": 480.0}}


def seeds(folder, *info, **more):
    """Runs of one config, and what is known of them."""
    runs = [
        run_directory(folder / str(number), config={"train": {"seed": number}}, info=more | one)
        for number, one in enumerate(info)
    ]
    (environment,) = data.gather(runs)
    return environment


def sentence(environment):
    (group,) = environment.groups
    return sentences.result_sentence(group)


# ----------------------------------------------------------------------------------------------------------------------
# Sentences and tables


def test_one_run_that_solved_its_task(tmp_path):
    environment = evaluated(seeds(tmp_path, solved(4096, 9.0)), [1.0, 2.0, 3.0])
    assert sentence(environment) == (
        "PPO learned CartPole-v1 from seed 0: over 3 unseen episodes the greedy agent’s mean return is 2.0 (standard "
        "deviation 0.8), the random policy’s −2.0; it solved the task (mean return ≥ 475), after 4,096 env steps "
        "(9.0 s of training)."
    )


def test_three_seeds_that_all_solved_their_task(tmp_path):
    environment = seeds(tmp_path, solved(90112, 9.0), solved(122880, 14.2), solved(100000, 12.0))
    # Student's: the error of 20, 60 and 1,040 is √(667,466.7 / 6), and t's quantile 4.3027
    assert sentence(evaluated(environment, [10.0, 30.0], [60.0], [1040.0])) == (
        "PPO learned CartPole-v1 from 3 seeds: over 1 to 2 unseen episodes each, the greedy agents’ mean return is "
        "373.3 (95 % t interval over seeds −1,061.7 to 1,808.4), the random policy’s −2.0; all 3 solved the task "
        "(mean return ≥ 475), after 90,112 to 122,880 env steps (9.0 s to 14 s of training)."
    )
    more = seeds(tmp_path / "more", *[{}] * 5)
    means = [1.0, 2.0, 3.0, 4.0, 90.0]
    # squares about 20 sum to 6,130, the error is √(6,130 / 20), and t's quantile 2.7764
    text = sentence(evaluated(more, *[[value] for value in means]))
    assert "mean return is 20.0 (95 % t interval over seeds −28.6 to 68.6)" in text


def test_seeds_that_did_not_solve_or_failed_are_no_gap_that_a_median_steps_over(tmp_path):
    def row(*info):
        rows = [metrics(1, env_steps=300_000)]
        runs = [
            run_directory(tmp_path / str(next(numbers)), config={"train": {"seed": seed}}, info=one, rows=rows)
            for seed, one in enumerate(info)
        ]
        other = run_directory(tmp_path / str(next(numbers)), config={"rollout": {"gamma": 0.9}})
        (environment,) = data.gather([*runs, other])
        return tables.group_table([environment]).rows[0][6:], environment

    numbers = itertools.count()
    early, late, failed = solved(64, 1.0), solved(96, 1.0), {"state": "failed"}
    assert row(early, late, {})[0] == ["2 of 3", "96"]  # of 64, 96 and later
    assert row(early, late, solved(70, 1.0), failed, {})[0] == ["3 of 5", "96"]
    assert row(early, late, {}, failed)[0] == ["2 of 4", "> 300,000"]
    cells, environment = row(early, {}, {})
    assert cells == ["1 of 3", "> 300,000"]
    first = evaluated(environment, [1.0], [1.0], [1.0], [1.0]).groups[0]
    assert sentences.result_sentence(first).endswith(
        " solved the task (mean return ≥ 475), after 64 env steps (1.0 s of training), the others not in 300,000."
    )


def test_a_mean_over_fewer_runs_than_there_are_says_so(tmp_path):
    environment = seeds(tmp_path, {}, {})
    half = replace(environment.groups[0], runs=[evaluated(environment, [5.0], [6.0]).runs[0], environment.runs[1]])
    table = tables.group_table([replace(environment, groups=[half, half])])
    assert table.rows[0][2:5] == ["2", "5.0 (1 of 2)", "–"]


def test_a_greedy_agent_far_worse_than_its_training_is_named(tmp_path):
    environment = evaluated(seeds(tmp_path, {}, {}), [5.0, 7.0], [9.0])
    first, second = environment.runs
    short = replace(first, evaluation=first.evaluation.model_copy(update={"greedy_shortfall": 183.25}))
    group = replace(environment.groups[0], runs=[short, second])
    html = page.page([replace(environment, groups=[group])], MADE)
    (line,) = [line for line in html.splitlines() if "--stochastic" in line]
    assert (
        "The greedy agent of seed 0 does worse than its training just before, which samples actions: by 183.2" in line
    )
    assert "--stochastic" not in page.page([environment], MADE)


def test_how_many_solved_their_task(tmp_path):
    won = solved(64, 1.0)
    for number, (info, words) in enumerate(
        [
            ([{}], "it has not solved the task (mean return ≥ 475)."),
            ([{}, {}], "neither has solved the task (mean return ≥ 475)."),
            ([{}, {}, {}], "none has solved the task (mean return ≥ 475)."),
            ([won, won], "both solved the task (mean return ≥ 475), after 64 env steps (1.0 s of training)."),
            (
                [won, {}],
                "1 of 2 solved the task (mean return ≥ 475), after 64 env steps (1.0 s of training), "
                "the other not in 0.",
            ),
        ]
    ):
        text = sentence(evaluated(seeds(tmp_path / str(number), *info), *[[1.0]] * len(info)))
        assert text.endswith(f"; {words}")
        assert text.startswith("PPO learned" if won in info else "PPO trained on")
    environment = seeds(tmp_path / "no target", {"target_return": None})
    assert sentence(evaluated(environment, [1.0])).endswith("; the task names no return that counts as solved.")


def test_runs_without_a_checkpoint_have_not_been_evaluated(tmp_path):
    environment = seeds(tmp_path, {}, {})
    assert sentence(environment) == (
        "PPO trained on CartPole-v1 from 2 seeds; no agent has been evaluated: it has no checkpoint yet."
    )
    half = replace(environment, groups=[replace(environment.groups[0], runs=list(environment.runs))])
    half.groups[0].runs[0] = evaluated(environment, [5.0], [6.0]).runs[0]
    assert "mean return is 5.0 (1 of 2 evaluated), the random" in sentence(half)
    html = page.page([environment], MADE)
    assert "The run with seed 1 has not been evaluated: it has no checkpoint yet." in html
    assert "No agent has been evaluated, so there is no episode to show." in html
    assert "No training episode has ended yet." in html


def test_a_run_that_has_not_come_to_its_end_says_so(tmp_path):
    rows = [metrics(1)]
    error = "/home/someone/my-runs/metrics.csv: No space left on device"
    config = {"env": {"id": "CartPole-v1", "num_envs": 2}, "rollout": {"horizon": 16}, "update": {"minibatch_size": 16}}
    runs = [
        run_directory(tmp_path / state, config=config | {"train": {"seed": seed, "env_steps": 640}}, rows=rows, info=f)
        for seed, (state, f) in enumerate(
            [
                ("running", {"state": "running"}),
                ("killed", {"state": "running"}),
                ("failed", {"state": "failed", "error": error}),
                ("finished", {"state": "finished"}),
            ]
        )
    ]
    trainer = RunWriter(runs[0])
    trainer.lock()
    with closing(trainer):
        (environment,) = data.gather(runs)
    assert sentences.standing_sentences(environment) == [
        "The run with seed 0 is still training, at 100 of 640 env steps.",
        "The run with seed 1 was interrupted at 100 of 640 env steps.",
        "The run with seed 2 failed at 100 of 640 env steps: …/metrics.csv: No space left on device",
    ]
    (alone,) = data.gather(runs[1:2])
    assert sentences.standing_sentences(alone) == ["The run was interrupted at 100 of 640 env steps."]


def test_what_a_run_began_with_and_what_ended_it_early_is_said(tmp_path):
    ancestor = {"checkpoint": "/home/someone/first-run/checkpoints/best.safetensors", "digest": "", "env_steps": 3_000}
    info = {"begun_from": ancestor, "ended_by": "patience"}
    run = run_directory(tmp_path / "run", config={"train": {"env_steps": 640}}, rows=[metrics(1)], info=info)
    (environment,) = data.gather([run])
    assert sentences.standing_sentences(environment) == [
        "The run began with the agent of first-run, which had learned from 3,000 env steps.",
        "The run was ended by train.patience, at 100 of 1,024 env steps.",
    ]


def test_every_config_has_a_sentence_and_a_row(tmp_path):
    runs = [
        run_directory(tmp_path / "a", config={"train": {"seed": 0}}, info=solved(64, 1.0)),
        run_directory(tmp_path / "b", config={"train": {"seed": 1}}, info=solved(128, 1.0)),
        run_directory(tmp_path / "c", config={"rollout": {"gamma": 0.9}}),
        run_directory(tmp_path / "d", config={"env": {"id": "Pendulum-v1"}}, info={"target_return": None}),
    ]
    first, second = data.gather(runs)
    assert sentences.title([first, second]) == "PPO on CartPole-v1 and Pendulum-v1"
    assert [run.label for run in first.runs] == ["seed 0 (gamma 0.995)", "seed 1 (gamma 0.995)", "seed 0 (gamma 0.9)"]
    first = evaluated(first, [10.0], [20.0], [7.0, 8.0])
    assert [box["name"] for box in charts.evaluation_chart(first).figure["data"]][2:] == [
        "seed 0 (gamma 0.9)",
        "random policy",
    ]
    assert [sentences.result_sentence(group)[:44] for group in first.groups] == [
        "With gamma 0.995, PPO learned CartPole-v1 fr",
        "With gamma 0.9, PPO trained on CartPole-v1 f",
    ]
    assert tables.group_table([first, second]).rows == [
        ["CartPole-v1", "gamma 0.995", "2", "15.0", "−48.5 to 78.5", "−2.0", "2 of 2", "96"],  # ± 12.7062 · 5
        ["CartPole-v1", "gamma 0.9", "1", "7.5", "–", "−2.0", "0 of 1", "> 0"],
        ["Pendulum-v1", "–", "1", "–", "–", "–", "–", "–"],
    ]
    assert sentences.verdicts(first) == [
        "“gamma 0.9” beside “gamma 0.995”: −7.5; one seed of a config tells nothing of its others."
    ]
    assert sentences.verdicts(second) == []
    assert tables.group_table([second]) is None
    assert tables.difference_table(first).rows == [["rollout.gamma", "0.995", "0.9"]]
    assert tables.difference_table(first).columns == ["key", "gamma 0.995", "gamma 0.9"]
    assert tables.difference_table(second) is None


def test_configs_differ_in_what_they_began_with_and_are_headed_by_what_they_are_called(tmp_path):
    train = {"env_steps": 2000, "seed": 0}
    rate = {"update": {"learning_rate": {"start": 1e-3, "end": 0}}}
    runs = [
        run_directory(tmp_path / "a", config={"train": train}, info={"name": "base", "began_with_env_steps": 1000}),
        run_directory(tmp_path / "b", config={"train": {"env_steps": 1000, "seed": 1}}, info={"name": "base"}),
        run_directory(tmp_path / "c", config={"train": {"env_steps": 1000}} | rate, info={"name": "quick"}),
    ]
    (environment,) = data.gather(runs)
    differences = tables.difference_table(environment)
    assert differences.columns == ["key", "base", "quick"]
    assert differences.rows == [["update.learning_rate", "0.0006 → 0.0001", "0.001 → 0"]]
    assert differences.text_columns == 3
    assert [run.label for run in environment.runs] == ["seed 0 (base)", "seed 1 (base)", "seed 0 (quick)"]
    assert sentences.result_sentence(environment.groups[0]).startswith("With base, PPO trained on CartPole-v1 from 2")
    assert [row[1] for row in tables.group_table([environment]).rows] == ["base", "quick"]
    html = page.page([environment], MADE)
    assert html.count("env_steps: 1000\n") == 2
    assert "env_steps: 2000\n" not in html


def test_the_only_config_goes_by_the_name_of_its_runs(tmp_path):
    environment = evaluated(seeds(tmp_path, {}, {}, name="slow"), [1.0], [3.0])
    assert [run.label for run in environment.runs] == ["seed 0 (slow)", "seed 1 (slow)"]
    assert sentence(environment).startswith("With slow, PPO trained on CartPole-v1 from 2 seeds: ")


def test_a_wide_band_leaves_the_curves_in_sight(tmp_path):
    """That of two seeds is 12.7 times as wide as they are apart; it gets half the height of all else at each end."""

    def level(*returns):
        return [episode(number, 100 * number, 1.0, value) for number, value in enumerate(returns)]

    runs = [
        run_directory(
            tmp_path / "a", config={"train": {"seed": 0}}, episodes=level(10.0, 10.0), info={"target_return": 60}
        ),
        run_directory(
            tmp_path / "b", config={"train": {"seed": 1}}, episodes=level(20.0, 20.0), info={"target_return": 60}
        ),
    ]
    chart = charts.learning_chart(evaluated(data.gather(runs)[0], [1.0], [1.0]))
    # from the random policy's −2 to the target's 60 there are 62
    assert chart.figure["layout"]["yaxis"]["autorangeoptions"] == {"clipmin": -33.0, "clipmax": 91.0}


def test_the_rows_of_runs_and_of_statistics(tmp_path):
    info = solved(64, 1.0) | {"target_return": 30.0, "resumed": [{}, {}]}
    run = run_directory(tmp_path / "a", info=info, rows=[metrics(1), metrics(2, seconds=150.0)])
    environment = evaluated(data.gather([run])[0], [10.0, 20.0, 30.0, 60.0])
    assert tables.run_table(environment).rows == [
        # the deviation: √((20² + 10² + 0² + 30²) / 4)
        ["seed 0", "finished, resumed 2×", "200", "30.0 ± 18.7", "50%", "64 steps, 1.0 s", "2 min"]
    ]
    agent, random = tables.statistics_table(environment).rows
    assert agent[:5] == ["seed 0", "4", "30.0", "18.7", "25.0"]  # the middle half: 20 and 30
    assert agent[6:] == ["25.0", "10.0", "60.0"]
    assert random == ["random policy", "2", "−2.0", "1.0", "−2.0", "−14.7 to 10.7", "−2.0", "−3.0", "−1.0"]


def test_runs_that_look_the_same_go_by_their_directories(tmp_path):
    runs = [run_directory(tmp_path / "CartPole-v1" / name) for name in ("first", "second")]
    (environment,) = data.gather(runs)
    assert [run.label for run in environment.runs] == ["seed 0, first", "seed 0, second"]
    assert [run.name for run in environment.runs] == ["CartPole-v1/first", "CartPole-v1/second"]
    assert "PPO trained on CartPole-v1 in 2 runs;" in sentence(environment)


def test_commands_and_machines_that_are_alike_stand_together(tmp_path):
    made = {"git_commit": "abc", "machine": {"platform": "Linux"}, "versions": {"torch": "2"}}
    info = [{"command": ["p", "train", "--seeds", "0-1"]}, {"command": ["p", "train", "--seeds", "0-1"]}, {}]
    environment = seeds(tmp_path / "X", *info, **made)
    assert page.commands([environment]) == [("X/0 and X/1", "ppocli train --seeds 0-1"), ("X/2", "")]
    resumed = [
        {"command": ["p", "train", "--resume", "latest"]},
        {"command": ["p", "train", "--resume", "x", "--set=a=2"]},
        {"command": ["p", "train", "--resume", "y"], "exact": False},
    ]
    (changed,) = page.commands([seeds(tmp_path / "Y", {"command": ["p", "train"], "resumed": resumed})])
    assert changed == ("Y/0", "ppocli train\nppocli train --resume x --set=a=2\nppocli train --resume y")
    assert "A YAML file that is named here" not in page.page([environment], MADE)
    facts = {"git commit": "abc", "platform": "Linux", "torch": "2"}
    assert page.machines([environment]) == [("X/0, X/1 and X/2", facts)]


def test_a_file_that_a_command_names_is_told_of(tmp_path):
    info = [
        {"command": ["p", "train", "--config", "cartpole"]},
        {"command": ["p", "train", "--config=/home/me/own.yml"]},
    ]
    html = page.page([seeds(tmp_path / "X", *info)], MADE)
    assert "ppocli train --config=own.yml" in html
    assert html.count("A YAML file that is named here belongs to whoever trained.") == 1


def test_health_is_looked_at_all_along(tmp_path):
    # With two of ten rows at 0.2 the mean is 0.048, above 0.03; with one it is 0.029. The first window that may be
    # judged is rows 2 to 11, and the last with two such rows is 17 to 26.
    rows = [metrics(number, approx_kl=0.2 if 2 <= number <= 18 else 0.01) for number in range(1, 41)]
    runs = [
        run_directory(tmp_path / "0", rows=rows, config={"train": {"seed": 0}}),
        run_directory(tmp_path / "1", rows=rows[:1] + rows[18:], config={"train": {"seed": 1}}),
        run_directory(tmp_path / "2", rows=rows[:10], config={"train": {"seed": 2}}),
        run_directory(tmp_path / "3", rows=rows[:5], config={"train": {"seed": 3}}),
    ]
    (environment,) = data.gather(runs)
    first, second, third = sentences.diagnoses(environment)
    assert first[0] == "seed 0"
    (text,) = first[1]
    assert text.startswith("approx_kl is 0.048")
    assert text.endswith("So in 16 of 30 iterations, first at 1,100 env steps, no more after 2,600.")
    assert second == ("seed 1", ["nothing unusual in 23 iterations."])
    assert third == ("seed 2 and seed 3", [f"too short to judge, which takes {FIRST_ITERATION} iterations."])
    (ongoing,) = data.gather([run_directory(tmp_path / "4", rows=rows[:12])])
    ((_, (text,)),) = sentences.diagnoses(ongoing)
    assert text.endswith("So in 2 of 2 iterations, first at 1,100 env steps, still so at the end.")


# ----------------------------------------------------------------------------------------------------------------------
# Charts


def test_long_logs_are_thinned_evenly_and_keep_their_end():
    for length, left, every in ((0, 0, 1), (1, 1, 1), (2000, 2000, 1), (2001, 1001, 2), (9999, 2000, 5)):
        rows, found = charts.thinned(range(length))
        assert (len(rows), found) == (left, every)
        assert rows[-1:] == list(range(length))[-1:]
        assert {second - first for first, second in itertools.pairwise(rows)} <= {every}


def test_a_chart_says_what_it_leaves_out(tmp_path):
    episodes = [episode(number, number, 1.0, float(number)) for number in range(1, 5001)]
    (environment,) = data.gather([run_directory(tmp_path / "a", episodes=episodes)])
    chart = charts.learning_chart(environment)
    assert chart.note.endswith(" Drawn is one episode in 3.")
    points, means = chart.figure["data"]
    assert points["x"][-1] == 5000
    assert points["y"][-2:] == [4997.0, 5000.0]
    assert means["y"][-1] == np.mean(range(4901, 5001))  # of all of the last 100, not of those that are drawn
    assert (
        "Drawn"
        not in charts.learning_chart(data.gather([run_directory(tmp_path / "b", episodes=episodes[:9])])[0]).note
    )


def test_seeds_that_nowhere_overlap_are_drawn_each_by_itself(tmp_path):
    runs = [
        run_directory(tmp_path / "a", config={"train": {"seed": 0}}, episodes=[episode(1, 100, 1.0, 10.0)]),
        run_directory(tmp_path / "b", config={"train": {"seed": 1}}, episodes=[episode(1, 500, 1.0, 20.0)]),
    ]
    (environment,) = data.gather(runs)
    traces = charts.learning_chart(evaluated(environment, [1.0], [1.0])).figure["data"]
    assert [trace["y"] for trace in traces] == [[10.0], [20.0]]
    # the others still have their mean
    for name, value in (("c", 30.0), ("d", 40.0)):
        more = [episode(1, 100, 1.0, value), episode(2, 500, 2.0, value)]
        runs.append(run_directory(tmp_path / name, config={"train": {"seed": len(runs)}}, episodes=more))
    (environment,) = data.gather(runs)
    *_, mean, first, second, third, fourth = charts.learning_chart(environment).figure["data"]
    assert mean["name"] == "mean of 3 seeds"
    assert mean["y"] == pytest.approx([30.0] * len(mean["y"]))  # of 20, 30 and 40, at 500 env steps alone
    assert set(mean["x"]) == {500.0}
    assert [seed["name"] for seed in (first, second, third, fourth)] == ["each seed"] * 4


def test_groups_have_a_band_and_their_seeds(tmp_path):
    def level(*returns):
        return [episode(number, 100 * number, 1.0, value) for number, value in enumerate(returns)]

    runs = [
        run_directory(tmp_path / "a", config={"train": {"seed": 0}}, episodes=level(10.0, 10.0)),
        run_directory(tmp_path / "b", config={"train": {"seed": 1}}, episodes=level(20.0, 20.0)),
        run_directory(tmp_path / "c", config={"rollout": {"gamma": 0.9}}, episodes=level(5.0, 7.0)),
    ]
    (environment,) = data.gather(runs)
    traces = charts.learning_chart(evaluated(environment, [1.0], [1.0], [1.0])).figure["data"]
    low, high, center, first, second, other = traces
    assert (low["y"][0], high["y"][0], center["y"][0]) == pytest.approx((15 - 63.531, 15 + 63.531, 15), abs=1e-3)
    assert center["customdata"][0] == [low["y"][0], high["y"][0]]  # 12.7062 times the error, 5
    assert (first["y"], second["y"], other["y"]) == ([10.0, 10.0], [20.0, 20.0], [5.0, 6.0])
    shown = [trace["name"] for trace in traces if trace.get("showlegend", True)]
    assert shown == ["gamma 0.995: mean of 2 seeds", "gamma 0.995: each seed", "gamma 0.9"]
    assert len({center["line"]["color"], other["line"]["color"], "#D55E00"}) == 3
    assert center["line"]["dash"] != other["line"]["dash"]


def test_a_group_has_the_colour_and_the_line_that_it_has_in_a_figure(tmp_path):
    episodes = [episode(1, 100, 1.0, 10.0), episode(2, 200, 2.0, 10.0)]
    gammas = [0.9 + number / 100 for number in range(9)]
    runs = [
        run_directory(
            tmp_path / str(number), config={"rollout": {"gamma": gamma}}, episodes=episodes, rows=[metrics(1)]
        )
        for number, gamma in enumerate(gammas)
    ]
    (axes,) = figures.learning_curves(curves.groups(runs), curves.Axis.ENV_STEPS, curves.Statistic.MEAN).axes
    (environment,) = data.gather(runs)
    environment = evaluated(environment, *[[1.0]] * 9)
    styles = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
    drawn = [(line.get_color(), styles[line.get_linestyle()]) for line in axes.lines[:9]]
    lines = charts.learning_chart(environment).figure["data"]
    assert [(line["line"]["color"], line["line"]["dash"]) for line in lines] == drawn
    for chart in charts.health_charts(environment):
        assert [(line["line"]["color"], line["line"]["dash"]) for line in chart.figure["data"]] == drawn
        assert chart.figure["layout"]["showlegend"] is False
    *agents, random = charts.evaluation_chart(environment).figure["data"]
    assert [box["line"]["color"] for box in agents] == [color for color, _ in drawn]
    assert len(set(drawn)) == 9  # told apart in print
    assert random["line"]["color"] == figures.RANDOM not in dict(drawn)
    assert "#000000" not in dict(drawn)  # which nobody sees on a dark page


def test_long_names_of_boxes_are_broken_and_their_boxes_are_as_high(tmp_path):
    info = {"name": "a_name_that_takes_more_than_the_room_which_a_phone_has_for_it"}
    environment = evaluated(seeds(tmp_path / "long", *[{}] * 8, **info), *[[1.0]] * 8)
    chart = charts.evaluation_chart(environment)
    assert chart.figure["data"][0]["name"].split("<br>") == [
        "seed 0 (a_name_that_takes_mo",
        "re_than_the_room_which_a_pho",
        "ne_has_for_it)",
    ]
    assert chart.height == 120 + 9 * 3 * 16
    short = charts.evaluation_chart(evaluated(seeds(tmp_path / "short", *[{}] * 8), *[[1.0]] * 8))
    assert short.height == 120 + 9 * 44


def test_random_policies_that_differ_are_told_apart(tmp_path):
    environment = evaluated(seeds(tmp_path, {}, {}), [1.0], [1.0])
    assert environment.random_returns == {"random policy": [-1.0, -3.0]}
    second = environment.runs[1]
    second.evaluation.random_episode_returns.append(-8.0)
    assert environment.random_returns == {"random, seed 0": [-1.0, -3.0], "random, seed 1": [-1.0, -3.0, -8.0]}
    shapes = charts.learning_chart(
        replace(
            environment,
            groups=[replace(environment.groups[0], runs=[replace(second, episodes=[episode(1, 1, 1, 1.0)])])],
        )
    ).figure["layout"]["shapes"]
    assert [(shape["y0"], shape["label"]["text"]) for shape in shapes] == [
        (475.0, "solved: 475"),
        (-4.0, "random policy: −4.0"),
    ]


def test_a_variance_far_below_0_does_not_flatten_the_rest(tmp_path):
    rows = [metrics(1, explained_variance=-50.0), metrics(2)]
    (environment,) = data.gather([run_directory(tmp_path / "a", rows=rows)])
    found = {chart.heading: chart for chart in charts.health_charts(environment)}
    chart, entropy = found["Explained variance"], found["Entropy"]
    assert chart.figure["layout"]["yaxis"]["range"] == [-1.05, 1.05]
    assert "a double click on the chart shows it" in chart.note
    assert chart.figure["data"][0]["y"] == [-50.0, 0.9]
    assert "range" not in entropy.figure["layout"]["yaxis"]


# ----------------------------------------------------------------------------------------------------------------------
# Files from strangers


class Tags(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.executable, self.text = [], 0, []
        self.attributes = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.executable += tag == "script" and dict(attrs).get("type") != "application/json"

    def handle_data(self, data):
        self.text.append(data)


def hostile_run(folder):
    texts = {"name": HOSTILE, "error": HOSTILE, "git_commit": HOSTILE, "command": ["ppocli", "train", HOSTILE]}
    return run_directory(
        folder,
        info={"state": "failed", "versions": {HOSTILE: HOSTILE}, "machine": {"platform": HOSTILE}} | texts,
        config={"env": {"id": "CartPole-v1", "kwargs": {"script": "alert"}}},
        rows=[metrics(1)],
        episodes=[episode(1, 10, 1.0, 3.0)],
    )


def hostile_page(folder):
    """Directories' names come into the charts where nothing else tells runs apart."""
    runs = [hostile_run(folder / "<b>x" / name) for name in ("<img src=x onerror=alert(3)>", "<script>alert(4)<&")]
    return page.page([evaluated(data.gather(runs)[0], [1.0], [2.0])], MADE)


def test_what_strangers_write_stays_text(tmp_path):
    page = hostile_page(tmp_path)
    found = Tags(page)
    assert found.executable == 2
    assert not {"img", "iframe", "object", "embed", "link", "base", "form", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    text = "".join(found.text)
    # two errors; once, as both runs have them alike: commit, platform, a version and its name, the command; and what
    # both are called: in their sentence, two about errors, two rows of runs, directories, evaluations, above a config
    assert text.count(HOSTILE) == 2 + 5 + 10
    data = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(data) == 7
    assert not any("<" in figure for figure in data)
    names = [trace.get("name", "") for figure in map(json.loads, data) for trace in figure["data"]]
    assert any(
        name.endswith(", &lt;script&gt;alert(4)&lt;&amp;") for name in names
    )  # charts read some tags of HTML in their texts
    assert not any("<img" in name for name in names)


def test_an_evaluation_that_no_program_wrote_is_refused(tmp_path, monkeypatch):
    run = run_directory(tmp_path / "a")
    (found,) = evaluated(data.gather([run])[0], [1.0, 2.0]).runs
    monkeypatch.setattr(Run, "chosen_checkpoint", lambda run: None)
    for change in ({"episode_seeds": [1]}, {"episode_seeds": [1, -1]}, {"random_episode_returns": []}):
        changed = found.evaluation.model_copy(update=change)
        monkeypatch.setattr(data, "evaluation_of", lambda run, changed=changed: changed)
        with pytest.raises(RunError, match=r"evaluation.json: not what ppocli wrote"):
            data.gather([run])


# ----------------------------------------------------------------------------------------------------------------------
# The file


def test_only_what_can_be_written(tmp_path):
    check_output(tmp_path / "x.HTML", [".html"])
    with pytest.raises(UsageError, match=r"--output x.pdf: the name must end in .html"):
        check_output(Path("x.pdf"), [".html"])
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        check_output(tmp_path / "folder.html", [".html"])
    run = run_directory(tmp_path / "runs" / "a")
    with pytest.raises(PpocliError, match="cannot write there"):
        page.write([run], run.path / "run.json" / "x.html")


def test_where_it_lies(tmp_path):
    runs = [run_directory(tmp_path / env / name) for env, name in (("X", "a"), ("X", "b"), ("Y", "c"))]
    assert page.write(runs[:1]) == tmp_path / "X" / "a" / "report.html"
    assert page.write(runs[:2]) == tmp_path / "X" / "report.html"
    assert page.write(runs) == tmp_path / "report.html"
    assert page.write(runs, tmp_path / "new" / "r.html").is_file()


# ----------------------------------------------------------------------------------------------------------------------
# Runs that were trained

CONFIG = Config.model_validate(
    {
        "env": {"id": "CartPole-v1", "num_envs": 2},
        "network": {"hidden_sizes": [4]},
        "rollout": {"horizon": 32},
        "update": {"minibatch_size": 32, "update_epochs": 1},
        "train": {"env_steps": 768, "eval_episodes": 1, "snapshots": 2},
    }
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of CartPole."""
    folder = tmp_path_factory.mktemp("runs") / "CartPole-v1"
    return [jobs.trained(CONFIG.changed("train", seed=seed), folder / f"seed{seed}")[0] for seed in range(2)]


@pytest.fixture(scope="module")
def environment(trained):
    (environment,) = data.gather(trained)
    return environment


@pytest.fixture(scope="module")
def reports(trained, environment, tmp_path_factory):
    """The report of one run, and that of both, made at MADE."""
    both = tmp_path_factory.mktemp("reports") / "both.html"
    both.write_text(page.page([environment], MADE))
    return page.write(trained[:1]), both


def test_the_page_loads_nothing_is_small_and_knows_no_folder(reports, trained):
    for path in reports:
        page = path.read_text()
        ours = page.replace(get_plotlyjs(), "")
        assert len(ours) < len(page) < 5_500_000
        assert "http:" not in ours
        assert "https:" not in ours
        sources = [value for name, value in Tags(ours).attributes if name in ("src", "href", "poster")]
        assert len(sources) == 3 * (3 + 3)  # episodes, and stages of training: a film and twice its picture
        assert all(source.startswith(("data:video/mp4;base64,", "data:image/jpeg;base64,")) for source in sources)
        assert str(trained[0].path.parent.parent) not in page
        assert "default-src 'none'" in page


def test_the_same_runs_give_the_same_page(environment, reports):
    html = reports[1].read_text()
    assert "on 2026-01-02 03:04 UTC" in html
    assert page.page([environment], MADE.replace(year=2027)).replace("2027-01-02", "2026-01-02") == html


def test_videos_are_the_episodes_that_were_evaluated(environment, tmp_path, trained):
    episodes = [
        (value, seed, run.label)
        for run in environment.runs
        for value, seed in zip(run.returns, run.evaluation.episode_seeds, strict=True)
    ]
    returns = sorted(value for value, _, _ in episodes)
    found, reason = films.videos(environment)
    assert (len(found), reason) == (3, "")
    for video, word, value in zip(
        found, ("best", "median", "worst"), (returns[-1], returns[99], returns[0]), strict=True
    ):
        assert video.heading == f"{word} episode"
        recorded, length, label, seed = re.fullmatch(
            r"return ([\d.]+), (\d+) env steps; (seed \d), episode seed (\d+)", video.caption
        ).groups()
        assert (float(recorded), int(seed), label) in episodes
        assert float(recorded) == value == int(length)  # CartPole pays 1 a step; and what was replayed is as long
        path = tmp_path / "video.mp4"
        path.write_bytes(base64.b64decode(video.film.removeprefix("data:video/mp4;base64,")))
        with imageio.get_reader(path) as reader:
            frames = [frame for frame in reader]  # noqa: C416 - list() would ask for its length, which is infinite
        assert len(frames) == 1 + int(length) + 49  # before the first step, and the last for a second
        assert frames[0].shape == (266, 400, 3)


def test_a_replay_that_returns_something_else_says_so(environment):
    (run, _) = environment.runs
    highest = max(run.returns)
    changed = replace(run, evaluation=run.evaluation.model_copy(update={"episode_returns": [0.5, highest]}))
    worst = films._video(changed, 0, "worst")
    assert worst.caption.startswith("return 0.5, ")
    assert worst.caption.endswith(f"(played again, it returned {run.returns[0]:.1f})")


def test_an_environment_that_cannot_be_drawn_has_no_videos(tmp_path, trained):
    config = Config.model_validate(CONFIG.model_dump() | {"env": {"id": "Counting-v0", "num_envs": 2}})
    run, _ = jobs.trained(config, tmp_path / "run")
    html = page.write([run]).read_text()
    assert "There is no video: Counting-v0 cannot be drawn: it has no method render" in html
    assert "<video" not in html


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("IMAGEIO_FFMPEG_EXE", "ffmpeg failed: No such file or directory (IMAGEIO_FFMPEG_EXE is …/nowhere;"),
        ("TMPDIR", ""),
    ],
)
def test_a_page_without_films_says_why(tmp_path, environment, monkeypatch, named, said):
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setenv(named, nowhere)
    monkeypatch.setattr("tempfile.tempdir", nowhere if named == "TMPDIR" else None)
    html = unescape(page.page([environment], MADE))
    (reason,) = re.findall("<p>(There is no video: .*)</p>", html)
    assert said in reason or "No such file or directory: '…/" in reason
    assert str(tmp_path) not in html
    assert "<video" not in html


# ----------------------------------------------------------------------------------------------------------------------
# In a browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here to open the report with")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, **options):
    """Open a report, wait for its charts, and see at the end that nothing went wrong and nothing was asked for."""
    problems = []

    def note_request(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(request.url)

    with closing(browser.new_context(**options)) as context:
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", note_request)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        yield page
    assert problems == []


DESKTOP = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture(scope="module")
def one(browser, reports):
    """The report of one run, opened; what goes wrong in it shows at the end."""
    with opened(browser, reports[0], **DESKTOP, **CLIPBOARD) as page:
        yield page


@pytest.fixture(scope="module")
def both(browser, reports):
    """The report of both runs, opened; what goes wrong in it shows at the end."""
    with opened(browser, reports[1], **DESKTOP) as page:
        yield page


def charts_of(page):
    """The data of every chart, as the browser has it."""
    return page.evaluate("() => [...document.querySelectorAll('.plot')].map(plot => plot.data)")


def log(run, name):
    with (run.path / name).open(newline="") as file:
        return list(csv.DictReader(file))


def column(run, file, name):
    return [float(row[name]) for row in log(run, file)]


def means_of_last_100(returns):
    return [np.mean(returns[max(0, end - 100) : end]) for end in range(1, len(returns) + 1)]


SIGNS = ["approx_kl", "entropy", "explained_variance", "clip_fraction", "kl"]


def test_the_charts_of_one_run_have_the_numbers_of_its_logs(one, trained):
    run = trained[0]
    learning, evaluation, *health = charts_of(one)
    points, means = learning
    returns = column(run, "episodes.csv", "episode_return")
    assert points["x"] == means["x"] == column(run, "episodes.csv", "env_steps")
    assert points["y"] == returns
    assert means["y"] == pytest.approx(means_of_last_100(returns), rel=1e-12)
    stored = json.loads(run.evaluation.read_text())
    assert [box["x"] for box in evaluation] == [stored["episode_returns"], stored["random_episode_returns"]]
    assert evaluation[0]["customdata"] == stored["episode_seeds"]
    for sign, (line,) in zip(SIGNS, health, strict=True):
        assert line["x"] == column(run, "metrics.csv", "env_steps")
        assert line["y"] == column(run, "metrics.csv", sign)
    # and all of it is drawn
    assert one.locator(".plot .scatterlayer .points path").count() == len(returns)
    assert one.locator(".plot .scatterlayer .lines path").count() == 1 + len(SIGNS)
    assert one.locator(".plot .boxlayer path.box").count() == 2


def test_the_charts_of_two_seeds_have_the_numbers_of_their_logs(both, trained):
    (low, high, center, *curves), evaluation, *health = charts_of(both)
    own = [column(run, "episodes.csv", "episode_return") for run in trained]
    ended = [column(run, "episodes.csv", "env_steps") for run in trained]
    for curve, x, returns in zip(curves, ended, own, strict=True):
        assert curve["x"] == x
        assert curve["y"] == pytest.approx(means_of_last_100(returns), rel=1e-12)
    start, end = max(x[0] for x in ended), min(x[-1] for x in ended)
    assert (center["x"][0], center["x"][-1]) == (start, end)
    lasts = [np.interp(end, x, means_of_last_100(returns)) for x, returns in zip(ended, own, strict=True)]
    assert center["y"][-1] == pytest.approx(np.mean(lasts))
    margin = 12.7062 * abs(lasts[0] - lasts[1]) / 2  # Student's
    assert (low["y"][-1], high["y"][-1]) == pytest.approx((np.mean(lasts) - margin, np.mean(lasts) + margin), abs=1e-3)
    stored = [json.loads(run.evaluation.read_text()) for run in trained]
    expected = [*(one["episode_returns"] for one in stored), stored[0]["random_episode_returns"]]
    assert [box["x"] for box in evaluation] == expected
    for sign, lines in zip(SIGNS, health, strict=True):
        assert [line["y"] for line in lines] == [column(run, "metrics.csv", sign) for run in trained]


def cells(page, number):
    """The texts of a table, row by row, without its header."""
    return [row.split("\t") for row in page.locator("table").nth(number).inner_text().splitlines()[1:]]


def test_the_tables_have_the_numbers_of_the_evaluation(both, trained):
    runs, (*agents, random) = cells(both, 0), cells(both, 1)
    for run, row, agent in zip(trained, runs, agents, strict=True):
        stored = json.loads(run.evaluation.read_text())
        numbers = {key: f"{value:.1f}" for key, value in stored.items() if isinstance(value, float)}
        low, high = stored["return_iqm_ci95"]
        assert row[2:4] == ["768", f"{numbers['return_mean']} ± {numbers['return_std']}"]
        assert row[4] == f"{stored['solved_fraction']:.0%}"
        assert agent[1:5] == ["100", *[numbers[f"return_{key}"] for key in ("mean", "std", "iqm")]]
        assert agent[5] == f"{low:.1f} to {high:.1f}"
        assert agent[6:] == [numbers[f"return_{key}"] for key in ("median", "min", "max")]
    assert random[:3] == ["random policy", "100", f"{stored['random_baseline']['return_mean']:.1f}"]


PLACE = """([trace, point]) => {
  const plot = document.querySelector('.plot');
  plot.scrollIntoView({block: 'center'});
  const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect(), {x, y} = plot.data[trace];
  return [box.left + xaxis._offset + xaxis.d2p(x[point]), box.top + yaxis._offset + yaxis.d2p(y[point])];
}"""
RANGE = "() => document.querySelector('.plot')._fullLayout.xaxis.range"
WATCH_RELAYOUT = """() => {
  const marks = document.documentElement.dataset;
  delete marks.relayout;
  for (const plot of document.querySelectorAll('.plot')) plot.once('plotly_relayout', () => { marks.relayout = ''; });
}"""


@contextmanager
def relayout(page):
    """Wait at the end of the block for what it makes a chart do."""
    page.evaluate(WATCH_RELAYOUT)
    yield
    page.wait_for_selector("html[data-relayout]", state="attached")


def test_a_point_tells_about_itself_and_a_part_can_be_looked_at_closely(one, trained):
    told = log(trained[0], "episodes.csv")[3]
    x, y = one.evaluate(PLACE, [0, 3])
    one.mouse.move(x, y)
    hover = one.locator(".plot .hoverlayer .hovertext").first
    hover.wait_for()
    expected = f"episode 4return {float(told['episode_return']):.1f}, {told['episode_length']} env steps long"
    assert hover.text_content().startswith(expected)
    before = one.evaluate(RANGE)
    with relayout(one):
        one.mouse.move(x + 20, y)
        one.mouse.down()
        one.mouse.move(x + 220, y + 2, steps=4)
        one.mouse.up()
    low, high = one.evaluate(RANGE)
    assert before[0] < low < high < before[1]
    with relayout(one):
        one.mouse.dblclick(x + 100, y)
    assert one.evaluate(RANGE) == before


PLAY = """video => {
  video.ontimeupdate = () => { if (video.currentTime > 0) video.dataset.played = ''; };
  video.play();
}"""


def test_every_video_plays(both):
    films = both.locator(".videos video")
    assert films.count() == 3
    for film in films.all():
        film.evaluate(PLAY)
        both.wait_for_selector("video[data-played]")
        assert film.evaluate("video => [video.videoWidth, video.videoHeight]") == [400, 266]
        film.evaluate("video => { video.pause(); delete video.dataset.played; }")
        for name in ("controls", "muted", "loop", "playsinline", "poster", "aria-label"):
            assert film.get_attribute(name) is not None


def test_a_slider_leads_through_the_stages_of_training(one, trained):
    slider, films = one.locator(".stages input"), one.locator(".stages figure")
    assert films.count() == len(trained[0].snapshots) + 1 == 3
    assert [film.is_visible() for film in films.all()] == [False, False, True]
    assert slider.get_attribute("aria-valuetext").startswith("Its best: ")
    slider.focus()
    one.keyboard.press("Home")
    assert [film.is_visible() for film in films.all()] == [True, False, False]
    assert films.first.inner_text().startswith("Untrained: return ")
    assert slider.get_attribute("aria-valuetext") == "Untrained"
    one.wait_for_function("!document.querySelector('.stages video').paused")
    one.keyboard.press("ArrowRight")
    assert films.nth(1).is_visible()
    assert one.evaluate("document.querySelector('.stages video').paused")


COLORS = """() => [
  getComputedStyle(document.body).backgroundColor,
  getComputedStyle(document.querySelector('.plot .xtick text')).fill,
  getComputedStyle(document.querySelector('.plot .gridlayer path')).stroke,
]"""
SIZES = "() => [document.scrollingElement.scrollWidth, innerWidth]"


def test_the_page_and_its_charts_go_dark_with_the_system(one):
    light = one.evaluate(COLORS)
    with relayout(one):
        one.emulate_media(color_scheme="dark")
    dark = one.evaluate(COLORS)
    assert all(before != after for before, after in zip(light, dark, strict=True))
    with relayout(one):
        one.emulate_media(color_scheme="light")
    assert one.evaluate(COLORS) == light


def test_the_command_is_copied(one):
    command = one.locator(".command pre").inner_text()
    assert command.startswith("ppocli")
    one.get_by_role("button", name="Copy").click()
    one.get_by_role("button", name="Copied").wait_for()
    assert one.evaluate("() => navigator.clipboard.readText()") == command


def test_what_strangers_write_does_not_run_and_a_phone_scrolls_up_and_down_only(browser, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(hostile_page(tmp_path))
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    with opened(browser, path, **phone) as page:
        assert page.locator("img, .plot a").count() == 0
        tick = page.locator(".plot .ytick text", has_text="alert(4)").first.text_content()
        assert tick.startswith("seed 0 (</script><script>alert(1)")
        assert tick.endswith("<script>alert(4)<&")
        entry = page.locator(".legend button", has_text="alert(4)").first.inner_text()
        assert entry == f"seed 0 ({HOSTILE}), <script>alert(4)<&"
        for folded in page.locator("summary").all():
            folded.click()
        width, screen = page.evaluate(SIZES)
        assert width <= screen == 390
        # a finger on a chart moves the page
        assert page.evaluate("() => document.querySelector('.plot')._fullLayout.dragmode") is False
        background, ink, _ = page.evaluate(COLORS)
        assert (background, ink) == ("rgb(16, 20, 24)", "rgb(228, 232, 236)")


def test_the_report_of_two_runs_on_a_phone(browser, reports):
    with opened(browser, reports[1], viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as page:
        width, screen = page.evaluate(SIZES)
        assert width <= screen == 390
        assert page.locator(".plot .main-svg:first-child").first.bounding_box()["width"] <= 390


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """The report of nine configs with long names, of which the first has three seeds."""
    folder = tmp_path_factory.mktemp("nine")
    rows, episodes = [metrics(1), metrics(2)], [episode(1, 100, 1.0, 450.0), episode(2, 200, 2.0, 480.0)]
    numbers = [0, 0, *range(9)]
    runs = [
        run_directory(
            folder / f"run{index}",
            config={"rollout": {"gamma": 0.9 + number / 100}, "train": {"seed": index}},
            info={"name": f"experiment-{number}-with-a-name-that-is-rather_long_and_breaks_nowhere_at_all"},
            rows=rows,
            episodes=episodes,
        )
        for index, number in enumerate(numbers)
    ]
    (environment,) = data.gather(runs)
    path = folder / "nine.html"
    path.write_text(page.page([evaluated(environment, *[[470.0, 500.0]] * len(runs))], MADE))
    return path


SCROLLS = "() => [...document.querySelectorAll('.scroll')].map(table => table.scrollWidth - table.clientWidth)"
CUT = """() => [...document.querySelectorAll('table, pre, figure, p, dd')]
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(one => one.outerHTML)"""
HIDDEN = "() => document.querySelector('.plot').data.map(trace => trace.visible === false)"


def test_nine_configs_with_long_names_fit_a_screen(browser, nine):
    with opened(browser, nine, viewport={"width": 1280, "height": 800}) as page:
        *tables, differences = page.evaluate(SCROLLS)
        assert tables == [0] * 3
        assert differences <= 0
        width, screen = page.evaluate(SIZES)
        assert width <= screen == 1280
        legend = page.locator(".chart .legend").first
        entries = [entry.inner_text() for entry in legend.locator("> *").all()]
        names = [
            f"experiment-{number}-with-a-name-that-is-rather_long_and_breaks_nowhere_at_all" for number in range(9)
        ]
        assert entries[:9] == [f"{names[0]}: mean of 3 seeds", *names[1:]]
        assert entries[9:] == [f"{names[0]}: each seed", "solved: 475", "random policy: −2.0"]
        boxes = [entry.bounding_box() for entry in legend.locator("> *").all()]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 1280 for box in boxes)
        assert page.locator(".plot .legend").count() == 0  # plotly's own


def test_an_entry_of_the_legend_hides_its_curves_and_brings_them_back(browser, nine):
    with opened(browser, nine, **DESKTOP) as page:
        mean, seeds = (page.locator(".legend button", has_text=text).first for text in ("mean of 3", "each seed"))
        # the band's two edges, the mean, three seeds; eight others
        assert page.evaluate(HIDDEN) == [False] * 14
        mean.click()
        page.wait_for_function(f"() => String(({HIDDEN})()) === String([true, true, true, ...Array(11).fill(false)])")
        assert mean.get_attribute("aria-pressed") == "false"
        seeds.click()
        page.wait_for_function(
            f"() => String(({HIDDEN})()) === String([...Array(6).fill(true), ...Array(8).fill(false)])"
        )
        mean.click()
        seeds.click()
        page.wait_for_function(f"() => !({HIDDEN})().includes(true)")


def test_nothing_lies_under_the_icons_of_a_chart(browser, nine):
    with opened(browser, nine, viewport={"width": 1280, "height": 800}) as page:
        for plot in page.locator(".plot").all():
            icons = plot.locator(".modebar").bounding_box()
            below = plot.evaluate("plot => plot.getBoundingClientRect().top + plot._fullLayout.yaxis._offset")
            assert icons["y"] + icons["height"] <= below
            for label in plot.locator(".shape-label").all():
                assert label.bounding_box()["y"] >= below


@pytest.mark.slow
def test_on_paper_all_is_there_in_black_on_white(browser, nine, reports):
    """A sheet of A4 between margins of 13 mm is 695 px wide; Chromium says `beforeprint` when it prints a PDF, too."""
    for path in (nine, reports[1]):
        with opened(browser, path, viewport={"width": 695, "height": 1020}, color_scheme="dark") as page:
            dark = page.evaluate(COLORS)
            page.emulate_media(media="print", color_scheme="dark")
            with relayout(page):
                page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
            background, ink, grid = page.evaluate(COLORS)
            assert (background, ink, grid) == ("rgb(255, 255, 255)", "rgb(28, 33, 39)", "rgb(232, 235, 239)")
            assert page.evaluate(CUT) == []
            assert all(width <= 0 for width in page.evaluate(SCROLLS))
            charts = [plot.bounding_box()["width"] for plot in page.locator(".plot .main-svg:first-child").all()]
            assert charts == [680] * len(charts)
            assert page.locator("details:not([open])").count() == 0
            assert page.locator("button[data-copy]:visible, video:visible").count() == 0
            assert page.locator("img.still:visible").count() == page.locator("video").count()
            page.emulate_media(media="screen", color_scheme="dark")
            with relayout(page):
                page.evaluate("() => dispatchEvent(new Event('afterprint'))")
            assert page.evaluate(COLORS) == dark
            assert page.locator("details[open]").count() == 0
            assert page.locator("img.still:visible").count() == 0


def test_printing_a_pdf_leaves_the_page_as_it_was(browser, nine, tmp_path):
    with opened(browser, nine, **DESKTOP) as page:
        widths = [plot.bounding_box()["width"] for plot in page.locator(".plot .main-svg:first-child").all()]
        page.evaluate(
            "() => addEventListener('beforeprint', () => {"
            " document.body.dataset.printed = document.querySelector('.plot .main-svg').getAttribute('width'); })"
        )
        page.pdf(path=tmp_path / "x.pdf", format="A4")
        assert page.evaluate("() => document.body.dataset.printed") == "680"
        page.wait_for_function("() => !('printing' in document.documentElement.dataset)")
        assert [plot.bounding_box()["width"] for plot in page.locator(".plot .main-svg:first-child").all()] == widths
