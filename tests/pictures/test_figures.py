import csv
import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ppocli.errors import PpocliError, UsageError
from ppocli.evaluation.curves import Axis, Statistic, groups
from ppocli.files import check_output
from ppocli.pictures import figures
from ppocli.records.logs import Metrics
from tests.evaluation.test_curves import episode, run_with
from tests.records.runs import columns_of, metrics

EPISODES = [episode(number, 10 * number, number / 2, float(number)) for number in range(1, 151)]
BASELINE = [-5.0, -7.0]


def test_the_agent_stands_beside_the_random_policy_on_the_same_axis():
    figure = figures.comparison("CartPole-v1", "PPO", EPISODES, BASELINE, target=120.0)
    agent, random = figure.axes
    assert agent.get_ylim() == random.get_ylim()
    dots = agent.collections[0].get_offsets()
    assert np.asarray(dots).tolist() == [[number, float(number)] for number in range(1, 151)]
    mean, solved = agent.lines
    assert mean.get_ydata()[-1] == pytest.approx(np.mean(range(51, 151)))
    assert list(solved.get_ydata()) == [120.0, 120.0]
    assert np.asarray(random.collections[0].get_offsets()).tolist() == [[1, -5.0], [2, -7.0]]
    assert list(random.lines[0].get_ydata()) == [-6.0, -6.0]
    assert random.get_title() == "random policy\nmean −6.0"
    assert [text.get_text() for text in agent.get_legend().get_texts()] == [
        "mean of the last 100, 100.5 at the end",
        "solved: 120",
    ]


def test_without_a_target_no_line_is_drawn():
    agent, random = figures.comparison("Pendulum-v1", "PPO", EPISODES, BASELINE, target=None).axes
    assert (len(agent.lines), len(random.lines)) == (1, 1)


def test_every_environment_has_a_panel_and_every_group_a_curve(tmp_path):
    runs = [
        run_with(tmp_path / "0", EPISODES, target=475, train={"seed": 0}),
        run_with(tmp_path / "1", EPISODES, target=475, train={"seed": 1}),
        run_with(tmp_path / "2", EPISODES, target=475, rollout={"gamma": 0.9}),
        run_with(tmp_path / "3", EPISODES, env={"id": "Pendulum-v1"}),
    ]
    first, second = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.MEAN).axes
    assert (first.get_title(), second.get_title()) == ("CartPole-v1", "Pendulum-v1")
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        "gamma 0.995 (mean of 2 seeds, 95\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}t\N{NO-BREAK SPACE}interval)",
        "gamma 0.9 (1 seed)",
        "solved: 475",
    ]
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["1 seed"]
    (drawn,) = first.collections  # a single seed has no band
    heights = drawn.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (EPISODES[0].episode_return, 100.5)  # the same run twice: no width
    colors = {line.get_color() for line in first.lines}
    styles = {line.get_linestyle() for line in first.lines[:2]}
    assert (len(colors), len(styles)) == (3, 2)  # told apart in print, too


def test_the_axis_of_seconds(tmp_path):
    run = run_with(tmp_path / "0", EPISODES)
    (axes,) = figures.learning_curves(groups([run]), Axis.SECONDS, Statistic.IQM).axes
    assert axes.lines[0].get_xdata()[-1] == 75
    assert axes.get_xlabel() == "seconds of training"


def test_runs_that_go_on_after_the_first_has_ended_are_drawn_by_themselves(tmp_path):
    runs = [run_with(tmp_path / "0", EPISODES), run_with(tmp_path / "1", EPISODES[:50], train={"seed": 1})]
    (axes,) = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.IQM).axes
    together, alone = axes.lines
    assert (together.get_xdata()[-1], alone.get_xdata()[0], alone.get_xdata()[-1]) == (500, 500, 1500)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "IQM of 2 seeds, 95\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}t\N{NO-BREAK SPACE}interval",
        "  its runs, where the first has ended",
    ]


def test_episodes_that_have_all_ended_at_once_are_a_point(tmp_path):
    (axes,) = figures.learning_curves(
        groups([run_with(tmp_path / "0", EPISODES[:1])]), Axis.ENV_STEPS, Statistic.MEAN
    ).axes
    assert axes.lines[0].get_marker() == "o"


def test_long_labels_are_broken(tmp_path):
    runs = [
        run_with(tmp_path / str(number), EPISODES, rollout={"gamma": gamma}) for number, gamma in enumerate((0.9, 0.8))
    ]
    for run, name in zip(runs, ("short", "a_name_that_is_so_long_that_it_would_hide_the_curves"), strict=True):
        (run.path / "run.json").write_text(json.dumps({"command": ["ppocli", "--config", name]}))
    (axes,) = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.MEAN).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "short (1 seed)",
        "a_name_that_is_so_long_that_it_would_hide_the_curv\nes (1 seed)",
    ]


