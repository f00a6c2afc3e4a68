"""What an agent remembers: a recurrent layer, and the sequences that it learns from."""

from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppocli.algorithm.networks import Backward, Network, Same, gradient_of
from ppocli.config.sections import NetworkConfig
from ppocli.envs.api import Vector

_ops = torch.ops.aten


@dataclass(frozen=True)
class Sequences:
    """S sequences of T observations each, as networks with a memory take them: B = T × S, as a rollout has them."""

    obs: Tensor  # (B, ...): the first of each sequence, then the second of each, and so on
    begins: Tensor  # (B,): whether an episode begins with it, where all that was before is forgotten
    states: Tensor  # (S, size): what is remembered before the first ones


class Memory(Network):
    """A gated recurrent unit, arXiv:1406.1078, behind what sees, with the gradient through time written out.

    From `Sequences` to what is remembered after each observation, (B, size + num_masked): a mask goes on, as the end of
    that. With x what is seen, and h the state before, which is 0 where an episode begins, the state after is

        r, z = σ(x Wᵀ + h Uᵀ + biases)          n = tanh(x Wₙᵀ + bₙ + r ∘ (h Uₙᵀ + cₙ))          h' = (1 − z) n + z h

    What depends on x alone is one product for all steps, and so is the gradient of every weight.
    """

    def __init__(self, sees: Network, cell: nn.GRUCell, num_masked: int) -> None:
        super().__init__(sees, cell)
        self._sees, self._num_masked = (sees,), num_masked
        self._cell = cast("dict[str, Tensor]", cell._parameters)  # whatever is loaded into it later

    def forward(self, seen: Sequences) -> Tensor:
        """Return what is remembered, (B, size + num_masked)."""
        return self._remembered(seen, self._sees[0](seen.obs))[0]

    def with_backward(self, seen: Sequences) -> tuple[Tensor, Backward]:
        """Do what `Network.with_backward` does, through all steps back to where an episode, or a sequence, begins."""
        inputs, to_what_sees = self._sees[0].with_backward(seen.obs)
        remembered, steps = self._remembered(seen, inputs)
        size = seen.states.shape[1]
        w, u, b, c = self._cell.values()

        def backward(gradient: Tensor) -> None:
            by_after = gradient[:, :size].reshape(-1, *seen.states.shape)
            by_x, by_h = [], []  # the gates' gradients, as far as they come from x, and from h
            carried = torch.zeros_like(seen.states)
            for by_state, (keeps, before, gates, from_h, new) in zip(reversed(by_after), reversed(steps), strict=True):
                by_state = by_state + carried
                reset, update = gates.chunk(2, 1)
                by_new = _ops.tanh_backward(by_state * (1 - update), new)
                by_gates = torch.cat([by_new * from_h, by_state * (before - new)], 1)
                by_gates = _ops.sigmoid_backward(by_gates, gates)
                by_x.append(torch.cat([by_gates, by_new], 1))
                by_h.append(torch.cat([by_gates, by_new * reset], 1))
                carried = (by_state * update).addmm_(by_h[-1], u).mul_(keeps)
            all_by_x, all_by_h = torch.cat(by_x[::-1]), torch.cat(by_h[::-1])
            x, h = inputs[:, : w.shape[1]], torch.cat([step[1] for step in steps])
            gradient_of(w).addmm_(all_by_x.t(), x)
            gradient_of(u).addmm_(all_by_h.t(), h)
            gradient_of(b).add_(all_by_x.sum(0))
            gradient_of(c).add_(all_by_h.sum(0))
            if not isinstance(self._sees[0], Same):
                to_what_sees(F.pad(all_by_x.mm(w), (0, self._num_masked)))

        return remembered, backward

    def _remembered(self, seen: Sequences, inputs: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Return what is remembered after each of `inputs` (B, ...), and what each step took and gave."""
        w, u, b, c = self._cell.values()
        state, size = seen.states, seen.states.shape[1]
        from_x = F.linear(inputs[:, : w.shape[1]], w, b).view(-1, len(state), 3 * size)
        keeps = (~seen.begins).to(state.dtype).view(-1, len(state), 1)
        steps: list[tuple[Tensor, ...]] = []
        states = []
        for by_x, kept in zip(from_x, keeps, strict=True):
            before = state * kept
            by_h = F.linear(before, u, c)
            gates = (by_x[:, : 2 * size] + by_h[:, : 2 * size]).sigmoid_()
            reset, update = gates.chunk(2, 1)
            new = torch.addcmul(by_x[:, 2 * size :], reset, by_h[:, 2 * size :]).tanh_()
            state = torch.lerp(new, before, update)
            steps.append((kept, before, gates, by_h[:, 2 * size :], new))
            states.append(state)
        remembered = torch.cat(states)
        return (torch.cat([remembered, inputs[:, w.shape[1] :]], 1) if self._num_masked else remembered), steps


def make_memory(
    sees: Network, spec: Vector, config: NetworkConfig, generator: torch.Generator | None
) -> tuple[Memory, Vector]:
    """Return a memory behind what sees, and the form of what it gives. All randomness comes from `generator`.

    With `init: orthogonal` the weights of each gate are orthogonal, and biases zero; with `uniform` all are drawn from
    ±1/√size, as PyTorch does by itself.
    """
    assert config.memory is not None
    with torch.random.fork_rng(devices=[]):  # PyTorch draws first numbers from the generator of the whole program
        cell = nn.GRUCell(spec.size, config.memory.size)
    for weights in cell.parameters():
        if config.init == "uniform":
            nn.init.uniform_(weights, -1 / sqrt(config.memory.size), 1 / sqrt(config.memory.size), generator=generator)
        elif weights.dim() == 1:
            nn.init.zeros_(weights)
        else:
            for gate in weights.chunk(3):
                nn.init.orthogonal_(gate, generator=generator)
    return Memory(sees, cell, spec.num_masked), Vector(config.memory.size, spec.num_masked)
