"""Which environments a config means."""

from contextlib import closing

import pytest

from ppocli import guests
from ppocli.config.load import load_config
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig
from ppocli.envs import make
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete
from ppocli.envs.cartpole import CartPoleVectorEnv
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import (
    NUM_EVAL_ENVS,
    action_spec_of,
    drawn_envs,
    evaluation_envs,
    make_environments,
)
from ppocli.envs.workers import WorkerVectorEnv
from ppocli.errors import UsageError
from ppocli.evaluation.play import evaluate, random
from ppocli.seeds import training_seeds


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"id": "CartPole-v1", "workers": 2}, CartPoleVectorEnv),
        ({"id": "Counting-v0", "workers": 0}, GymnasiumVectorEnv),
        ({"id": "Counting-v0", "workers": 1}, WorkerVectorEnv),
    ],
)
def test_agents_are_evaluated_in_as_many_environments_whatever_they_are(settings, kind):
    with closing(evaluation_envs(EnvConfig(num_envs=3, **settings))) as envs:
        assert type(envs) is kind
        assert envs.num_envs == NUM_EVAL_ENVS
    with closing(drawn_envs(EnvConfig(**settings), "rgb_array")) as envs:
        assert type(envs) is GymnasiumVectorEnv
        assert envs.num_envs == NUM_EVAL_ENVS


def config_with(**env):
    return Config.model_validate({"env": env, "rollout": {"horizon": 2}, "update": {"minibatch_size": 2}})


def test_training_has_as_many_as_the_config_says():
    environments = make_environments(config_with(id="CartPole-v1", num_envs=3))
    assert (environments.training.num_envs, environments.evaluation.num_envs) == (3, NUM_EVAL_ENVS)
    environments.close()


@pytest.mark.parametrize(("env_id", "warnings"), [("Counting-v0", 0), ("Chance-v0", 1)])
def test_an_episode_that_depends_on_more_than_its_seed_is_warned_of_before_training(env_id, warnings, recwarn):
    make_environments(config_with(id=env_id, workers=0)).close()
    assert [str(one.message)[:35] for one in recwarn] == ["Chance-v0: an episode depends on mo"] * warnings


def test_a_path_is_the_users_own_choice_on_the_command_line():
    config = EnvConfig(id="CartPole-v1", kwargs={"file": "a/b.xml"})
    with pytest.raises(UsageError, match=r"env.kwargs: file is 'a/b.xml', which may be a path: give it on the command"):
        evaluation_envs(config)
    given = load_config("cartpole", ["env.kwargs.file=a/b.xml", "env.kwargs.parts=[{a: c/d.xml}, null, 3]"]).env
    assert given.kwargs == {"file": "a/b.xml", "parts": [{"a": "c/d.xml"}, None, 3]}
    with pytest.raises(UsageError, match=r"CartPole-v1 does not take \{'file': 'a/b.xml'"):
        evaluation_envs(given)
    assert [known.name for known in guests.IMPORTED] == ["gymnasium"]  # which its run, and what is printed, then name
    with pytest.raises(UsageError, match="does not take"):
        evaluation_envs(config)


def test_episodes_are_limited_where_the_config_says_so_or_nobody_does(monkeypatch, recwarn):
    def lengths(**env):
        with closing(evaluation_envs(EnvConfig(workers=0, **env))) as envs:
            return [one.episode_length for one in evaluate(envs, random(envs.action_spec, envs.obs_spec), range(1, 4))]

    assert lengths(id="CartPole-v1", max_episode_steps=3) == [3, 3, 3]
    assert lengths(id="Counting-v0", kwargs={"length": 9}, max_episode_steps=4) == [4, 4, 4]
    assert not recwarn
    monkeypatch.setattr("ppocli.envs.gymnasium.ASSUMED_LIMIT", 5)
    assert lengths(id="Counting-v0", kwargs={"length": 4}) == [4, 4, 4]
    assert not recwarn
    assert lengths(id="Counting-v0", kwargs={"length": 9}) == [5, 5, 5]
    assert "truncated after 5 env steps, as it has no limit; env.max_episode_steps sets one" in str(recwarn[0].message)


def test_both_are_closed(monkeypatch):
    closed = []
    monkeypatch.setattr(GymnasiumVectorEnv, "close", lambda envs: closed.append(envs.num_envs))
    make_environments(config_with(id="Counting-v0", num_envs=5, workers=0)).close()
    assert closed == [5, NUM_EVAL_ENVS]


def test_envpool_is_seeded_by_the_run_and_by_how_far_it_is(monkeypatch):
    seeds = []

    def recorded(config, num_envs, seed):
        seeds.append(seed)
        return GymnasiumVectorEnv(config, num_envs)

    monkeypatch.setattr(make, "EnvPoolVectorEnv", recorded)
    config = config_with(id="Counting-v0", num_envs=2, workers=0, backend="envpool")
    for iterations in ((), (0,), (5,)):
        make_environments(config, *iterations).close()
    assert seeds == [training_seeds(0)(0, number) for number in (0, 0, 5)]


def test_there_is_never_a_worker_without_an_environment(monkeypatch):
    made = []

    def recorded(config, num_envs, num_workers, crew):
        made.append((num_envs, num_workers))
        return GymnasiumVectorEnv(config, num_envs)

    monkeypatch.setattr(make, "WorkerVectorEnv", recorded)
    for num_envs in (1, 2, 60):
        make_environments(config_with(id="Counting-v0", num_envs=num_envs, workers=50))
    to_evaluate_in = (NUM_EVAL_ENVS, NUM_EVAL_ENVS - 1)
    assert made == [to_evaluate_in, (2, 1), to_evaluate_in, (60, 50), to_evaluate_in]


@pytest.mark.parametrize(
    ("env_id", "kwargs", "spec"),
    [
        ("CartPole-v1", {}, Discrete(2)),
        ("Pendulum-v1", {}, Continuous((True,))),
        ("Echo-v0", {"kind": "multi-binary"}, MultiDiscrete((2, 2, 2, 2))),
    ],
)
def test_the_actions_of_an_environment(env_id, kwargs, spec):
    assert action_spec_of(EnvConfig(id=env_id, kwargs=kwargs)) == spec


def test_what_was_made_is_closed_when_the_rest_cannot_be_made(monkeypatch):
    closed = []

    def enough_for_five(config, num_envs):
        if num_envs > 5:
            raise MemoryError
        return GymnasiumVectorEnv(config, num_envs)

    monkeypatch.setattr(GymnasiumVectorEnv, "close", lambda envs: closed.append(envs.num_envs))
    monkeypatch.setattr(make, "GymnasiumVectorEnv", enough_for_five)
    with pytest.raises(MemoryError):
        make_environments(config_with(id="Counting-v0", num_envs=5, workers=0))
    assert closed == [5]
