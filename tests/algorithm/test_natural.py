"""Fisher products, the natural step and TRPO's search, against the matrix and direct computation."""

import copy

import numpy as np
import pytest
import torch
from torch.func import functional_call

from ppocli.algorithm import losses
from ppocli.algorithm.agent import Agent
from ppocli.algorithm.distributions import Categorical, MultiCategorical
from ppocli.algorithm.networks import ACTIVATIONS, Network
from ppocli.algorithm.rollout import Batch
from ppocli.algorithm.updates.natural import conjugate_gradients, fisher_product, natural_step
from ppocli.algorithm.updates.npg import NPG
from ppocli.algorithm.updates.shared import moved, policy_at, policy_gradient
from ppocli.algorithm.updates.trpo import TRPO
from ppocli.algorithm.updates.vpg import VPG
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import NetworkConfig, NPGConfig, TRPOConfig, UpdateConfig, VPGConfig
from ppocli.envs.api import Continuous, Discrete, MultiDiscrete, Vector

B = 32
ACTIONS = {"one choice": Discrete(3), "choices": MultiDiscrete((2, 3)), "numbers": Continuous((True, False))}
CRITIC = UpdateConfig(minibatch_size=16, update_epochs=1, learning_rate=1e-3)


def draws(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_agent(spec, hidden_sizes=(4,), activation="tanh"):
    config = NetworkConfig(
        hidden_sizes=hidden_sizes, activation=activation, init="uniform", log_std_init=-0.3, normalize_obs=False
    )
    return Agent(Vector(3), spec, config, torch.Generator().manual_seed(0)).double()


@torch.no_grad()
def make_batch(agent, obs=None, size=B):
    obs = draws(size, 3) if obs is None else obs
    actions, _ = agent.sample(obs, draws(size, agent.distribution.num_outputs, seed=1))
    log_probs, _ = agent.log_prob_and_entropy(obs, actions)
    values, advantages = agent.value(obs), draws(size, seed=2)
    return Batch(obs, actions, log_probs, values, advantages, values + advantages)


def as_torch_has_it(agent, outputs, log_std=None):
    match agent.distribution:
        case MultiCategorical():
            return [torch.distributions.Categorical(logits=part) for part in torch.split(outputs, [2, 3], -1)]
        case Categorical():
            return [torch.distributions.Categorical(logits=outputs)]
        case gaussian:
            std = (gaussian.log_std if log_std is None else log_std).exp()
            return [torch.distributions.Independent(torch.distributions.Normal(outputs, std), 1)]


def kl_by_torch(old, new):
    pairs = zip(old, new, strict=True)
    return sum(torch.distributions.kl_divergence(one, other) for one, other in pairs)


def fisher_matrix(agent, obs):
    """The second derivative of the mean KL, by autograd twice, at the weights as they are."""
    names = [name for name, _ in agent.actor.named_parameters()]
    shapes = [parameter.shape for parameter in agent.policy.parameters()]
    with torch.no_grad():
        old = as_torch_has_it(agent, agent.actor(obs))
    modules = Network(*agent.actor)  # whose layers are called one by one

    def mean_kl(vector):
        parts = [
            part.view(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes, strict=True)
        ]
        outputs = functional_call(modules, dict(zip(names, parts[: len(names)], strict=True)), (obs,))
        return kl_by_torch(old, as_torch_has_it(agent, outputs, *parts[len(names) :])).mean()

    weights = torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach()
    return torch.autograd.functional.hessian(mean_kl, weights)


@pytest.mark.parametrize("spec", ACTIONS.values(), ids=ACTIONS)
def test_a_kl_is_that_of_torch(spec):
    one, other = make_agent(spec), make_agent(spec)
    with torch.no_grad():
        for parameter in other.policy.parameters():
            parameter += 0.3
    obs = draws(B, 3)
    with torch.no_grad():
        found = one.distribution.kl(policy_at(one, obs), policy_at(other, obs))
        expected = kl_by_torch(*(as_torch_has_it(agent, agent.actor(obs)) for agent in (one, other)))
    assert found.min() > 0
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("spec", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("hidden_sizes", [(), (4,), (4, 3)])
def test_a_fisher_product_is_that_of_the_matrix(spec, hidden_sizes):
    agent, obs = make_agent(spec, hidden_sizes), draws(B, 3)
    expected = fisher_matrix(agent, obs)
    policy = Weights(agent.policy)
    with torch.no_grad():
        product = fisher_product(agent, policy, obs)
        found = torch.stack([product(unit) for unit in torch.eye(len(policy.values), dtype=torch.float64)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_both_products_with_the_jacobian_are_those_of_autograd(activation):
    """Written out, and by autograd, as any other network has them."""
    agent, obs = make_agent(Discrete(3), (4, 3), activation), draws(B, 3)
    by_modules, by_outputs = Network(*agent.actor), draws(B, 3, seed=1)
    for parameter in agent.actor.parameters():
        parameter.grad = torch.zeros_like(parameter)
    direction = [draws(*parameter.shape, seed=5 + number) for number, parameter in enumerate(agent.actor.parameters())]
    names, weights = zip(*agent.actor.named_parameters(), strict=True)

    def outputs_of(*weights):
        return functional_call(by_modules, dict(zip(names, weights, strict=True)), (obs,))

    outputs, jacobians = outputs_of(*weights).detach(), torch.autograd.functional.jacobian(outputs_of, weights)
    parts = [(jacobian * part).flatten(2).sum(2) for jacobian, part in zip(jacobians, direction, strict=True)]
    expected = torch.stack(parts).sum(0)
    with torch.no_grad():
        for network in (agent.actor, by_modules):
            network.zero_grad(set_to_none=False)
            found, forward, backward = network.linearized(obs)
            torch.testing.assert_close(found, outputs)
            for times in (1, 2):  # as often as one likes
                torch.testing.assert_close(forward(direction), expected, rtol=1e-9, atol=1e-12)
                backward(by_outputs)
                for weight, jacobian in zip(network.parameters(), jacobians, strict=True):
                    pulled_back = torch.einsum("bo,bo...->...", by_outputs, jacobian)
                    torch.testing.assert_close(weight.grad, times * pulled_back, rtol=1e-9, atol=1e-12)


def test_conjugate_gradients_solve_linear_equations():
    rng = np.random.default_rng(0)
    root, target = rng.standard_normal((8, 8)), rng.standard_normal(8)
    matrix = root @ root.T + np.eye(8)
    product = torch.from_numpy(matrix).mv
    found = conjugate_gradients(product, torch.from_numpy(target), iterations=8, tolerance=0.0)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-8)
    # Three different eigenvalues take three iterations, and none is wasted after that.
    basis, _ = np.linalg.qr(root)
    matrix = basis @ np.diag([1.0] * 3 + [5.0] * 3 + [9.0] * 2) @ basis.T
    asked = []
    product = torch.from_numpy(matrix).mv
    found = conjugate_gradients(lambda v: (asked.append(1), product(v))[1], torch.from_numpy(target), iterations=100)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-5)
    assert len(asked) == 3


def test_conjugate_gradients_know_no_scale_and_end_where_a_matrix_is_singular():
    matrix, target = torch.diag(torch.tensor([1.0, 4.0, 0.0])), torch.tensor([1.0, 2.0, 0.0])
    for scale in (1.0, 1e-12):
        found = conjugate_gradients(matrix.mv, scale * target, iterations=10)
        torch.testing.assert_close(found, scale * torch.tensor([1.0, 0.5, 0.0]), rtol=1e-5, atol=0.0)
    # along what the matrix knows nothing of there is no end, and what was found before stays
    found = conjugate_gradients(matrix.mv, torch.tensor([0.0, 0.0, 1.0]), iterations=10)
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_without_a_gradient_there_is_no_step():
    agent = make_agent(Discrete(3))
    policy = Weights(agent.policy)
    with torch.no_grad():
        assert not natural_step(agent, policy, draws(B, 3), NPGConfig()).any()


@pytest.mark.parametrize("spec", ACTIONS.values(), ids=ACTIONS)
def test_a_natural_step_moves_the_policy_by_target_kl(spec):
    agent, settings = make_agent(spec, ()), NPGConfig(target_kl=1e-6, cg_iterations=100, cg_damping=0.0)
    batch, policy = make_batch(agent), Weights(agent.policy)
    matrix = fisher_matrix(agent, batch.obs)
    with torch.no_grad():
        before = policy_at(agent, batch.obs)
        policy_gradient(agent, policy, batch, 0.0)
        gradient = policy.gradient.clone()
        step = natural_step(agent, policy, batch.obs, settings)
        assert float(0.5 * step @ matrix @ step) == pytest.approx(1e-6, rel=1e-4)
        policy.values += step
        assert float(moved(agent, batch.obs, before)) == pytest.approx(1e-6, rel=0.01)  # so small that it is quadratic
    # There is no other so far, by KL, that the loss falls further along.
    rival = -torch.linalg.pinv(matrix, rtol=1e-9, hermitian=True) @ gradient
    rival *= (2e-6 / (rival @ matrix @ rival)).sqrt()
    assert float(gradient @ step) == pytest.approx(float(gradient @ rival), rel=1e-3)


def test_a_natural_step_does_not_depend_on_how_weights_are_written_and_a_plain_one_does():
    """Two linear policies are one function, of x and of x Mᵀ: after NPG's update they still are, not after VPG's."""
    matrix = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.5, 0.0], [-1.0, 0.0, 2.0]], dtype=torch.float64)
    apart = {}
    for name in ("npg", "vpg"):
        agents, obs = [make_agent(Discrete(3), ()) for _ in range(2)], draws(B, 3)
        with torch.no_grad():
            agents[1].actor[0].weight.copy_(agents[0].actor[0].weight @ torch.linalg.inv(matrix))
        seen = [obs, obs @ matrix.T]
        batch = make_batch(agents[0], obs)
        for agent, own in zip(agents, seen, strict=True):
            exact = NPGConfig(target_kl=0.05, cg_iterations=50, cg_damping=0.0)
            update = NPG(agent, CRITIC, exact) if name == "npg" else VPG(agent, CRITIC, VPGConfig())
            update.update(
                Batch(own, *(tensor for part, tensor in vars(batch).items() if part != "obs")),
                0.0,
                np.random.default_rng(0),
            )
        outputs = [agent.actor(own).log_softmax(-1) for agent, own in zip(agents, seen, strict=True)]
        was = make_agent(Discrete(3), ()).actor(obs).log_softmax(-1)
        apart[name] = float((outputs[0] - outputs[1]).detach().norm() / (outputs[0] - was).detach().norm())
    assert apart["npg"] < 1e-4
    assert apart["vpg"] > 0.1