def test_a_legend_of_many_stands_below_the_curves(tmp_path):
    gammas = [0.9 + number / 100 for number in range(9)]
    runs = [run_with(tmp_path / str(number), EPISODES, rollout={"gamma": gamma}) for number, gamma in enumerate(gammas)]
    for number, run in enumerate(runs):
        (run.path / "run.json").write_text(
            json.dumps({"name": f"{number}_a_name_so_long_that_it_takes_two_lines_in_a_legend"})
        )

    def drawn(some):
        figure = figures.learning_curves(groups(some), Axis.ENV_STEPS, Statistic.MEAN)
        FigureCanvasAgg(figure).draw()  # places everything
        (axes,) = figure.axes
        return (
            figure,
            axes.get_legend().get_window_extent(),
            axes.get_window_extent(),
            axes.xaxis.label.get_window_extent(),
        )

    _, legend, axes, _ = drawn(runs[:2])
    assert legend.y0 > axes.y0
    many, legend, panel, title = drawn(runs)
    assert 0 < legend.y0 < legend.y1 < title.y0 < panel.y0
    assert panel.height == pytest.approx(axes.height, rel=0.2)  # the figure has grown, and the curves have their room
    assert legend.x1 < many.get_figwidth() * many.dpi
    # in print, too, each is told from all others
    lines = [(line.get_color(), line.get_linestyle()) for line in many.axes[0].lines]
    assert len(set(lines)) == len(lines) == 9


def test_a_panel_without_many_keeps_its_legend_inside(tmp_path):
    tasks = [{"env": {"id": "Pendulum-v1"}}, *[{"rollout": {"gamma": 0.9 + number / 100}} for number in range(9)]]
    runs = [run_with(tmp_path / str(number), EPISODES, **one) for number, one in enumerate(tasks)]
    figure = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.MEAN)
    FigureCanvasAgg(figure).draw()
    inside, below = (axes.get_legend().get_window_extent().y0 > axes.get_window_extent().y0 for axes in figure.axes)
    assert (inside, below) == (True, False)


def test_the_name_of_a_single_run_is_in_the_heading(tmp_path):
    folder = tmp_path / "CartPole-v1"
    folder.mkdir()
    run = run_with(folder / "x", EPISODES)
    (run.path / "run.json").write_text(json.dumps({"name": "$slow$"}))
    headings = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_write", lambda figure, output: headings.append(figure.get_suptitle()))
        figures.draw([run])
    assert headings == ["CartPole-v1, $slow$"]


def test_a_config_may_be_called_what_it_likes(tmp_path):
    runs = [
        run_with(tmp_path / str(number), EPISODES, rollout={"gamma": gamma}) for number, gamma in enumerate((0.9, 0.8))
    ]
    for run, name in zip(runs, ("$a_{$", "_hidden"), strict=True):
        (run.path / "run.json").write_text(json.dumps({"command": ["ppocli", "--config", f"{name}.yaml"]}))
    figures.draw(runs, tmp_path / "x.png")
    (axes,) = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.MEAN).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.removesuffix(" (1 seed)").strip() for label in labels] == ["$a_{$", "_hidden"]


def test_formats(tmp_path):
    figure = figures.comparison("CartPole-v1", "PPO", EPISODES, BASELINE, target=None)
    for name, start in (("x.png", b"\x89PNG"), ("new/x.svg", b"<?xml"), ("x.PDF", b"%PDF")):
        check_output(tmp_path / name, figures.FORMATS)
        figures._write(figure, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (1350, 675)


def test_the_same_figure_is_the_same_file_and_a_small_one(tmp_path):
    for name in ("first.svg", "again.svg"):
        figures._write(figures.comparison("CartPole-v1", "PPO", EPISODES, BASELINE, target=None), tmp_path / name)
    first = (tmp_path / "first.svg").read_bytes()
    assert (tmp_path / "again.svg").read_bytes() == first
    assert len(first) < 200_000
    many = figures.comparison("CartPole-v1", "PPO", EPISODES * 100, BASELINE, target=None)
    figures._write(many, tmp_path / "many.svg")
    assert (tmp_path / "many.svg").stat().st_size < 1_000_000  # 15,000 dots are one picture in it


def test_a_users_own_style_with_tex_does_not_matter(tmp_path):
    with rc_context({"text.usetex": True}):
        figures._write(figures.comparison("CartPole-v1", "PPO", EPISODES, BASELINE, target=120.0), tmp_path / "x.png")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match=r"--output x.jpg: the name must end in .png, .svg or .pdf"):
        check_output(Path("x.jpg"), figures.FORMATS)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        check_output(tmp_path / "folder.png", figures.FORMATS)
    (tmp_path / "file").touch()
    with pytest.raises(PpocliError, match="cannot write there"):
        figures._write(figures.comparison("X", "PPO", EPISODES, BASELINE, None), tmp_path / "file" / "x.png")


