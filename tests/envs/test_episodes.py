"""Episodes: which are played one after the other, and how they are saved and played again."""

import math

import numpy as np
import pytest

from ppocli.config.sections import EnvConfig
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.errors import CheckpointError, NonFiniteError, ReplayError
from ppocli.seeds import training_seeds


def test_environments_without_a_next_seed_stop():
    seeds = {(0, 0): 10, (1, 0): 20, (1, 1): 21}
    episodes = Episodes(
        GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 2), lambda environment, number: seeds.get((environment, number))
    )
    finished = []
    while episodes.any_playing:
        episodes.step(np.array([0, 0]))
        finished += episodes.finished
        episodes.start_next()
    assert [(e.environment, e.seed, e.episode_length, e.episode_return, e.env_steps) for e in finished] == [
        (0, 10, 3, 6.0, 6),
        (1, 20, 3, 6.0, 6),
        (1, 21, 3, 6.0, 9),
    ]


def test_finished_holds_the_last_step_only_and_the_last_observation_stays_until_the_next_episode():
    episodes = Episodes(GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 1), lambda environment, number: number)
    for _ in range(3):
        assert not episodes.finished
        episodes.step(np.array([0]))
    assert len(episodes.finished) == 1
    assert episodes.obs.tolist() == [[3, 0]]
    episodes.start_next()
    assert episodes.obs.tolist() == [[0, 1]]
    episodes.step(np.array([0]))
    assert not episodes.finished


def staggered(state=None, longest_in_step=7):
    config = EnvConfig(id="Counting-v0", kwargs={"length": 100}, max_episode_steps=8)
    return Episodes(GymnasiumVectorEnv(config, 4), training_seeds(0), state, longest_in_step=longest_in_step)


def ends(episodes, steps):
    """Return in which steps (env,) was truncated, and the environments and lengths of what counts."""
    truncated, finished = [], []
    for number in range(1, steps + 1):
        truncated += [
            (number, index)
            for index in np.flatnonzero(episodes.step(np.zeros(episodes.envs.num_envs, int)).truncated).tolist()
        ]
        finished += [(number, episode.environment, episode.episode_length) for episode in episodes.finished]
        episodes.start_next()
    return truncated, finished


def test_environments_whose_episodes_have_a_limit_fall_out_of_step():
    """A limit of 8 for 4 environments: the first episodes end after 2, 4, 6 and 8 steps, of which only 8 counts."""
    truncated, finished = ends(staggered(), 16)
    assert truncated == [(2, 0), (4, 1), (6, 2), (8, 3), (10, 0), (12, 1), (14, 2), (16, 3)]
    assert finished == [(8, 3, 8), (10, 0, 8), (12, 1, 8), (14, 2, 8), (16, 3, 8)]


def test_environments_that_fall_out_of_step_do_so_when_resumed_as_well():
    before, never_stopped = staggered(), staggered()
    ends(before, 3), ends(never_stopped, 3)
    assert ends(staggered(before.state_dict()), 13) == ends(never_stopped, 13)


def test_where_all_have_begun_and_ended_at_once_they_fall_out_of_step():
    """Episodes of a length that nobody states: all have 8 steps, then 2, 4, 6 and 8, of which only 8 counts."""
    envs = GymnasiumVectorEnv(EnvConfig(id="Counting-v0", kwargs={"length": 8}), 4)
    finished = ends(Episodes(envs, training_seeds(0), longest_in_step=7), 24)[1]
    at_once = [(8, 0, 8), (8, 1, 8), (8, 2, 8), (8, 3, 8)]
    assert finished == [*at_once, (16, 3, 8), (18, 0, 8), (20, 1, 8), (22, 2, 8), (24, 3, 8)]
    finished = ends(Episodes(envs, training_seeds(0), longest_in_step=8), 24)[1]  # a rollout holds a whole one
    assert finished == [(step, index, 8) for step in (8, 16, 24) for index in range(4)]


def test_those_that_end_at_once_by_chance_are_not_truncated():
    episodes = Episodes(CartPoleVectorEnv(2), training_seeds(4), longest_in_step=0)
    rng, at_once = np.random.default_rng(4), 0
    for _ in range(1000):
        assert not episodes.step(rng.integers(2, size=2)).truncated.any()
        at_once += len(episodes.finished) == 2
        episodes.start_next()
    assert at_once == 3  # of different lengths


def test_one_environment_has_whole_episodes():
    envs = GymnasiumVectorEnv(EnvConfig(id="Counting-v0", kwargs={"length": 8}), 1)
    assert ends(Episodes(envs, training_seeds(0), longest_in_step=7), 24)[1] == [(8, 0, 8), (16, 0, 8), (24, 0, 8)]


def test_those_that_all_begin_anew_fall_out_of_step_again():
    before = staggered()
    ends(before, 11)
    envs = before.envs
    after = Episodes(envs, training_seeds(0), before.state_dict(), replay=False, longest_in_step=7)
    assert ends(after, 8)[0] == [(2, 0), (4, 1), (6, 2), (8, 3)]


def test_what_was_saved_before_there_was_such_truncation_goes_on_without_it():
    before = staggered(longest_in_step=math.inf)
    ends(before, 3)
    old = {name: values for name, values in before.state_dict().items() if name != "give_up_at"}
    assert ends(staggered(old), 5)[1] == [(5, index, 8) for index in range(4)]


# ----------------------------------------------------------------------------------------------------------------------
# What is saved of episodes, and played again


def played(num_envs=3, steps=17, envs=None):
    """Poles that were pushed by chance for some steps: episodes of several lengths, all under way."""
    episodes = Episodes(envs or CartPoleVectorEnv(num_envs), training_seeds(0))
    rng = np.random.default_rng(0)
    for _ in range(steps):
        episodes.step(rng.integers(2, size=num_envs))
        episodes.start_next()
    return episodes


