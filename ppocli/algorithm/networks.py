"""What an actor, or a critic, is made of: from observations to numbers."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Vector

Backward = Callable[[Tensor], Tensor | None]
"""Given the gradient of a loss with respect to a network's outputs, adds that of its weights to their `grad`: Jᵀ u.

Returns the gradient with respect to what the network took, where there is something to learn before it.
"""
Forward = Callable[[Sequence[Tensor]], Tensor]
"""Given a direction, a tensor for each of a network's weights, returns how its outputs (B, ...) move along it: J v."""


class Activation(NamedTuple):
    """What stands between two layers, given = f(taken); f overwrites what it takes where `backward` can do without."""

    layer: type[nn.Module]
    f: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]  # gradient by what f gave, taken, given → gradient by taken


_ops = torch.ops.aten
ACTIVATIONS = {
    "tanh": Activation(nn.Tanh, torch.tanh_, lambda gradient, taken, given: _ops.tanh_backward(gradient, given)),
    "relu": Activation(nn.ReLU, torch.relu_, lambda gradient, _, given: _ops.threshold_backward(gradient, given, 0)),
    "elu": Activation(nn.ELU, F.elu_, lambda gradient, taken, given: _ops.elu_backward(gradient, 1, 1, 1, True, given)),
    "gelu": Activation(nn.GELU, F.gelu, lambda gradient, taken, given: _ops.gelu_backward(gradient, taken)),
    "silu": Activation(nn.SiLU, F.silu, lambda gradient, taken, given: _ops.silu_backward(gradient, taken)),
}


class Network(nn.Sequential):
    """Layers one after the other, of any kind, from observations (B, ...) to outputs (B, num_outputs)."""

    def with_backward(self, obs: Any) -> tuple[Tensor, Backward]:
        """Return the outputs at obs, as it takes them, and what adds the gradient of the weights."""
        outputs, _, backward = self.linearized(obs)
        return outputs, backward

    def linearized(self, obs: Any) -> tuple[Tensor, Forward, Backward]:
        """Return the outputs at obs, and products with their Jacobian J by the weights, from both sides: by autograd.

        Jᵀ u is linear in u, and what its own gradient hands back for v is J v.
        """
        weights = list(self.parameters())
        with torch.enable_grad():
            outputs: Tensor = self(obs)

        def forward(direction: Sequence[Tensor]) -> Tensor:
            with torch.enable_grad():
                anywhere = torch.zeros_like(outputs, requires_grad=True)
                pulled_back = torch.autograd.grad(outputs, weights, anywhere, create_graph=True)
                return torch.autograd.grad(pulled_back, anywhere, direction)[0]

        return outputs.detach(), forward, partial(outputs.backward, retain_graph=True)


class Same(Network):
    """No layer at all: what comes goes on."""

    def with_backward(self, obs: Any) -> tuple[Tensor, Backward]:
        """Return what was given, and nothing to learn."""
        return obs, lambda _: None


class MLP(Network):
    """Linear layers with an activation between them, the gradient written out: autograd takes longer to find its way.

    A layer y = x Wᵀ + b adds, where δ is the gradient of the loss by y, δᵀ x to the gradient of W and Σ δ to that of b,
    and hands δ W down to the activation that x comes from. The other way, where the weights move by (V, c) and x
    thereby by ẋ, y moves by ẋ Wᵀ + x Vᵀ + c.
    """

    def __init__(self, layers: Sequence[nn.Linear], activation: Activation, *, is_head: bool = False) -> None:
        """With `is_head` something learns before it, which its backward passes the gradient on to."""
        super().__init__(*layers[:1], *(module for layer in layers[1:] for module in (activation.layer(), layer)))
        self._activation, self._is_head = activation, is_head
        # Each layer's own, whatever is loaded into it later: to ask a module by name takes as long as a product.
        self._weights = cast("list[dict[str, Tensor]]", [layer._parameters for layer in layers])

    def forward(self, obs: Tensor) -> Tensor:
        """Do what the modules would do one by one, without calling them."""
        for weights in self._weights[:-1]:
            obs = self._activation.f(F.linear(obs, **weights))
        return F.linear(obs, **self._weights[-1])

    def linearized(self, obs: Tensor) -> tuple[Tensor, Forward, Backward]:
        """Do what `Network.linearized` does, for obs (B, inputs)."""
        inputs, taken = [obs], []  # by each layer, and by each activation
        ones = obs.new_ones(len(obs))
        for weights in self._weights[:-1]:
            taken.append(F.linear(inputs[-1], **weights))
            inputs.append(self._activation.f(taken[-1]))

        def forward(direction: Sequence[Tensor]) -> Tensor:
            moved = F.linear(inputs[0], *direction[:2])
            for depth in range(1, len(inputs)):
                moved = self._activation.backward(moved, taken[depth - 1], inputs[depth])
                moved = F.linear(moved, self._weights[depth]["weight"])
                moved += F.linear(inputs[depth], *direction[2 * depth : 2 * depth + 2])
            return moved

        def backward(gradient: Tensor) -> Tensor | None:
            for depth in range(len(inputs) - 1, -1, -1):
                (weight, bias), transposed = self._weights[depth].values(), gradient.t()
                gradient_of(weight).addmm_(transposed, inputs[depth])
                gradient_of(bias).addmv_(transposed, ones)
                if depth:
                    gradient = self._activation.backward(gradient.mm(weight), taken[depth - 1], inputs[depth])
            return gradient.mm(weight) if self._is_head else None

        return F.linear(inputs[-1], **self._weights[-1]), forward, backward


