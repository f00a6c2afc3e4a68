"""What stands on the screen while a run trains, read back from what is written to the terminal."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from ppocli.config.models import Config
from ppocli.envs.api import Discrete
from ppocli.evaluation.statistics import Verdict
from ppocli.records.checkpoint import Progress
from ppocli.signals import STOPPING, StopRequest
from ppocli.views import dashboard
from ppocli.views.dashboard import Dashboard, Known
from tests.views.iterations import BATCH, iteration, metrics

CONFIG = Config.model_validate(
    {"env": {"id": "CartPole-v1", "num_envs": 16}, "train": {"env_steps": BATCH * 40, "seed": 3}}
)


class Terminal:
    """A terminal as large as it is told to be, that remembers what is written to it."""

    def __init__(self, width=80, height=24, encoding="utf-8"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)
        self.console = Console(file=file, force_terminal=True, width=width, height=height, legacy_windows=False)

    @property
    def written(self):
        return self.console.file.buffer.getvalue().decode(self.console.encoding)

    def screen(self):
        """Return the lines that have come to stand there, scrolled off or not: what rich writes, played back."""
        lines, row, column = [""], 0, 0
        for code, text in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", self.written):
            if text:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                column += len(text)
            elif code == "\r":
                column = 0
            elif code == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif code == "\x1b[2K":
                lines[row] = ""
            elif code == "\x1b[1A":
                row = max(0, row - 1)
            elif code == "\x1b[2J":
                lines = [""] * len(lines)
            elif code == "\x1b[H":
                row = column = 0
            else:
                assert code[-1] in "mlh", code
        return lines


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def every_update_is_drawn(monkeypatch):
    monkeypatch.setattr(dashboard, "SHORTEST_INTERVAL_SECONDS", 0)
    monkeypatch.setattr(dashboard, "SHARE_OF_TIME", np.inf)


def shown(*iterations, terminal=None, **known):
    """Return the lines on the screen after iterations, while the training goes on; what is `known` is so beforehand."""
    terminal = terminal or Terminal()
    board = Dashboard(CONFIG, "some-run", terminal.console, Known(**known)).__enter__()
    for one in iterations:
        board.update(one)
    lines = terminal.screen()
    board.__exit__()
    return lines


def value_of(label, lines):
    """The cell's value, whatever stands beside it."""
    (found,) = re.findall(rf"(?:^|  ){label} +(\S+(?: \S+)*)", "\n".join(lines), re.MULTILINE)
    return found


# ----------------------------------------------------------------------------------------------------------------------
# What it says


def test_numbers_of_the_users_own_have_a_line_and_stay_until_there_are_new_ones():
    lines = shown(iteration(1, info={"height": 2.5, "fuel": 0.12345}), iteration(2, info={"height": 3.0}), iteration(3))
    assert "height 3   fuel 0.1235" in [line.rstrip() for line in lines]
    assert not any("height" in line for line in shown(iteration(1)))


def test_the_whole_screen():
    lines = shown(
        *[iteration(number) for number in range(1, 10)],
        iteration(
            10, saved=True, progress=Progress(best_return=456.78), env_steps_per_second=12345.6, length_mean=67.89
        ),
        baseline_mean=21.1,
    )
    assert lines[0] == "CartPole-v1 · seed 3 · some-run"
    # 40 s for 10 of 40 iterations, the start not counted
    assert lines[1].endswith("20,480 of 81,920 env steps  elapsed 0:42   ETA 2:00 ")
    assert lines[1].startswith(" 25% ━━━━━────────────────  ")
    assert lines[3].startswith("┌ mean return of the episodes ─")
    assert lines[12].startswith("└ 0 ───")
    assert " env steps " in lines[12]
    assert " 81,920 ┘" in lines[12]
    for label, value in {
        "recent return": "123.5",
        "target": "475.0",
        "best evaluation": "456.8",
        "solved": "not yet",
        "episode length": "67.9",
        "env steps/s": "12,346",
        "rollout time": "50%",
        "update time": "30%",
        "evaluation time": "20%",
        "policy loss": "1.0000",
        "value loss": "1.00e+00",
        "gradient norm": "1.000",
        "approx KL": "0.0100",
        "clip fraction": "0.100",
        "learning rate": "1.00e+00",
        "entropy": "0.500",
        "explained variance": "0.90",
        "iteration": "10 of 40",
    }.items():
        assert value_of(label, lines) == value
    assert lines[21] == "health is looked at from iteration 11 on"
    assert lines[22] == "last checkpoint at 20,480 env steps                     Ctrl-C stops and saves"
    assert len(lines) == 23