def test_episodes_are_played_again_to_the_step_where_they_stood():
    before = played()
    state = before.state_dict()
    assert len(set(state["lengths"].tolist())) > 1
    after = Episodes(CartPoleVectorEnv(3), training_seeds(0), state)
    assert (after.env_steps, after.seeds) == (before.env_steps, before.seeds)
    assert np.array_equal(after.obs, before.obs)
    for name, values in after.state_dict().items():
        assert np.array_equal(values, state[name]), name
    for _ in range(60):  # through several ends
        one, other = before.step(np.zeros(3, int)), after.step(np.zeros(3, int))
        assert all(np.array_equal(*both) for both in zip(one[:4], other[:4], strict=True))
        assert before.finished == after.finished
        before.start_next(), after.start_next()


def test_what_is_saved_right_at_the_start_has_no_actions():
    state = played(steps=0).state_dict()
    assert (state["actions"].shape, state["lengths"].tolist(), state["numbers"].tolist()) == ((0,), [0] * 3, [1] * 3)
    assert np.array_equal(Episodes(CartPoleVectorEnv(3), training_seeds(0), state).obs, state["obs"])


def test_without_replay_every_environment_begins_its_next_episode():
    before = played()
    after = Episodes(CartPoleVectorEnv(3), training_seeds(0), before.state_dict(), replay=False)
    assert after.env_steps == before.env_steps
    numbers = before.state_dict()["numbers"].tolist()
    assert after.seeds == [training_seeds(0)(index, number) for index, number in enumerate(numbers)]
    assert after.state_dict()["lengths"].tolist() == [0] * 3


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("piece", ["obs", "returns"])
def test_an_episode_that_comes_out_otherwise_is_named(piece, index):
    before = played()
    state = before.state_dict()
    state[piece][index] += 1
    length, seed = state["lengths"][index], before.seeds[index]
    message = f"environment {index} does not replay: its episode with seed {seed} went another way .* {length} actions"
    with pytest.raises(ReplayError, match=message):
        Episodes(CartPoleVectorEnv(3), training_seeds(0), state)


def test_an_episode_that_ends_before_it_stood_where_it_did_is_named():
    envs = GymnasiumVectorEnv(EnvConfig(id="Counting-v0", kwargs={"length": 9}), 2)
    state = played(2, 5, envs).state_dict()
    shorter = GymnasiumVectorEnv(EnvConfig(id="Counting-v0", kwargs={"length": 5}), 2)
    with pytest.raises(ReplayError, match="environment 0 does not replay"):
        Episodes(shorter, training_seeds(0), state)


def test_an_environment_that_fails_while_it_is_played_again_is_a_replay_error():
    state = played(2, 2, GymnasiumVectorEnv(EnvConfig(id="Counting-v0", kwargs={"length": 9}), 2)).state_dict()
    broken = GymnasiumVectorEnv(EnvConfig(id="Broken-v0", kwargs={"how": "error"}), 2)
    with pytest.raises(
        ReplayError, match="does not take the same actions again: Broken-v0: ValueError: the motor is on fire"
    ):
        Episodes(broken, training_seeds(0), state)


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": np.array([-1, 2, 3])},
        {"lengths": np.array([1.0, 2.0, 3.0])},
        {"numbers": np.array([0, 1, 1])},
        {"numbers": np.ones(3)},
        {"env_steps": np.array([1])},
        {"env_steps": np.array(1.5)},
        {"obs": np.zeros((3, 5))},
        {"returns": np.zeros(4)},
        {"give_up_at": np.ones(4, int)},
        {"give_up_at": np.ones(3)},
        {"actions": np.zeros((1, 2), int)},
        {"more": np.zeros(1)},
    ],
    ids=str,
)
def test_the_state_of_other_episodes_is_refused(change):
    with pytest.raises(CheckpointError, match="not those of such environments"):
        Episodes(CartPoleVectorEnv(3), training_seeds(0), played().state_dict() | change)


@pytest.mark.parametrize("name", ["env_steps", "numbers", "lengths", "returns", "obs", "actions"])
def test_a_state_that_lacks_a_piece_is_refused(name):
    state = played().state_dict()
    del state[name]
    with pytest.raises(CheckpointError, match="not those of such environments"):
        Episodes(CartPoleVectorEnv(3), training_seeds(0), state)


def test_a_twin_stays_as_the_episodes_were():
    episodes = played()
    state, twin = episodes.state_dict(), episodes.snapshot()
    for _ in range(50):
        episodes.step(np.ones(3, int))
        episodes.start_next()
    for name, values in twin.state_dict().items():
        assert np.array_equal(values, state[name]), name


def test_actions_of_episodes_that_have_ended_are_forgotten():
    envs = GymnasiumVectorEnv(EnvConfig(id="Counting-v0"), 2)  # whose episodes have 3 steps
    episodes = played(2, 300, envs)
    assert len(episodes._actions) <= 6


@pytest.mark.parametrize(
    ("how", "what"), [("observation", "its observation"), ("reward", "its reward"), ("large reward", "its reward")]
)
def test_what_is_not_finite_is_named_with_its_place(how, what):
    envs = GymnasiumVectorEnv(EnvConfig(id="Broken-v0", kwargs={"how": how}), 2)
    episodes = Episodes(envs, lambda environment, number: 70 + environment)
    episodes.step(np.zeros(2, int))
    why = "beyond 3.4e" if how == "large reward" else "not a finite number"
    with pytest.raises(NonFiniteError, match=f"Broken-v0: {what} in step 2 of the episode with seed 70 is .*: {why}"):
        episodes.step(np.zeros(2, int))
