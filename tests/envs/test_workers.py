"""Environments in worker processes do what they do in one process, and end when it ends."""

import os
import signal
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from ppocli.config.sections import EnvConfig
from ppocli.envs.api import Continuous
from ppocli.envs.crew import Crew
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import automatic_workers, evaluation_envs
from ppocli.envs.workers import WorkerVectorEnv
from ppocli.errors import PpocliError, PpocliWarning, UsageError
from tests.cli.commands import PATIENCE_SECONDS
from tests.environments import Counting


@pytest.fixture
def make():
    made = []

    def make(env_id, num_envs, num_workers=1, **kwargs):
        crew = Crew()
        made.append(WorkerVectorEnv(EnvConfig(id=env_id, kwargs=kwargs), num_envs, num_workers, crew))
        crew.start()
        return made[-1]

    yield make
    for envs in made:
        envs.close()


def drawn(spec, rng):
    """An action as an agent would take it: the environments of other processes get its dtype, too."""
    if isinstance(spec, Continuous):
        return rng.uniform(-1, 1, spec.shape).astype(spec.dtype)
    return rng.integers(spec.num_choices)


def play(envs, num_steps):
    """Everything that envs say over so many steps with fixed actions, each ended episode followed by the next."""
    rng = np.random.default_rng(0)
    seen = [envs.reset(range(envs.num_envs), range(envs.num_envs))]
    for number in range(num_steps):
        step = envs.step(np.array([drawn(envs.action_spec, rng) for _ in range(envs.num_envs)]))
        seen += step
        ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        if ended:
            seen.append(envs.reset(ended, [1000 * number + index for index in ended]))
    return seen


@pytest.mark.parametrize(
    ("env_id", "num_workers"),
    [("LunarLander-v3", 1), ("LunarLander-v3", 2), ("LunarLander-v3", 4), ("BipedalWalker-v3", 2), ("Taxi-v4", 1)],
)
def test_the_number_of_workers_changes_nothing(make, env_id, num_workers):
    alone = play(GymnasiumVectorEnv(EnvConfig(id=env_id), 5), 150)
    shared = play(make(env_id, 5, num_workers), 150)
    assert len(shared) == len(alone)
    for one, other in zip(shared, alone, strict=True):
        assert (one is other is None) or np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("num_playing", [1, 2, 6, 9, 20])
def test_whichever_environments_play_all_processes_have_about_as_many(make, num_playing):
    envs = make("Counting-v0", 20, 2)
    envs.reset(range(num_playing), range(num_playing))
    shares = [np.count_nonzero(envs._theirs[share.part]) for share in envs._shares]
    shares.append(num_playing - sum(shares))
    assert max(shares) - min(shares) <= 1


def test_what_has_ended_waits_and_only_the_named_are_reset(make):
    envs = make("Counting-v0", 3, length=2)  # registered in this process only
    envs.reset([0, 1, 2], [10, 11, 12])
    envs.step(np.zeros(3, int))
    assert envs.step(np.zeros(3, int)).terminated.all()
    assert envs.reset([2], [0]).tolist() == [[2, 10], [2, 11], [0, 0]]
    step = envs.step(np.zeros(3, int))
    assert step.obs.tolist() == [[2, 10], [2, 11], [1, 0]]
    assert step.rewards.tolist() == [0, 0, 1]
    assert not step.terminated.any()


def test_an_episode_that_is_given_up_is_played_by_one_process_still(make):
    envs = make("Counting-v0", 2)
    envs._alone_until = np.inf
    envs.reset([0, 1], [0, 1])
    envs.step(np.zeros(2, int))
    envs._alone_until = 0.0  # the next episode of the second environment would be a worker's
    assert envs.reset([1], [5]).tolist() == [[1, 0], [0, 5]]
    assert envs.step(np.zeros(2, int)).obs.tolist() == [[2, 0], [1, 5]]
    assert not (envs._own._playing & envs._theirs).any()