def test_before_the_first_iteration():
    assert shown() == ["CartPole-v1 · seed 3 · some-run", "starting"]


def test_what_is_not_known_yet():
    lines = shown(iteration(1, recent_return=None, target=None, length_mean=None, return_mean=None, episodes=0))
    for label in ("recent return", "target", "best evaluation", "episode length"):
        assert value_of(label, lines) == "-"
    assert value_of("solved", lines) == "no target"
    assert lines[22].startswith("no checkpoint yet  ")


def test_the_episode_length_stands_where_no_episode_has_ended():
    lines = shown(iteration(1, length_mean=67.89), iteration(2, length_mean=None, return_mean=None, episodes=0))
    assert value_of("episode length", lines) == "67.9"


def test_huge_numbers_keep_to_their_columns():
    usual = shown(iteration(1), terminal=Terminal(100, 24))
    lines = shown(
        iteration(1, recent_return=-1e30, length_mean=1e7, gradient_norm=1e30, policy_loss=-1000.0),
        terminal=Terminal(100, 24),
    )
    assert value_of("recent return", lines) == "-1.000e+30"
    assert value_of("episode length", lines) == "1.000e+07"
    assert value_of("gradient norm", lines) == "1.0e+30"
    assert value_of("policy loss", lines) == "-1.0e+03"
    assert [len(line) for line in lines] == [len(line) for line in usual]


def test_solved():
    lines = shown(iteration(5, progress=Progress(solved_at_env_steps=8192, solved_at_seconds=18.0)))
    assert value_of("solved", lines) == "at 8,192"


def test_the_check_that_finds_the_task_solved_is_an_evaluation():
    verdict = Verdict(481.5, None, is_best=False, recent_return=400.0, target=475.0)
    solved = replace(iteration(5, progress=Progress(solved_at_env_steps=8192)), verdict=verdict)
    assert value_of("best evaluation", shown(iteration(4), solved)) == "481.5"
    later = [iteration(number, progress=Progress(best_return=best)) for number, best in ((6, 100.0), (7, 490.0))]
    assert value_of("best evaluation", shown(solved, later[0])) == "481.5"
    assert value_of("best evaluation", shown(solved, *later)) == "490.0"


def test_the_last_checkpoint_is_remembered():
    lines = shown(iteration(1, saved=True), iteration(2), iteration(3))
    assert lines[22].startswith("last checkpoint at 2,048 env steps ")


def test_a_resumed_run_counts_its_own_seconds_and_steps():
    history = [metrics(number) for number in range(1, 13)]  # the last two, after the checkpoint, are done again
    seconds_before = history[9].seconds
    again = [
        iteration(number, seconds=seconds_before + 5.0 + 10 * (number - 10), rollout_seconds=8.0) for number in (11, 12)
    ]
    lines = shown(*again, history=history, progress=Progress(env_steps=10 * BATCH, seconds=seconds_before))
    # 5 s of start, then 10 s an iteration, of which 28 are left
    assert "24,576 of 81,920 env steps  elapsed 0:25   ETA 4:40" in lines[1]
    assert value_of("rollout time", lines) == "80%"
    assert lines[22].startswith("last checkpoint at 20,480 env steps ")
    assert lines[21].startswith("healthy")


def test_rows_that_are_done_again_are_not_counted_twice():
    known = Known(Progress(env_steps=BATCH), history=[metrics(1), metrics(2, return_mean=9.0)])
    board = Dashboard(CONFIG, "", Terminal().console, known)
    board.update(iteration(2, return_mean=40.0))
    _, means = board._curve.points(40)
    assert means.tolist() == [20.0, 40.0]


def test_hours():
    lines = shown(iteration(1, seconds=3605.0, rollout_seconds=3600.0, update_seconds=0.0, evaluation_seconds=0.0))
    assert lines[1].endswith("elapsed 1:00:05  ETA 39:00:00")
    assert cell_len(lines[1]) == 80


def test_something_unhealthy_is_said_in_the_same_place():
    healthy = [iteration(number) for number in range(1, 15)]
    sick = [iteration(number, approx_kl=0.5) for number in range(15, 20)]
    before, after = shown(*healthy), shown(*healthy, *sick)
    assert before[21] == "healthy over the last 10 iterations"
    assert after[21].startswith("! approx KL above 0.03: ")
    assert len(before) == len(after)


