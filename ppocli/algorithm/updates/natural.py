"""The natural gradient: the direction in which the policy improves most for how far it moves, not its weights.

F is the Fisher information of the policy's weights, the second derivative of E[KL(π_old ‖ π)] at π_old. With the
distribution's own M, of the actor's outputs, and the outputs' Jacobian J it is F = E[Jᵀ M J], so that a product F v
takes one way through the network and one back, and the matrix is never built.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ppocli.algorithm.agent import Agent
from ppocli.algorithm.weights import Weights
from ppocli.config.sections import NPGConfig

Product = Callable[[Tensor], Tensor]


def fisher_product(agent: Agent, policy: Weights, obs: Tensor) -> Product:
    """Return what multiplies a vector, one number a weight, by F at obs (B, ...) as seen; uses `policy.gradient`."""
    outputs, forward, backward = agent.actor.linearized(obs)
    num_tensors = len(list(agent.actor.parameters()))

    def product(vector: Tensor) -> Tensor:
        parts = policy.parts(vector)
        policy.zero_gradient()
        moved = forward(parts[:num_tensors])
        backward(agent.distribution.fisher(outputs, moved, parts[num_tensors:]))
        return policy.gradient.clone()

    return product


def conjugate_gradients(product: Product, target: Tensor, iterations: int, tolerance: float = 1e-10) -> Tensor:
    """Return x with A x = target nearly, for a positive definite A of which only products are known.

    Hestenes and Stiefel 1952; Nocedal and Wright, "Numerical Optimization", algorithm 5.2. Exact after as many
    iterations as A has different eigenvalues, and near after fewer by far. Ends where |A x − target|² is no more than
    `tolerance` of |target|², or where A shows to be singular.
    """
    solution, residual = torch.zeros_like(target), target.clone()
    direction, error = residual.clone(), residual.dot(residual)
    small_enough = tolerance * error
    for _ in range(iterations):
        if error <= small_enough:
            break
        image = product(direction)
        curvature = direction.dot(image)
        if not curvature > 0:
            break
        length = error / curvature
        solution += length * direction
        residual -= length * image
        before, error = error, residual.dot(residual)
        direction = residual + error / before * direction
    return solution


def natural_step(agent: Agent, policy: Weights, obs: Tensor, settings: NPGConfig) -> Tensor:
    """Return the step of the weights along −F⁻¹ g, g the gradient that lies in `policy`, by which KL is `target_kl`.

    arXiv:1502.05477, appendix C: s = √(2δ / xᵀ F x) · x with F x = g. KL is what its second derivative says, ½ sᵀ F s.
    `cg_damping` · v is added to each product F v, in both places, which holds the step back where F knows next to
    nothing: KL is less than `target_kl` by as much.
    """
    gradient, fisher = policy.gradient.clone(), fisher_product(agent, policy, obs)

    def damped(vector: Tensor) -> Tensor:
        return fisher(vector) + settings.cg_damping * vector

    direction = conjugate_gradients(damped, gradient, settings.cg_iterations)
    curvature = direction.dot(damped(direction))
    if not curvature > 0:  # where there is no gradient, there is no step
        return torch.zeros_like(direction)
    return -(2 * settings.target_kl / curvature).sqrt() * direction