def test_what_was_handed_out_does_not_change(make):
    envs = make("Counting-v0", 2)
    first = envs.reset([0, 1], [0, 1])
    second = envs.step(np.zeros(2, int))
    envs.step(np.zeros(2, int))
    assert first[:, 0].tolist() == [0, 0]
    assert second.obs[:, 0].tolist() == [1, 1]
    assert second.rewards.tolist() == [1, 1]


def test_a_killed_worker_is_reported_with_the_signal(make):
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [0, 1])
    os.kill(envs._crew._workers[0]._process.pid, signal.SIGKILL)
    with pytest.raises(PpocliError, match=r"a worker process .* died: killed by signal 9 \(SIGKILL\)"):
        envs.step(np.zeros(2, int))


def test_an_error_in_a_worker_is_reported_in_its_own_words(make):
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [0, 1])
    message = r"^Counting-v0: AssertionError \(environments.py:\d+, in step\), in step 1 of its episode with seed 1$"
    with pytest.raises(PpocliError, match=message):
        envs.step(np.array([0, 9]))


def test_stop_signals_are_left_to_the_parent(make):
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [0, 1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(envs._crew._workers[0]._process.pid, number)
    assert envs.step(np.zeros(2, int)).rewards.tolist() == [1, 1]


def test_closing_ends_the_workers(make):
    envs = make("Counting-v0", 4, 3)
    processes = [worker._process for worker in envs._crew._workers]
    envs.close()
    assert not any(process.is_alive() for process in processes)


def test_several_vectors_of_environments_may_share_their_workers():
    crew, sizes = Crew(), (5, 3, 2)
    configs = [EnvConfig(id="Counting-v0", kwargs={"length": length}) for length in (2, 3, 4)]
    vectors = [WorkerVectorEnv(*both, min(2, both[1] - 1), crew) for both in zip(configs, sizes, strict=True)]
    crew.start()
    assert len(crew._workers) == 2
    expected = [play(GymnasiumVectorEnv(*both), 20) for both in zip(configs, sizes, strict=True)]
    for envs, alone in zip([*vectors, *vectors], [*expected, *expected], strict=True):
        for one, other in zip(play(envs, 20), alone, strict=True):
            np.testing.assert_array_equal(one, other)
    processes = [worker._process for worker in crew._workers]
    for envs in vectors:
        envs.close()
    assert [process.exitcode for process in processes] == [0, 0]


def test_an_unknown_environment_is_refused_before_any_worker_starts(make):
    with pytest.raises(UsageError, match="LunarLander-v3"):
        make("LunarLander-v2", 4)


SCRIPT = """
import os, signal
from ppocli.config.sections import EnvConfig
from ppocli.envs.crew import Crew
from ppocli.envs.workers import WorkerVectorEnv
crew = Crew()
envs = WorkerVectorEnv(EnvConfig(id="CartPole-v1"), 2, 1, crew)
crew.start()
envs.reset([0, 1], [0, 1])
print("ready", flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("pass", 0), ("raise SystemExit(3)", 3)]
)
def test_no_worker_outlives_its_parent(tmp_path, end, code):
    # An unguarded script, that forgets to close. The pipe ends only when every process that holds it has ended.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(end=end))
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert output.count("ready") == 1
    assert process.returncode == code


@pytest.mark.parametrize(
    ("cores", "num_envs", "expected"),
    [(1, 32, 0), (2, 32, 1), (8, 32, 3), (8, 15, 1), (2, 16, 1), (8, 4, 1), (8, 3, 0), (1, 4, 0)],
)
def test_automatic_workers(monkeypatch, cores, num_envs, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert automatic_workers(num_envs) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_signals_that_are_held_back_stay_so_while_workers_start():
    """multiprocessing's resource tracker, which comes with the first of them, lets in what was held back."""
    code = (
        "import signal\n"
        "from ppocli.config.sections import EnvConfig\n"
        "from ppocli.envs.crew import Crew\n"
        "from ppocli.envs.workers import WorkerVectorEnv\n"
        "from ppocli.signals import stop_signals_held_back\n"
        "if __name__ == '__main__':\n"
        "    with stop_signals_held_back():\n"
        "        crew = Crew()\n"
        "        WorkerVectorEnv(EnvConfig(id='Acrobot-v1'), 2, 1, crew)\n"
        "        crew.start()\n"
        "        print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))\n"
        "    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))\n"
    )
    command = [sys.executable, "-c", code]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    assert outcome.stdout.splitlines() == [str(sorted([signal.SIGHUP, signal.SIGINT, signal.SIGTERM])), "[]"]


@pytest.mark.parametrize(
    ("own_seconds", "seconds", "left_alone"),
    [
        (1e-4, 3e-4, True),  # this process alone would take twice its own share's time, 2e-4
        (1e-4, 1.9e-4, False),
        (1e-2, 3e-2, False),  # slower, but steps of 1 ms and more may well come of environments that are slow to make
        (4.9e-3, 3e-2, True),
        (1e-2, 1e-2, False),
    ],
)
def test_workers_that_do_not_pay_are_left_alone_and_nothing_else_changes(make, own_seconds, seconds, left_alone):
    envs = make("Counting-v0", 10)
    expected = play(GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 10), 20)
    envs.reset(range(10), range(10))
    for _ in range(1000):
        envs._measure(own_seconds, seconds)
    envs._measure = lambda *_: None  # or this machine would have its say
    seen = play(envs, 20)
    assert envs._theirs.any() == (not left_alone)
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_are_left_alone_for_longer_each_time_and_for_what_was_lost_lately(make, monkeypatch):
    monkeypatch.setattr("ppocli.envs.workers.time.perf_counter", lambda: 100.0)
    envs = make("Counting-v0", 10)
    envs.reset(range(10), range(10))
    for _ in range(1000):
        envs._measure(1e-3, 1e-3)  # they halve the time, which is no credit for later
    for _ in range(49):
        envs._measure(1e-3, 3e-3)  # and now lose 1 ms a step, less than 50 in all
    assert envs._alone_until == 0
    envs._lag, ends = 0.0, []
    for _ in range(5):
        for _ in range(6):
            envs._measure(1e-3, 12e-3)
        ends.append(envs._alone_until - 100)
    assert ends == [1, 4, 16, 30, 30]