def test_entropy_is_looked_at_where_it_is_known_of_which_actions():
    iterations = [iteration(number, entropy=0.69 if number == 1 else 0.001) for number in range(1, 15)]
    assert shown(*iterations)[21].startswith("healthy")
    assert shown(*iterations, action_spec=Discrete(2))[21].startswith("! entropy near 0")
    history = [one.metrics for one in iterations]
    resumed = shown(
        iteration(15, entropy=0.001),
        history=history,
        progress=Progress(env_steps=14 * BATCH, seconds=58.0),
        action_spec=Discrete(2),
    )
    assert resumed[21].startswith("! entropy near 0")


def test_a_run_name_neither_steers_the_terminal_nor_is_markup():
    terminal = Terminal()
    board = Dashboard(CONFIG, "[red]x[/red]\x1b[2J\n\r", terminal.console)
    with board:
        board.update(iteration(1))
    assert terminal.screen()[0] == "CartPole-v1 · seed 3 · [red]x[/red] [2J"
    assert "\x1b[2J" not in terminal.written


# ----------------------------------------------------------------------------------------------------------------------
# The curve


def curve_of(lines):
    top = next(number for number, line in enumerate(lines) if line.startswith(("┌", "+")))
    bottom = next(number for number, line in enumerate(lines) if number > top and line.startswith(("└", "+")))
    return lines[top + 1 : bottom]


def row_with(text, lines):
    (row,) = [row for row, line in enumerate(lines) if text in line]
    return row


def drawn(line):
    return re.findall(r"[⠁-⣿]", line)


def test_target_and_random_policy_are_lines_with_their_names():
    rows = curve_of(shown(*[iteration(number) for number in range(1, 21)], baseline_mean=21.12345))
    target, random = row_with(" target 475.0", rows), row_with(" random 21.1", rows)
    assert rows[random].endswith(" random 21.1")
    assert target < random
    for row, line in enumerate(rows):
        assert bool(re.search("[▔─▁]{5}", line)) == (row in (target, random))
    assert rows[0].endswith("│ 500") or target == 0


def test_the_curve_grows_to_the_right_and_upwards():
    half = curve_of(shown(*[iteration(number) for number in range(1, 21)]))
    columns = [column for line in half for column in range(1, 64) if line[column] in "⠁⣿" or drawn(line[column])]
    assert min(columns) <= 3
    assert max(columns) == 33  # half of 65 columns, and the border
    assert drawn(half[-1])[0]
    assert half[-1].index(drawn(half[-1])[0]) < half[1].index(drawn(half[1])[0])


@pytest.mark.parametrize(
    "returns",
    [
        [],
        [None, None],
        [5.0],
        [0.0, 0.0, 0.0],
        [500.0] * 9,
        [1e300, -1e300],
        [1.7e308, 1.7e308],
        [1e17, 1e17 + 16],
        [5e-324, 0.0],
        [-1e6, 3.0],
        [0.1 + 0.2, 0.3],
    ],
    ids=str,
)
@pytest.mark.parametrize("target", [None, 475.0, 0.0])
def test_any_returns(returns, target):
    iterations = [
        iteration(number, return_mean=value, episodes=10 * (value is not None), target=target)
        for number, value in enumerate(returns or [None], start=1)
    ]
    lines = shown(*iterations, baseline_mean=None if target is None else target - 1e-9)
    assert len(lines) == 23
    assert max(map(cell_len, lines)) <= 80
    assert bool("".join(map("".join, map(drawn, curve_of(lines))))) == any(value is not None for value in returns)


def test_two_lines_in_one_row_share_its_label():
    rows = curve_of(shown(iteration(1, return_mean=-1e6), baseline_mean=21.1))
    assert row_with(" target, random", rows) == 1


# ----------------------------------------------------------------------------------------------------------------------
# Terminals


@pytest.mark.parametrize("width", [10, 40, 60, 77, 78, 80, 160, 200])
@pytest.mark.parametrize("height", [1, 2, 10, 14, 19, 24, 50])
def test_it_fits_any_terminal(width, height):
    lines = shown(
        iteration(
            30, value_loss=1e30, gradient_norm=1e30, policy_loss=-1e30, explained_variance=-1e9, length_mean=1e30
        ),
        history=[metrics(number, approx_kl=9.0) for number in range(1, 30)],
        progress=Progress(env_steps=29 * BATCH),
        terminal=Terminal(width, height),
        baseline_mean=-1234.5678,
    )
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= max(1, height - 1)
    assert cell_len(lines[-1]) <= max(22, width - 2) or width < 22  # the terminal itself may write ^C there


