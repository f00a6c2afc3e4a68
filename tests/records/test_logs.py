from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from ppocli.envs.episodes import Episode
from ppocli.errors import RunError
from ppocli.records.logs import Log, LoggedEpisode, Metrics, logged_episodes, read_log
from tests.records.runs import columns_of, metrics


def test_columns_are_the_contracts():
    assert ",".join(columns_of(Metrics)) == (
        "iteration,env_steps,seconds,env_steps_per_second,rollout_seconds,update_seconds,evaluation_seconds,episodes,"
        "return_mean,return_min,return_max,length_mean,policy_loss,value_loss,entropy,approx_kl,clip_fraction,"
        "explained_variance,gradient_norm,learning_rate,eval_return_mean,success_rate,"
        "value_target_std,saturated_actions,kl,step_length,line_search_steps"
    )
    assert ",".join(columns_of(LoggedEpisode)) == (
        "episode,env_steps,seconds,environment,seed,episode_return,episode_length,terminated,truncated"
    )


METRICS_COLUMNS = columns_of(Metrics)


def write_log(path, *rows, columns=METRICS_COLUMNS):
    path.write_text("".join(",".join(map(str, row)) + "\r\n" for row in (columns, *rows)), newline="")


def test_a_log_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "metrics.csv"
    row = metrics(iteration=3, return_mean=None, entropy=0.1 + 0.2, eval_return_mean=-1.5e-7)
    write_log(path, ["" if value is None else value for value in astuple(row)])
    assert read_log(path, Metrics) == [row]


def test_episodes_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "episodes.csv"
    (row,) = logged_episodes([Episode(4, 99, 7.5, 3, True, False, 64)], before=6, seconds=2.25)
    assert row == LoggedEpisode(7, 64, 2.25, 4, 99, 7.5, 3, terminated=True, truncated=False)
    write_log(path, astuple(row), columns=columns_of(LoggedEpisode))
    assert read_log(path, LoggedEpisode) == [row]


def test_a_row_that_is_still_being_written_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    write_log(path, astuple(metrics()), astuple(metrics()))
    whole = path.read_text()
    for length in range(len(whole) - 20, len(whole) - 2):
        path.write_text(whole[:length])
        assert len(read_log(path, Metrics)) == 1
    path.write_text("iteration,env_")
    with pytest.raises(RunError, match=r"metrics.csv: not a log that ppocli wrote: it has no column iteration"):
        read_log(path, Metrics)


def test_an_empty_log_is_that_of_a_run_that_has_just_begun(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("")
    assert read_log(path, Metrics) == []


def test_columns_that_are_not_known_yet_do_not_matter(tmp_path):
    path = tmp_path / "metrics.csv"
    write_log(path, (*astuple(metrics(iteration=5)), "new"), columns=(*columns_of(Metrics), "later"))
    assert read_log(path, Metrics) == [metrics(iteration=5)]


@pytest.mark.parametrize("value", ["nan", "inf", "x", "", "1e999", "-1.7e308"])
def test_what_is_no_finite_number_is_refused(tmp_path, value):
    path = tmp_path / "metrics.csv"
    write_log(path, astuple(metrics(learning_rate=value)))
    with pytest.raises(RunError, match=r"metrics.csv: not a log that ppocli wrote"):
        read_log(path, Metrics)


def test_an_integer_that_no_run_can_reach_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    write_log(path, astuple(metrics(env_steps="1" + 400 * "0")))
    with pytest.raises(RunError, match=r"metrics.csv: not a log that ppocli wrote: 10{19} is no finite number"):
        read_log(path, Metrics)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RunError, match=r"metrics.csv: cannot read it: No such file"):
        read_log(tmp_path / "metrics.csv", Metrics)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="only where there is such a device")
def test_a_log_that_never_ends_is_not_read(tmp_path):
    (tmp_path / "metrics.csv").symlink_to("/dev/zero")
    with pytest.raises(RunError, match=r"metrics.csv: not a file"):
        read_log(tmp_path / "metrics.csv", Metrics)


def test_a_log_is_continued_where_it_was_truncated(tmp_path):
    path = tmp_path / "metrics.csv"
    with closing(Log(path, Metrics, 0)) as log:
        log.append([metrics(iteration=1)])
        length = log.sync()
        log.append([metrics(iteration=2), metrics(iteration=3)])
        assert [row.iteration for row in read_log(path, Metrics)] == [1, 2, 3]  # it is with the system at once
    with closing(Log(path, Metrics, length)) as log:
        log.append([metrics(iteration=4)])
    assert [row.iteration for row in read_log(path, Metrics)] == [1, 4]
    Log(path, Metrics, 0).close()
    assert read_log(path, Metrics) == []
    with pytest.raises(RunError, match=r"metrics.csv: \d+ bytes, but the checkpoint counts on 9,999: some of its rows"):
        Log(path, Metrics, 9999)


@dataclass(frozen=True)
class LaterMetrics(Metrics):
    """A row as a later version may write it."""

    value_clip_fraction: float | None = None


def test_a_log_from_before_a_column_was_added_is_read_and_continued(tmp_path):
    path = tmp_path / "metrics.csv"
    with closing(Log(path, Metrics, 0)) as log:
        log.append([metrics(iteration=1)])
        length = log.sync()
    with closing(Log(path, LaterMetrics, length)) as log:
        log.append([LaterMetrics(**vars(metrics(iteration=2)), value_clip_fraction=0.5)])
    assert read_log(path, Metrics) == [metrics(iteration=1), metrics(iteration=2)]
    assert read_log(path, LaterMetrics) == [LaterMetrics(**vars(metrics(iteration=number))) for number in (1, 2)]


def test_a_log_of_a_later_version_is_continued_with_an_empty_cell(tmp_path):
    path = tmp_path / "metrics.csv"
    with closing(Log(path, LaterMetrics, 0)) as log:
        length = log.sync()
    with closing(Log(path, Metrics, length)) as log:
        log.append([metrics(iteration=1)])
    assert read_log(path, LaterMetrics) == [LaterMetrics(**vars(metrics(iteration=1)))]


@pytest.mark.parametrize("header", [b"\n", b"iteration\n", b"\xff\xfe\n", b"x" * 200_000 + b"\n"])
def test_a_log_with_a_damaged_header_is_not_continued(tmp_path, header):
    path = tmp_path / "metrics.csv"
    path.write_bytes(header)
    with pytest.raises(RunError, match=r"metrics.csv: not a log that ppocli wrote"):
        Log(path, Metrics, len(header))