FORBIDDEN = -1e8
"""The logit of what is not allowed: its probability is 0 to the last bit, and no product with it is NaN."""


class Masked(Network):
    """Another network, which does not see the mask at the end of an observation, `num_masked` numbers.

    With `forbids` its outputs are logits, a number of the mask for each, and what it says is not allowed is FORBIDDEN:
    a constant, so that nothing of any gradient comes of it. arXiv:2006.14171.
    """

    def __init__(self, network: Network, num_masked: int, *, forbids: bool) -> None:
        super().__init__(*network)  # so that its weights are called as they are without a mask
        self._network = (network,)  # in a tuple, or it would be a module of this one, too
        self._num_masked, self._forbids = num_masked, forbids

    def forward(self, obs: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs) at obs (B, size + num_masked)."""
        return self._masked(self._network[0](obs[..., : -self._num_masked]), obs)

    def linearized(self, obs: Tensor) -> tuple[Tensor, Forward, Backward]:
        """Do what `Network.linearized` does; distributions ask for no derivative of what has a probability of 0."""
        outputs, forward, backward = self._network[0].linearized(obs[..., : -self._num_masked])

        def backward_to_mask(gradient: Tensor) -> Tensor | None:
            by_obs = backward(gradient)
            return None if by_obs is None else F.pad(by_obs, (0, self._num_masked))

        return self._masked(outputs, obs), forward, backward_to_mask

    def _masked(self, outputs: Tensor, obs: Tensor) -> Tensor:
        return outputs.masked_fill(obs[..., -self._num_masked :] == 0, FORBIDDEN) if self._forbids else outputs


def gradient_of(parameter: Tensor) -> Tensor:
    """Return what gradients of a parameter are added to."""
    assert parameter.grad is not None, "an optimizer makes gradients to add to"
    return parameter.grad


def make_actor(
    spec: Vector, num_outputs: int, config: NetworkConfig, generator: torch.Generator | None, *, is_head: bool = False
) -> Network:
    """Return a network from vectors (B, *spec.shape) to (B, num_outputs), what an action's distribution takes."""
    sizes = spec.size, *config.hidden_sizes, num_outputs
    network = _make_mlp(sizes, 0.01, config, generator, is_head=is_head)
    return Masked(network, spec.num_masked, forbids=True) if spec.num_masked else network


def make_critic(
    spec: Vector, config: NetworkConfig, generator: torch.Generator | None, *, is_head: bool = False
) -> Network:
    """Return a network from vectors (B, *spec.shape) to values (B, 1)."""
    own = config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
    network = _make_mlp((spec.size, *own, 1), 1.0, config, generator, is_head=is_head)
    return Masked(network, spec.num_masked, forbids=False) if spec.num_masked else network


def _make_mlp(
    sizes: Sequence[int],
    head_gain: float,
    config: NetworkConfig,
    generator: torch.Generator | None,
    *,
    is_head: bool,
) -> MLP:
    """Return layers of so many units, from inputs to outputs: with `is_head` behind something that learns, too.

    With `init: orthogonal` weights are orthogonal with gain √2, the last layer's with `head_gain`, and biases are zero;
    with `uniform` all are drawn from ±1/√inputs, as PyTorch does by itself. All randomness comes from `generator`.
    """
    pairs = [*itertools.pairwise(sizes)]
    with torch.random.fork_rng(devices=[]):  # PyTorch draws first numbers from the generator of the whole program
        layers = [nn.Linear(*pair, dtype=torch.float32) for pair in pairs]
    gains = (*(sqrt(2) for _ in pairs[1:]), head_gain)
    for layer, gain in zip(layers, gains, strict=True):
        initialize(layer, gain, config.init, generator)
    return MLP(layers, ACTIVATIONS[config.activation], is_head=is_head)


def initialize(layer: nn.Linear | nn.Conv2d, gain: float, init: str, generator: torch.Generator | None) -> None:
    """Draw a layer's weights from `generator`: orthogonal with a gain, or as PyTorch does by itself."""
    if init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    else:
        inputs = layer.weight[0].numel()
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -1 / sqrt(inputs), 1 / sqrt(inputs), generator=generator)