@pytest.mark.parametrize(("value", "text"), [(0.894, "0.89"), (-4.583, "-4.58"), (-23.17, "-23"), (-823.1, "-823")])
def test_a_value_stays_clear_of_its_label(value, text):
    lines = shown(iteration(1, explained_variance=value), terminal=Terminal(80, 24))
    assert re.search(f"explained variance +{text}$", "\n".join(lines), re.MULTILINE)


@pytest.mark.parametrize(
    ("width", "height", "rows"), [(80, 24, 8), (80, 20, 4), (80, 18, 0), (80, 14, 0), (200, 50, 38)]
)
def test_the_curve_takes_the_rows_that_are_left(width, height, rows):
    lines = shown(iteration(1), terminal=Terminal(width, height))
    assert len(lines) == (height - 1 if rows else 12)
    assert "explained variance" in "\n".join(lines)
    assert "Ctrl-C stops and saves" in lines[-1]
    assert sum(line.startswith("│") for line in lines) == rows


def test_a_high_terminal_has_no_curve_that_is_higher_than_wide():
    lines = shown(iteration(1), terminal=Terminal(80, 100))
    assert sum(line.startswith("│") for line in lines) == 18  # a quarter of the columns, less the frame


def test_a_wide_terminal_keeps_values_near_their_labels():
    lines = shown(iteration(1), terminal=Terminal(150, 30))
    assert cell_len(lines[row_with("explained variance", lines)]) == 3 * 30 + 2 * 3


def test_one_row_too_few_for_the_screen():
    assert "explained variance" in "\n".join(shown(iteration(1), terminal=Terminal(80, 14)))
    assert "explained variance" not in "\n".join(shown(iteration(1), terminal=Terminal(80, 13)))


def test_a_tiny_terminal_shows_the_first_lines_and_the_last():
    lines = shown(iteration(10), terminal=Terminal(40, 5))
    assert [line[:6] for line in lines] == ["CartPo", " 25% ━", "return", "Ctrl-C"]


def test_a_small_terminal_shows_the_essentials():
    lines = shown(iteration(10, approx_kl=0.01), terminal=Terminal(40, 10))
    assert lines == [
        "CartPole-v1 · seed 3 · some-run",
        f" 25% {'━' * 8}{'─' * 27}",
        "return 123.5, target 475.0",
        "elapsed 0:42, ETA 0:12",
        "20,480 of 81,920 env steps",
        "solved not yet, best evaluation -",
        "health is looked at from iteration 11 on",
        "Ctrl-C stops and saves",
    ]


def test_a_narrow_terminal_has_the_curve_if_it_is_high():
    lines = shown(iteration(10), terminal=Terminal(60, 24))
    assert len(lines) == 23
    assert sum(line.startswith("│") for line in lines) == 12
    assert lines[-1] == "Ctrl-C stops and saves"


@pytest.mark.parametrize("size", [(80, 24), (70, 24), (40, 10)])
def test_ascii(size):
    terminal = Terminal(*size, encoding="ascii")  # which refuses anything else
    iterations = [iteration(number) for number in range(1, 21)]
    lines = shown(*iterations, terminal=terminal, baseline_mean=21.1)
    assert lines[0] == "CartPole-v1 - seed 3 - some-run"
    assert "=======" in lines[1]
    if size[0] > 60:
        assert sum("+" in line for line in curve_of(lines)) > 3
        assert "-----| target 475" in "\n".join(lines)


def test_colours_say_nothing_alone(monkeypatch):
    iterations = [iteration(number, approx_kl=9.0) for number in range(1, 21)]
    coloured = shown(*iterations, baseline_mean=21.1)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    assert shown(*iterations, baseline_mean=21.1, terminal=terminal) == coloured
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.written)


