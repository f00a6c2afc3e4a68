import numpy as np

from ppocli.config.models import EnvConfig
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv


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
