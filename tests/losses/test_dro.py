"""The two losses of DRO, and what each holds constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.losses import dro_policy_loss, dro_value_loss

# The residual of numbers up to 10 is right to d = 5e-6 in float32. For tau of
# 0.25 and more, rtol = atol = 2 d then cover its square over 2 tau.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
ARRAYS = hnp.arrays(np.float32, (4, 6), elements=st.floats(-10, 10, width=32))
TAUS = st.floats(0.25, 1.0)
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def _residual(arrays, tau):
  policy, reference, rewards, values = (
    np.asarray(array).astype(np.float64) for array in arrays
  )
  return rewards - values - tau * (policy - reference)


def _gradients(loss, arrays, tau):
  return jax.grad(lambda *a: loss(*a, tau=tau).sum(), argnums=range(4))(*arrays)


@DTYPES
@given(rows=ARRAYS, tau=TAUS)
def test_the_policy_loss_is_the_squared_residual_over_two_tau(dtype, rows, tau):
  arrays = [jnp.asarray(row, dtype) for row in rows]
  np.testing.assert_allclose(
    dro_policy_loss(*arrays, tau=tau),
    _residual(arrays, tau) ** 2 / (2 * tau),
    **TOLERANCE,
  )


@DTYPES
@given(rows=ARRAYS, tau=TAUS)
def test_the_value_loss_is_half_the_squared_residual(dtype, rows, tau):
  arrays = [jnp.asarray(row, dtype) for row in rows]
  np.testing.assert_allclose(
    dro_value_loss(*arrays, tau=tau),
    _residual(arrays, tau) ** 2 / 2,
    **TOLERANCE,
  )


@given(rows=ARRAYS, tau=TAUS)
def test_the_policy_moves_by_the_residual_and_nothing_else_does(rows, tau):
  arrays = [jnp.asarray(row) for row in rows]
  policy, *others = _gradients(dro_policy_loss, arrays, tau)
  # d/dpi (delta^2 / (2 tau)) with d delta / dpi = -tau
  np.testing.assert_allclose(policy, -_residual(arrays, tau), **TOLERANCE)
  np.testing.assert_array_equal(others, np.zeros((3, 6)))


@given(rows=ARRAYS, tau=TAUS)
def test_the_value_moves_by_the_residual_and_nothing_else_does(rows, tau):
  arrays = [jnp.asarray(row) for row in rows]
  *others, values = _gradients(dro_value_loss, arrays, tau)
  # d/dV (delta^2 / 2) with d delta / dV = -1
  np.testing.assert_allclose(values, -_residual(arrays, tau), **TOLERANCE)
  np.testing.assert_array_equal(others, np.zeros((3, 6)))


@pytest.mark.parametrize("loss", [dro_policy_loss, dro_value_loss])
def test_nothing_is_lost_at_the_optimum(loss):
  tau = 0.5
  reference = np.array([0.2, 0.3, 0.5])
  rewards = np.array([1.0, -0.5, 0.25])
  # pi* = ref exp(r / tau) / Z and V* = tau log Z
  weights = reference * np.exp(rewards / tau)
  policy, value = weights / weights.sum(), tau * np.log(weights.sum())
  arrays = [np.log(policy), np.log(reference), rewards, np.full(3, value)]
  actual = loss(*(jnp.asarray(a, jnp.float32) for a in arrays), tau=tau)
  np.testing.assert_allclose(actual, np.zeros(3), atol=1e-12)


@pytest.mark.parametrize("loss", [dro_policy_loss, dro_value_loss])
@pytest.mark.parametrize("together", [(0, 1), (2, 3)])
@given(
  rows=hnp.arrays(np.int32, (4, 6), elements=st.integers(-80, 80)),
  shift=st.integers(-40, 40),
)
def test_a_shift_that_cancels_in_the_residual_changes_nothing(
  loss, together, rows, shift
):
  # Eighths are added and subtracted without rounding; tau is a half.
  shifted = rows.copy()
  shifted[list(together)] += shift
  np.testing.assert_array_equal(
    loss(*jnp.asarray(shifted / 8, jnp.float32), tau=0.5),
    loss(*jnp.asarray(rows / 8, jnp.float32), tau=0.5),
  )


@given(rows=ARRAYS, tau=TAUS)
def test_the_best_value_is_the_mean_regularized_reward(rows, tau):
  policy, reference, rewards, _ = rows.astype(np.float64)
  best = np.mean(rewards - tau * (policy - reference))
  arrays = [jnp.asarray(row) for row in rows[:3]]
  *_, gradient = _gradients(
    dro_value_loss, [*arrays, jnp.full(6, best, jnp.float32)], tau
  )
  np.testing.assert_allclose(gradient.sum(), 0.0, atol=6e-5)