def test_each_frame_takes_the_place_of_the_one_before():
    terminal = Terminal()
    with Dashboard(CONFIG, "some-run", terminal.console) as board:
        for number in range(1, 41):
            board.update(iteration(number))
            assert len(terminal.screen()) == 23
    lines = terminal.screen()
    assert lines[0].startswith("CartPole-v1")
    assert "ETA 0:00" in lines[1]
    assert lines[21] == "healthy over the last 10 iterations"
    assert lines[22:] == [""]  # no more talk of stopping, and the cursor at the start of an empty line


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10)])
def test_a_signal_is_acknowledged_in_the_last_line_at_once_and_from_then_on(width, height):
    terminal, stop = Terminal(width, height), StopRequest()
    with Dashboard(CONFIG, "some-run", terminal.console, stop=stop) as board:
        board.update(iteration(1))
        before = terminal.screen()
        terminal.console.file.buffer.write(stop.acknowledgement)  # as the signal's handler does
        stop.signal_number = 2
        acknowledged = terminal.screen()
        board.update(iteration(2))
        after = terminal.screen()
    assert before[-1].endswith("Ctrl-C stops and saves")
    assert acknowledged[:-1] == before[:-1]
    assert acknowledged[-1] == STOPPING
    assert after[-1] == STOPPING[:width]
    assert len(after) == len(before)
    assert STOPPING[:width] not in terminal.screen()


def test_another_size_in_the_middle():
    terminal = Terminal(160, 45)
    with Dashboard(CONFIG, "some-run", terminal.console) as board:
        for number, size in enumerate([(160, 45), (100, 30), (40, 10), (80, 24), (200, 50), (80, 24)], start=1):
            terminal.console.size = size
            written = len(terminal.written)
            board.update(iteration(number))
            narrower = number in (2, 3, 6)
            # The terminal has wrapped the lines of a frame that was wider, so that all is cleared.
            assert ("\x1b[2J" in terminal.written[written:]) == narrower
            lines = [line for line in terminal.screen() if line]
            assert max(map(cell_len, lines)) <= size[0]
            assert sum("CartPole-v1" in line for line in lines) == 1


def test_a_terminal_that_is_closed_does_not_end_the_run():
    terminal = Terminal()
    with Dashboard(CONFIG, "some-run", terminal.console) as board:
        board.update(iteration(1))

        def write(text):
            raise OSError(5, "Input/output error")

        terminal.console.file.write = write
        board.update(iteration(2))
        board.update(iteration(3))


# ----------------------------------------------------------------------------------------------------------------------
# Time


@pytest.fixture
def clock(monkeypatch):
    """Time as the dashboard sees it: it stands still, but while something is drawn."""
    clock = SimpleNamespace(now=100.0, drawing_takes=0.0, draws=0)
    draw = Dashboard._frame

    def slow_draw(*arguments, **options):
        clock.now += clock.drawing_takes
        clock.draws += 1
        return draw(*arguments, **options)

    monkeypatch.undo()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(Dashboard, "_frame", slow_draw)
    monkeypatch.setattr(dashboard, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def times_of_draws(clock, step, count):
    terminal = Terminal()
    with Dashboard(CONFIG, "some-run", terminal.console) as board:
        began, times = clock.now, []
        for _ in range(count):
            before = clock.draws
            board.update(iteration(1))
            if clock.draws > before:
                times.append(round(clock.now - began, 6))
            clock.now += step
    return times


def test_no_more_than_four_frames_a_second(clock):
    assert times_of_draws(clock, step=0.0625, count=9) == [0.0, 0.25, 0.5]
    assert times_of_draws(clock, step=0.24, count=5) == [0.0, 0.48, 0.96]


def test_drawing_takes_a_hundredth_of_the_time(clock):
    clock.drawing_takes = 0.01  # so that the next second is left alone
    assert times_of_draws(clock, step=0.51, count=9) == [0.01, 1.04, 2.07, 3.1, 4.13]


def test_the_first_and_the_last_report_are_always_drawn(clock):
    terminal = Terminal()
    with Dashboard(CONFIG, "some-run", terminal.console) as board:
        board.update(iteration(1))
        assert value_of("iteration", terminal.screen()) == "1 of 40"
        board.update(iteration(2))
        board.update(iteration(3))
        assert value_of("iteration", terminal.screen()) == "1 of 40"
    assert value_of("iteration", terminal.screen()) == "3 of 40"


def test_an_iteration_that_is_not_drawn_is_counted_all_the_same(clock):
    iterations = [iteration(number, saved=number == 2) for number in (1, 2, 3)]
    board = Dashboard(CONFIG, "some-run", Terminal().console)
    for one in iterations:
        board.update(one)
    _, means = board._curve.points(40)
    assert means.tolist() == [20.0, 40.0, 60.0]
    assert "last checkpoint at 4,096 env steps" in board._frame().plain
