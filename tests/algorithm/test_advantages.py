"""Generalised advantage estimation against tables worked out by hand."""

import numpy as np
import pytest

from ppocli.algorithm.advantages import compute_gae

REWARDS = [1.0, 2.0, 3.0]
VALUES = [0.5, 1.0, 1.5]
NEXT_VALUES = [1.0, 1.5, 2.0]
NEVER = [False, False, False]
SECOND = [False, True, False]


def gae(columns, gamma, gae_lambda):
    """Each column is one environment: (next_values, terminated, truncated)."""
    next_values, terminated, truncated = (np.array(part).T for part in zip(*columns, strict=True))
    num_envs = len(columns)
    return compute_gae(
        np.tile(np.float32(REWARDS)[:, None], num_envs),
        np.tile(np.float32(VALUES)[:, None], num_envs),
        next_values.astype(np.float32),
        terminated,
        truncated,
        gamma,
        gae_lambda,
    )


# δ = (1 + 0.5·1 - 0.5, 2 + 0.5·1.5 - 1, 3 + 0.5·2 - 1.5) = (1, 1.75, 2.5); γλ = 0.25
RUNS_ON = (NEXT_VALUES, NEVER, NEVER), [1.59375, 2.375, 2.5]
# the second step ends the task: δ₁ = 2 - 1 = 1, and nothing of A₂ reaches it
TERMINATED = (NEXT_VALUES, SECOND, NEVER), [1.25, 1.0, 2.5]
# the second step is truncated at an observation worth 4: δ₁ = 2 + 0.5·4 - 1 = 3, and nothing of A₂ reaches it
TRUNCATED = ([1.0, 4.0, 2.0], NEVER, SECOND), [1.75, 3.0, 2.5]
# both at once: the task's own end counts
BOTH = ([1.0, 4.0, 2.0], SECOND, SECOND), [1.25, 1.0, 2.5]


@pytest.mark.parametrize("case", [RUNS_ON, TERMINATED, TRUNCATED, BOTH])
def test_one_environment(case):
    column, expected = case
    advantages, returns = gae([column], 0.5, 0.5)
    np.testing.assert_allclose(advantages[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(returns[:, 0], np.add(expected, VALUES), rtol=1e-6)


def test_environments_of_a_batch_do_not_touch():
    cases = [TRUNCATED, RUNS_ON, TERMINATED, BOTH]
    advantages, _ = gae([column for column, _ in cases], 0.5, 0.5)
    np.testing.assert_allclose(advantages, np.transpose([expected for _, expected in cases]), rtol=1e-6)


def test_lambda_0_is_the_one_step_error():
    advantages, _ = gae([RUNS_ON[0], TRUNCATED[0]], 0.5, 0.0)
    np.testing.assert_allclose(advantages, [[1.0, 1.0], [1.75, 3.0], [2.5, 2.5]], rtol=1e-6)


def test_lambda_1_is_the_discounted_return_less_the_value():
    advantages, returns = gae([RUNS_ON[0], TERMINATED[0]], 0.5, 1.0)
    # runs on: 1 + 0.5·2 + 0.25·3 + 0.125·2 = 3; terminated: 1 + 0.5·2 = 2
    np.testing.assert_allclose(returns[0], [3.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(advantages[0], [2.5, 1.5], rtol=1e-6)
    # from the second step on: 2 + 0.5·3 + 0.25·2 = 4, and 2
    np.testing.assert_allclose(returns[1], [4.0, 2.0], rtol=1e-6)


def test_stays_in_float32():
    advantages, returns = gae([RUNS_ON[0]], 0.99, 0.95)
    assert advantages.dtype == returns.dtype == np.float32