@pytest.mark.parametrize("spec", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize("target_kl", [0.01, 0.5])
def test_trpo_accepts_a_step_that_is_in_the_region_and_better(spec, target_kl):
    agent = make_agent(spec)
    batch, old = make_batch(agent), copy.deepcopy(agent)
    trpo = TRPO(agent, CRITIC.model_copy(update={"norm_adv": False}), TRPOConfig(target_kl=target_kl, cg_damping=0.01))
    weights = trpo.policy.values.clone()
    metrics = trpo.update(batch, 0.0, np.random.default_rng(0))
    with torch.no_grad():
        kl = kl_by_torch(*(as_torch_has_it(one, one.actor(batch.obs)) for one in (old, agent))).mean()
        log_probs, _ = agent.log_prob_and_entropy(batch.obs, batch.actions)
    assert metrics.kl == pytest.approx(float(kl))
    assert 0.2 * target_kl < metrics.kl <= target_kl
    gain = float(((log_probs - batch.log_probs).exp() * batch.advantages).mean() - batch.advantages.mean())
    assert gain > 0
    assert metrics.policy_loss == pytest.approx(-gain - float(batch.advantages.mean()))
    assert metrics.step_length == pytest.approx(float((trpo.policy.values - weights).norm()))
    assert 1 <= metrics.line_search_steps <= 10
    assert (metrics.approx_kl, metrics.clip_fraction) == (None, None)


def test_trpo_stays_where_it_is_when_no_step_helps(monkeypatch):
    agent = make_agent(Discrete(3))
    trpo = TRPO(agent, CRITIC, TRPOConfig(backtrack_steps=4))
    before = trpo.policy.values.clone()
    # uphill instead of downhill: whatever is tried makes the surrogate smaller
    uphill = lambda *given: -natural_step(*given)  # noqa: E731
    monkeypatch.setattr("ppocli.algorithm.updates.trpo.natural_step", uphill)
    metrics = trpo.update(make_batch(agent), 0.0, np.random.default_rng(0))
    assert (metrics.kl, metrics.step_length, metrics.line_search_steps) == (0.0, 0.0, 4)
    assert torch.equal(trpo.policy.values, before)


def test_trpo_takes_a_step_back_until_it_is_in_the_region(monkeypatch):
    agent = make_agent(Discrete(3), ())
    trpo = TRPO(agent, CRITIC, TRPOConfig(backtrack_ratio=0.5, cg_damping=0.0))
    lengths = []

    def too_long(*given):
        step = 3 * natural_step(*given)
        lengths.append(float(step.norm()))
        return step

    monkeypatch.setattr("ppocli.algorithm.updates.trpo.natural_step", too_long)
    metrics = trpo.update(make_batch(agent), 0.0, np.random.default_rng(0))
    assert metrics.line_search_steps == 3  # 3, 1.5, 0.75 of the step that KL would allow
    assert metrics.step_length == pytest.approx(lengths[0] / 4)


@pytest.mark.parametrize("kind", [NPG, TRPO, VPG])
def test_the_critic_learns_and_the_policy_is_not_moved_by_it(kind):
    agent = make_agent(Continuous((True,)))
    own = {NPG: NPGConfig(), TRPO: TRPOConfig(), VPG: VPGConfig()}[kind]
    update = kind(agent, CRITIC.model_copy(update={"update_epochs": 200, "learning_rate": 1e-2}), own)
    batch = make_batch(agent)
    still = Batch(**{**vars(batch), "advantages": torch.zeros(B, dtype=torch.float64)})  # nothing to act better for
    error = float(losses.value_loss(batch.values, batch.returns))
    policy = torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach().clone()
    metrics = update.update(still, 0.0, np.random.default_rng(0))
    with torch.no_grad():
        assert float(losses.value_loss(agent.value(batch.obs), batch.returns)) < 0.7 * error
    assert torch.equal(torch.nn.utils.parameters_to_vector(agent.policy.parameters()), policy)
    assert metrics.value_loss < error
    assert metrics.explained_variance == pytest.approx(losses.explained_variance(batch.values, batch.returns))
