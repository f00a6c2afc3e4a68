"""What an agent remembers: against PyTorch's own GRU, by swapping what came before, and through the training loop."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import examples.tmaze  # noqa: F401 - registers TMaze-v0
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.losses import policy_loss, value_loss
from ppocli.algorithm.memory import Sequences
from ppocli.algorithm.rollout import Batch, collect, make_batch, minibatches
from ppocli.algorithm.updates.ppo import PPO
from ppocli.config.models import Config
from ppocli.config.sections import EnvConfig, MemoryConfig, NetworkConfig, PPOConfig, UpdateConfig
from ppocli.envs.api import Discrete, Pictures, Vector
from ppocli.envs.episodes import Episodes
from ppocli.envs.gymnasium import GymnasiumVectorEnv
from ppocli.envs.make import NUM_EVAL_ENVS
from ppocli.evaluation.play import evaluate, greedy
from tests.jobs import trained

STEPS, SEQUENCES, SIZE = 7, 3, 8
BEGINS = torch.zeros(STEPS, SEQUENCES, dtype=torch.bool)
BEGINS[3, 0] = BEGINS[1, 2] = BEGINS[5, 2] = True  # the second sequence is of one episode
VECTOR, MASKED = Vector(4), Vector(4, num_masked=2)
SEEN = Pictures(((1, 16, 16),), size=2)


def make(spec=VECTOR, num_choices=2, **network):
    config = NetworkConfig(hidden_sizes=(6,), memory=MemoryConfig(size=SIZE), **network)
    return Agent(spec, Discrete(num_choices), config, torch.Generator().manual_seed(0))


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def observations(spec, count):
    if isinstance(spec, Vector):
        obs = draws(count, spec.size + spec.num_masked)
        obs[:, spec.size :] = 1
        return obs
    obs = torch.randint(256, (count, *spec.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    obs[:, spec.numbers_at].view(torch.float32)[:] = draws(count, spec.size)
    return obs


def by_pytorch(agent, sequences):
    """What is remembered after each observation, by `torch.nn.GRU`, episode by episode."""
    cell, gru = agent.trunk[1], torch.nn.GRU(agent.trunk[1].input_size, SIZE)
    gru.weight_ih_l0, gru.weight_hh_l0 = cell.weight_ih, cell.weight_hh
    gru.bias_ih_l0, gru.bias_hh_l0 = cell.bias_ih, cell.bias_hh
    inputs = agent.trunk[0](sequences.obs)[:, : cell.input_size].view(STEPS, SEQUENCES, -1)
    columns = []
    for index in range(SEQUENCES):
        starts = [0, *(t for t in range(1, STEPS) if BEGINS[t, index]), STEPS]
        parts = []
        for start, stop in pairwise(starts):
            state = torch.zeros(1, SIZE) if start else sequences.states[index : index + 1]
            parts.append(gru(inputs[start:stop, index], state)[0])
        columns.append(torch.cat(parts))
    return torch.stack(columns, 1).flatten(0, 1)


def sequences_of(agent):
    obs = agent.seen(observations(agent.obs_spec, STEPS * SEQUENCES))
    return Sequences(obs, BEGINS.flatten(), draws(SEQUENCES, SIZE, seed=1))


@pytest.mark.parametrize("spec", [VECTOR, MASKED, SEEN])
@pytest.mark.parametrize("init", ["orthogonal", "uniform"])
def test_it_remembers_as_pytorchs_gru_does(spec, init):
    agent = make(spec, init=init)
    with torch.no_grad():
        sequences = sequences_of(agent)
        found = agent.trunk(sequences)
        torch.testing.assert_close(found[:, :SIZE], by_pytorch(agent, sequences), rtol=1e-5, atol=1e-6)
    assert found.shape == (STEPS * SEQUENCES, SIZE + spec.num_masked)


def test_one_by_one_is_the_same_as_all_at_once():
    agent = make(MASKED)
    with torch.no_grad():
        sequences = sequences_of(agent)
        features = agent.trunk(sequences)
        values = agent.critic(features).view(STEPS, SEQUENCES)
        modes = agent.distribution.mode(agent.actor(features)).view(STEPS, SEQUENCES)
        states = sequences.states
        for t, obs in enumerate(sequences.obs.view(STEPS, SEQUENCES, -1)):
            states = states.where(~BEGINS[t].unsqueeze(1), 0)
            torch.testing.assert_close(agent.value(obs, states), values[t])
            actions, after = agent.mode(obs, states)
            drawn, again = agent.sample(obs, torch.zeros(SEQUENCES, 2), states)
            assert actions.equal(modes[t])
            assert drawn.equal(modes[t])  # no noise, no other action
            assert after.equal(again)
            states = after
        torch.testing.assert_close(states, features[-SEQUENCES:, :SIZE])


def test_nothing_before_an_episode_is_remembered_and_all_of_it_is():
    agent = make()
    with torch.no_grad():
        sequences = sequences_of(agent)
        obs = sequences.obs.view(STEPS, SEQUENCES, -1).clone()
        obs[:3] = draws(*obs[:3].shape, seed=2)
        states = draws(SEQUENCES, SIZE, seed=3)
        before, after = (
            agent.trunk(one).view(STEPS, SEQUENCES, -1)
            for one in (sequences, Sequences(obs.flatten(0, 1), sequences.begins, states))
        )
        assert (before[:3] != after[:3]).any(-1).all()
        assert before[3:, 0].equal(after[3:, 0])  # an episode begins there
        assert (before[3:, 1] != after[3:, 1]).any(-1).all()
        assert before[5:, 2].equal(after[5:, 2])
        # what is remembered of nothing is what is remembered of zeros
        assert agent.value(sequences.obs).equal(agent.value(sequences.obs, torch.zeros(len(sequences.obs), SIZE)))


@pytest.mark.parametrize("spec", [VECTOR, MASKED, SEEN])
def test_ppos_gradient_is_autograds_through_the_whole_sequence(spec):
    agent, plain = make(spec), make(spec)
    with torch.no_grad():
        sequences = sequences_of(agent)
        features = agent.trunk(sequences)
        actions = torch.arange(STEPS * SEQUENCES) % 2
        log_probs = agent.actor(features).log_softmax(-1).gather(1, actions.unsqueeze(1)).squeeze(1)
    num = STEPS * SEQUENCES
    advantages, returns, old = draws(num, seed=4), draws(num, seed=5), log_probs - 0.1
    batch = Batch(
        sequences.obs, actions, old, torch.zeros(num), advantages, returns, sequences.begins, sequences.states
    )
    settings = UpdateConfig(
        **{"minibatch_size": num, "update_epochs": 1, "norm_adv": False, "learning_rate": 0.0, "max_grad_norm": None},
        **{"ent_coef": 0.1, "vf_coef": 0.3},
    )
    PPO(agent, settings, PPOConfig(clip_coef=0.2)).update(batch, 0.0, np.random.default_rng(0))

    features = by_pytorch(plain, sequences)
    if spec.num_masked:
        features = torch.cat([features, torch.ones(num, spec.num_masked)], 1)
    all_log_probs = plain.actor(features).log_softmax(-1)
    new = all_log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)
    entropy = -(all_log_probs.exp() * all_log_probs).sum(-1).mean()
    values = plain.critic(features).squeeze(-1)
    (policy_loss(new - old, advantages, 0.2) + 0.3 * value_loss(values, returns) - 0.1 * entropy).backward()
    for (name, one), other in zip(agent.named_parameters(), plain.parameters(), strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-4 * other.grad.abs().max(), name
        assert other.grad.any(), name


def test_minibatches_are_of_whole_sequences():
    """Of 4 sequences of 3 steps: 2 in each, all of their steps in order, with what was remembered before them."""
    number = torch.arange(12, dtype=torch.float32)
    states = torch.arange(4.0).unsqueeze(1).expand(4, SIZE)
    begins = number.view(3, 4) % 4 == 1  # in the second sequence everywhere
    batch = Batch(number.unsqueeze(1), number, number, number, number, number, begins.flatten(), states, number)
    orders = []
    for seed in range(5):
        parts = list(minibatches(batch, 6, np.random.default_rng(seed), norm_adv=False))
        assert len(parts) == 2
        for part in parts:
            first = part.obs.view(3, 2)[0]
            assert part.obs.view(3, 2).tolist() == [(first + 4 * t).tolist() for t in range(3)]
            assert part.states[:, 0].equal(first)
            assert part.begins.equal(part.obs.flatten() % 4 == 1)
            assert part.outputs is None
        orders.append(torch.cat([part.states[:, 0] for part in parts]).tolist())
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("env_id", ["Counting-v0", "Truncated-v0"])  # whose episodes end after 3 steps
def test_values_are_of_what_was_remembered_then(env_id):
    """With λ = 0, A = r + γ V(what came next, and what was remembered) − V, all looked up one by one."""
    agent = make(Vector(2), normalize_obs=False)
    episodes = Episodes(GymnasiumVectorEnv(EnvConfig(id=env_id), 2), lambda index, number: 10 * index + number)
    first = collect(episodes, agent, agent.draw_noise(np.random.default_rng(0), 4, 2), agent.no_states(2))
    rollout = collect(episodes, agent, agent.draw_noise(np.random.default_rng(1), 4, 2), first.next_states)
    batch = make_batch(rollout, agent, gamma=0.9, gae_lambda=0.0, reward_scale=1.0)
    assert first.states.any() == False  # noqa: E712 - of an array
    np.testing.assert_array_equal(rollout.states, first.next_states)
    assert rollout.states.any(axis=1).all()  # in the middle of an episode
    with torch.no_grad():
        states = torch.from_numpy(rollout.states)
        for t in range(4):
            obs, following = (torch.from_numpy(rows[t]) for rows in (rollout.obs, rollout.next_obs))
            values = agent.value(obs, states)
            _, states = agent.mode(obs, states)
            next_values = agent.value(following, states) * torch.from_numpy(~rollout.terminated[t])
            advantages = torch.from_numpy(rollout.rewards[t]) + 0.9 * next_values - values
            torch.testing.assert_close(batch.values.view(4, 2)[t], values)
            torch.testing.assert_close(batch.advantages.view(4, 2)[t], advantages)
            states[torch.from_numpy(rollout.ended[t])] = 0
    np.testing.assert_allclose(rollout.next_states, states, rtol=1e-5)
    assert rollout.ended.sum() == 2


REMEMBERING = {
    "env": {"id": "TMaze-v0", "kwargs": {"shortest": 3, "longest": 3}, "num_envs": 16},
    "network": {"hidden_sizes": [16], "memory": {"size": 16}, "normalize_obs": False},
    "rollout": {"horizon": 16, "normalize_rewards": False},
    "update": {"minibatch_size": 64, "learning_rate": 0.01, "update_epochs": 4},
    "train": {"env_steps": 256 * 60, "eval_interval": 256 * 60, "eval_episodes": 40},
}


def test_a_sign_that_is_gone_is_acted_upon(tmp_path):
    _, iterations = trained(Config.model_validate(REMEMBERING), tmp_path / "run")
    assert iterations[-1].verdict.eval_return == 1.0
    assert np.mean([episode.episode_return for one in iterations[-10:] for episode in one.episodes]) > 0.95


def test_without_a_memory_it_is_chance(tmp_path):
    config = Config.model_validate(REMEMBERING | {"network": {"hidden_sizes": [16]}})
    _, iterations = trained(config, tmp_path / "run")
    returns = [episode.episode_return for one in iterations[-20:] for episode in one.episodes]
    assert abs(np.mean(returns) - 0.5) < 0.1


@pytest.mark.parametrize("env_id", ["Counting-v0", "Truncated-v0"])  # whose episodes end after 3 steps
def test_evaluation_remembers_and_forgets_at_the_end_of_an_episode(env_id):
    """A policy that says what it was told to remember: how many steps of this episode there were."""
    envs = GymnasiumVectorEnv(EnvConfig(id=env_id), 2)
    told = []

    def counting(obs, states, generators):
        states = np.zeros((2, 1), np.float32) if states is None else states
        told.append((obs[:, 0].tolist(), states[:, 0].tolist()))
        return np.zeros(2, int), states + 1

    evaluate(envs, counting, [1, 2, 3])
    playing = [(steps, remembered) for steps, remembered in told]
    assert [steps[0] for steps, _ in playing] == [remembered[0] for _, remembered in playing] == [0, 1, 2, 0, 1, 2]


def test_greedy_play_needs_what_it_remembers(tmp_path):
    agent = make()
    obs = draws(4, 4).numpy()
    _, states = greedy(agent)(obs, None, [])
    _, again = greedy(agent)(obs, states, [])
    assert states.shape == again.shape == (4, SIZE)
    assert (states != again).any()
    plain = Agent(VECTOR, Discrete(2), NetworkConfig())
    assert greedy(plain)(obs, None, [])[1] is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"algorithm": "trpo"}, "network.memory: goes with algorithm: ppo and"),
        ({"network": {"memory": {}, "shared_cnn": False}}, "network.memory: goes with algorithm: ppo and"),
        ({"update": {"minibatch_size": 40}}, "40 is no multiple of rollout.horizon, 16, .*; 16 would fit"),
        ({"network": {"memory": {"size": 12}}}, "a multiple of 8 from 8 to 8,192"),
        ({"network": {"memory": {"size": 8192}}}, "network.memory.size: 201,326,592 weights; at most 50,000,000"),
        ({"network": {"memory": {"kind": "lstm"}}}, "gru"),
    ],
)
def test_configs_that_cannot_be(changed, said):
    with pytest.raises(ValueError, match=said):
        Config.model_validate(REMEMBERING | changed)


@pytest.mark.parametrize("size", [8, 24, 64, 72, 128])
def test_which_environment_plays_an_episode_changes_no_bit_of_what_is_remembered(size):
    config = NetworkConfig(hidden_sizes=(6,), memory=MemoryConfig(size=size))
    act = greedy(Agent(VECTOR, Discrete(3), config, torch.Generator().manual_seed(0)))
    obs, order = draws(2, NUM_EVAL_ENVS, 4).numpy(), np.random.default_rng(1).permutation(NUM_EVAL_ENVS)
    ends = []
    for rows in (slice(None), order):
        states = None
        for shown in obs:
            actions, states = act(shown[rows], states, [])
        ends.append((actions, states))
    np.testing.assert_array_equal(ends[1][0], ends[0][0][order])
    np.testing.assert_array_equal(ends[1][1], ends[0][1][order])
