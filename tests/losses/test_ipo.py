"""The loss of IPO, its target, and its expectation over labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.losses import ipo_loss

# Numbers up to 10 are subtracted in float32 to d = 1e-5, so a square v^2 is off
# by 2 v d, which is never more than d (v^2 + 1).
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SCORES = hnp.arrays(np.float32, (4, 6), elements=st.floats(-10, 10, width=32))
# Eighths are added and subtracted without rounding.
EIGHTHS = hnp.arrays(np.int32, (4, 6), elements=st.integers(-80, 80)).map(
  lambda numbers: (numbers / 8).astype(np.float32)
)
TAUS = st.floats(0.05, 5.0)
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def _margin(arrays):
  chosen, rejected, reference_chosen, reference_rejected = (
    np.asarray(array).astype(np.float64) for array in arrays
  )
  return (chosen - reference_chosen) - (rejected - reference_rejected)


def _gradients(arrays, tau):
  return jax.grad(lambda *a: ipo_loss(*a, tau=tau).sum(), argnums=range(4))(
    *arrays
  )


@DTYPES
@given(scores=SCORES, tau=TAUS)
def test_the_loss_is_the_squared_distance_to_the_target(dtype, scores, tau):
  arrays = [jnp.asarray(row, dtype) for row in scores]
  expected = (_margin(arrays) - 1 / (2 * tau)) ** 2
  np.testing.assert_allclose(ipo_loss(*arrays, tau=tau), expected, **TOLERANCE)


@given(scores=SCORES, tau=TAUS)
def test_the_gradient_is_twice_the_distance_to_the_target(scores, tau):
  arrays = [jnp.asarray(row) for row in scores]
  expected = 2 * (_margin(arrays) - 1 / (2 * tau))
  chosen, rejected, *reference = _gradients(arrays, tau)
  np.testing.assert_allclose(chosen, expected, rtol=1e-5, atol=2e-5)
  np.testing.assert_array_equal(rejected, -chosen)
  np.testing.assert_array_equal(reference, np.zeros((2, 6)))


def test_the_gradient_changes_sign_where_the_margin_passes_the_target():
  margin = jnp.array([0.5, 1.0, 1.5])  # 1 / (2 tau) = 1
  zero = jnp.zeros(3)
  chosen, *_ = _gradients([margin, zero, zero, zero], 0.5)
  np.testing.assert_array_equal(chosen, [-1.0, 0.0, 1.0])


@given(tau=TAUS, probability=st.floats(0.0, 1.0))
def test_the_expected_loss_is_least_at_the_scaled_preference(tau, probability):
  target = jnp.float32((2 * probability - 1) / (2 * tau))
  zero = jnp.zeros(())

  def expected(margin):
    return probability * ipo_loss(margin, zero, zero, zero, tau=tau) + (
      1 - probability
    ) * ipo_loss(zero, margin, zero, zero, tau=tau)

  np.testing.assert_allclose(jax.grad(expected)(target), 0.0, atol=1e-5)


@given(scores=EIGHTHS)
def test_swapping_the_pair_adds_four_times_margin_times_target(scores):
  chosen, rejected, reference_chosen, reference_rejected = map(
    jnp.asarray, scores
  )
  unswapped = ipo_loss(
    chosen, rejected, reference_chosen, reference_rejected, tau=0.25
  )
  swapped = ipo_loss(
    rejected, chosen, reference_rejected, reference_chosen, tau=0.25
  )
  # (-h - c)^2 - (h - c)^2 = 4 h c, with c = 1 / (2 * 0.25) = 2
  np.testing.assert_array_equal(swapped - unswapped, 8 * _margin(scores))


@given(scores=SCORES, tau=TAUS)
def test_it_is_the_regression_on_both_labels_but_for_a_constant(scores, tau):
  arrays = [jnp.asarray(row) for row in scores]
  margin = _margin(arrays)
  both = ((margin - 1 / tau) ** 2 + margin**2) / 2
  constant = 1 / (4 * tau**2)
  np.testing.assert_allclose(
    ipo_loss(*arrays, tau=tau), both - constant, rtol=1e-5, atol=1e-5
  )


@pytest.mark.parametrize("together", [(0, 1), (2, 3), (0, 2), (1, 3)])
@given(scores=EIGHTHS, shift=st.integers(-40, 40))
def test_a_shift_that_cancels_in_the_margin_changes_nothing(
  together, scores, shift
):
  shifted = scores.copy()
  shifted[list(together)] += np.float32(shift / 8)
  np.testing.assert_array_equal(
    ipo_loss(*map(jnp.asarray, shifted), tau=0.25),
    ipo_loss(*map(jnp.asarray, scores), tau=0.25),
  )