def test_what_an_environment_forks_keeps_no_worker_from_ending(make):
    envs = make("Counting-v0", 2)
    envs.reset([0, 1], [1, 2])
    copy = os.dup(envs._crew._workers[0].link.connection.fileno())  # as a fork would have it
    process = envs._crew._workers[0]._process
    envs.close()
    assert process.exitcode == 0  # and was not killed after a while
    os.close(copy)


@pytest.mark.parametrize("workers", ["auto", 1])
def test_what_stands_in_the_main_module_no_worker_could_find(monkeypatch, workers):
    """As in a notebook, or a script: it is hidden from processes that are started."""
    main = sys.modules["__main__"]
    mine = type("Mine", (Counting,), {"__module__": "__main__"})
    monkeypatch.setattr(main, "Mine", mine, raising=False)
    monkeypatch.setitem(gym.registry, "Mine-v0", gym.envs.registration.EnvSpec("Mine-v0", mine))
    monkeypatch.setattr("ppocli.envs.make.usable_cores", lambda: 2)
    config, reason = EnvConfig(id="Mine-v0", workers=workers), "cannot be given __main__.Mine, which is not at the top"
    if workers == "auto":
        with pytest.warns(PpocliWarning, match=reason):
            assert type(evaluation_envs(config)) is GymnasiumVectorEnv
    else:
        with pytest.raises(PpocliError, match=f"env.workers: .*{reason}.*; env.workers=0 needs none"):
            evaluation_envs(config)
    assert sys.modules["__main__"] is main