def test_the_band_is_as_wide_as_the_interval(tmp_path):
    high = [episode(number, 10 * number, number / 2, 100.0 + number) for number in range(1, 151)]
    runs = [run_with(tmp_path / "0", EPISODES), run_with(tmp_path / "1", high, train={"seed": 1})]
    (axes,) = figures.learning_curves(groups(runs), Axis.ENV_STEPS, Statistic.MEAN).axes
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    # the seeds stand at 1 and 101 at first, at 100.5 and 200.5 at the end: 50 is the error, 12.7062 t's quantile
    assert (heights.min(), heights.max()) == pytest.approx((51 - 12.7062 * 50, 150.5 + 12.7062 * 50), abs=0.1)
    assert axes.lines[0].get_ydata()[[0, -1]] == pytest.approx([51.0, 150.5])
    # of so wide a band as much is in sight as makes the picture twice as high as the curve
    bottom, top = axes.get_ylim()
    assert (bottom, top) == pytest.approx((51 - 99.5 / 2, 150.5 + 99.5 / 2))


def run_with_updates(folder, returns, kl, **sections):
    """A run of four iterations of 100 env steps, five episodes each, and the KL of its updates."""
    episodes = [episode(number + 1, 20 * (number + 1), 0.0, float(value)) for number, value in enumerate(returns)]
    run = run_with(folder, episodes, target=475, **sections)
    rows = [metrics(iteration=number + 1, env_steps=100 * (number + 1), kl=value) for number, value in enumerate(kl)]
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns_of(Metrics), *map(astuple, rows)])
    return run


def test_why_shows_returns_moves_and_the_share_of_updates_that_made_it_worse(tmp_path):
    falling, steady = [9] * 5 + [5] * 15, [6, 7, 8, 9, 10] * 4
    runs = [
        run_with_updates(tmp_path / "0", falling, [1.0, 0.01, 0.0, 1.0]),
        run_with_updates(tmp_path / "1", steady, [0.01] * 4, algorithm="trpo"),
        run_with_updates(tmp_path / "2", steady, [0.04] * 4, algorithm="trpo", train={"seed": 1}),
    ]
    returns, distances, shares = figures.why(groups(runs), Axis.ENV_STEPS, Statistic.MEAN).axes
    assert returns.get_title() == "CartPole-v1: what it earned"
    labels = [text.get_text() for text in returns.get_legend().get_texts()]
    assert [label.partition(" ")[0] for label in labels] == ["ppo", "trpo", "solved:"]
    # an update that did not move the policy is no dot, and the line is the running geometric mean
    assert [line.get_ydata().tolist() for line in distances.lines] == [
        pytest.approx([1, 0.1, 0.01 ** (1 / 3)]),
        pytest.approx([0.01] * 4),
        pytest.approx([0.04] * 4),
    ]
    assert distances.lines[0].get_xdata().tolist() == [100, 200, 400]
    assert distances.get_yscale() == "log"
    assert [len(dots.get_offsets()) for dots in distances.collections] == [3, 4, 4]
    assert [bar.get_width() for bar in shares.patches] == pytest.approx([1 / 3, 0])
    assert [label.get_text() for label in shares.get_yticklabels()] == ["ppo", "trpo"]
    assert [text.get_text() for text in shares.texts] == [" 33.3% of 3", " 0.0% of 6"]
    many = [
        run_with_updates(tmp_path / f"many-{tenths}", steady, [0.01], rollout={"gamma": tenths / 10})
        for tenths in range(6)
    ]
    taller = figures.why(groups(many), Axis.ENV_STEPS, Statistic.MEAN)  # by its legend, which stands below
    assert taller.get_figheight() > returns.figure.get_figheight()


def test_why_says_where_updates_cannot_be_judged(tmp_path):
    run = run_with_updates(tmp_path / "0", [1.0, 2.0], [None, None, None, None])
    *_, shares = figures.why(groups([run]), Axis.ENV_STEPS, Statistic.MEAN).axes
    assert [text.get_text() for text in shares.texts] == [" too few episodes"]
    assert figures.draw([run], of_updates=True) == tmp_path / "0" / "plots" / "why.png"
