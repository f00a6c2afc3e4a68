"""What an update makes smaller, and what it reports: pure functions of tensors, each with its equation.

ρ = exp(log_ratio) = π / π_old is how much more probable the policy has made the action that was taken. Each loss has
its gradient in closed form beside it, as autograd has it.
"""

from torch import Tensor


def log_prob_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """What REINFORCE makes smaller, Williams 1992, A for the return: −E[log π(a) A]; a scalar from two tensors (B,)."""
    _assert_samples(log_probs, advantages)
    return -(log_probs * advantages).mean()


def log_prob_loss_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """The gradient (B,) of `log_prob_loss` by the log-probabilities of the actions: −A / B."""
    _assert_samples(log_probs, advantages)
    return advantages / -len(advantages)


def surrogate_loss(log_ratio: Tensor, advantages: Tensor) -> Tensor:
    """What TRPO makes smaller near the old policy, arXiv:1502.05477 eq. 14: −E[ρ A]; a scalar from two tensors (B,)."""
    _assert_samples(log_ratio, advantages)
    return -(log_ratio.exp() * advantages).mean()


def policy_loss(log_ratio: Tensor, advantages: Tensor, clip_coef: float) -> Tensor:
    """The clipped objective, to be minimised, arXiv:1707.06347 eq. 7; a scalar from two tensors (B,).

    −E[min(ρ A, clip(ρ, 1−ε, 1+ε) A)]
    """
    _assert_samples(log_ratio, advantages)
    ratio = log_ratio.exp()
    return -(ratio * advantages).minimum(ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages).mean()


def policy_loss_gradient(log_ratio: Tensor, advantages: Tensor, clip_coef: float) -> Tensor:
    """The gradient (B,) of `policy_loss` by the log-probabilities of the actions.

    −ρ A / B where ρ A is the minimum, and 0 where the clipped term is, which does not depend on ρ.
    """
    _assert_samples(log_ratio, advantages)
    ratio = log_ratio.exp()
    gain = ratio * advantages
    clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef) * advantages
    return gain.masked_fill(gain > clipped, 0.0) / -len(gain)


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """The critic's squared error, arXiv:1707.06347 eq. 9, E[(V − returns)²]; a scalar from two tensors (B,)."""
    _assert_samples(values, returns)
    return (values - returns).square().mean()


def value_loss_gradient(values: Tensor, returns: Tensor) -> Tensor:
    """The gradient (B,) of `value_loss` by the values: 2 (V − returns) / B."""
    _assert_samples(values, returns)
    return (values - returns) * (2 / len(values))


def clipped_value_loss(values: Tensor, returns: Tensor, old_values: Tensor, clip_coef: float) -> Tensor:
    """The critic's squared error where it may not gain by moving further than ε; a scalar from three tensors (B,).

    E[max((V − returns)², (V_old + clip(V − V_old, −ε, ε) − returns)²)], as in OpenAI's own code; arXiv:2005.12729 §3.
    """
    _assert_samples(values, returns, old_values)
    clipped = old_values + (values - old_values).clamp(-clip_coef, clip_coef)
    return (values - returns).square().maximum((clipped - returns).square()).mean()


def clipped_value_loss_gradient(values: Tensor, returns: Tensor, old_values: Tensor, clip_coef: float) -> Tensor:
    """The gradient (B,) of `clipped_value_loss` by the values.

    2 (V − returns) / B where V has not moved further than ε or its own error is the larger, 0 elsewhere, half in a tie.
    """
    _assert_samples(values, returns, old_values)
    moved = values - old_values
    clipped = old_values + moved.clamp(-clip_coef, clip_coef)
    larger = (values - returns).square() - (clipped - returns).square()
    share = ((larger.sign() + 1) / 2).where(moved.abs() > clip_coef, 1.0)
    return share * value_loss_gradient(values, returns)


def approx_kl(log_ratio: Tensor) -> float:
    """How far the policy has moved: E[(ρ − 1) − log ρ], an estimate of the KL that is unbiased and never negative."""
    return float((log_ratio.exp() - 1 - log_ratio).mean())


def clip_fraction(log_ratio: Tensor, clip_coef: float) -> float:
    """The share of samples whose ρ lies outside 1 ± ε."""
    return float(((log_ratio.exp() - 1).abs() > clip_coef).float().mean())


def normalize(advantages: Tensor) -> Tensor:
    """Shift and scale advantages (..., B) to mean 0 and standard deviation 1, row by row."""
    return (advantages - advantages.mean(-1, keepdim=True)) / (advantages.std(-1, keepdim=True) + 1e-8)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 − Var(returns − values) / Var(returns): 1 is a perfect critic, 0 a constant one; 0 where returns are equal."""
    _assert_samples(values, returns)
    variance = returns.var()
    return float(1 - (returns - values).var() / variance) if variance > 0 else 0.0


def _assert_samples(*tensors: Tensor) -> None:
    """(B,) beside (B, 1) would be broadcast to (B, B), and give a wrong number."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    alike = all(len(shape) == 1 and shape == shapes[0] for shape in shapes)
    assert alike, f"one number a sample, each (B,), and not {shapes}"
