"""The loss of DPO, smoothed or not, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.losses import dpo_loss

# Numbers up to 10 are subtracted in float32 to 1e-5, and with beta <= 1 the
# loss changes no faster than the margin.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SCORES = hnp.arrays(np.float32, (4, 6), elements=st.floats(-10, 10, width=32))
# Eighths are added and subtracted without rounding.
EIGHTHS = hnp.arrays(np.int32, (4, 6), elements=st.integers(-80, 80)).map(
  lambda numbers: (numbers / 8).astype(np.float32)
)
BETAS = st.floats(0.01, 1.0)
SMOOTHINGS = st.floats(0.0, 0.49)
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def _margin(arrays):
  chosen, rejected, reference_chosen, reference_rejected = (
    np.asarray(array).astype(np.float64) for array in arrays
  )
  return (chosen - reference_chosen) - (rejected - reference_rejected)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _gradients(arrays, **coefficients):
  return jax.grad(
    lambda *a: dpo_loss(*a, **coefficients).sum(), argnums=range(4)
  )(*arrays)


@DTYPES
@given(scores=SCORES, beta=BETAS, e=SMOOTHINGS)
def test_the_loss_is_the_smoothed_negative_log_likelihood(
  dtype, scores, beta, e
):
  arrays = [jnp.asarray(row, dtype) for row in scores]
  logit = beta * _margin(arrays)
  # -log sigmoid(z) = log(1 + exp(-z))
  expected = (1 - e) * np.logaddexp(0, -logit) + e * np.logaddexp(0, logit)
  np.testing.assert_allclose(
    dpo_loss(*arrays, beta=beta, label_smoothing=e), expected, **TOLERANCE
  )


@given(scores=SCORES, beta=BETAS)
def test_labels_are_not_smoothed_unless_asked(scores, beta):
  arrays = [jnp.asarray(row) for row in scores]
  expected = np.logaddexp(0, -beta * _margin(arrays))
  np.testing.assert_allclose(
    dpo_loss(*arrays, beta=beta), expected, **TOLERANCE
  )


@given(scores=SCORES, beta=BETAS, e=SMOOTHINGS)
def test_the_loss_is_log_two_where_policy_is_reference(scores, beta, e):
  chosen, rejected, *_ = map(jnp.asarray, scores)
  actual = dpo_loss(
    chosen, rejected, chosen, rejected, beta=beta, label_smoothing=e
  )
  np.testing.assert_allclose(actual, np.log(2), rtol=1e-6)


@given(scores=SCORES, beta=BETAS, e=SMOOTHINGS)
def test_the_gradient_is_beta_times_the_error_of_the_prediction(
  scores, beta, e
):
  arrays = [jnp.asarray(row) for row in scores]
  logit = beta * _margin(arrays)
  expected = -(1 - e) * beta * _sigmoid(-logit) + e * beta * _sigmoid(logit)
  chosen, rejected, *reference = _gradients(
    arrays, beta=beta, label_smoothing=e
  )
  np.testing.assert_allclose(chosen, expected, **TOLERANCE)
  np.testing.assert_array_equal(rejected, -chosen)
  np.testing.assert_array_equal(reference, np.zeros((2, 6)))


@given(scores=SCORES.map(lambda scores: 100 * scores), beta=BETAS)
def test_the_chosen_response_is_never_pushed_down(scores, beta):
  chosen, *_ = _gradients([jnp.asarray(row) for row in scores], beta=beta)
  assert np.all(chosen <= 0)


def test_a_smoothed_gradient_changes_sign_at_the_logit_over_beta():
  # e = 0.2, beta = 0.5: the minimum is at h = log(0.8 / 0.2) / 0.5
  target = np.log(4) / 0.5
  margin = jnp.array([target - 0.1, target, target + 0.1], jnp.float32)
  zero = jnp.zeros(3)
  chosen, *_ = _gradients(
    [margin, zero, zero, zero], beta=0.5, label_smoothing=0.2
  )
  assert chosen[0] < -1e-3 and abs(chosen[1]) < 1e-6 and chosen[2] > 1e-3


@given(scores=SCORES, beta=BETAS)
def test_swapping_the_pair_adds_the_scaled_margin(scores, beta):
  chosen, rejected, reference_chosen, reference_rejected = map(
    jnp.asarray, scores
  )
  unswapped = dpo_loss(
    chosen, rejected, reference_chosen, reference_rejected, beta=beta
  )
  swapped = dpo_loss(
    rejected, chosen, reference_rejected, reference_chosen, beta=beta
  )
  # log(1 + exp(z)) - log(1 + exp(-z)) = z
  np.testing.assert_allclose(
    swapped - unswapped, beta * _margin(scores), rtol=1e-5, atol=2e-5
  )


@pytest.mark.parametrize("together", [(0, 1), (2, 3), (0, 2), (1, 3)])
@given(scores=EIGHTHS, shift=st.integers(-40, 40))
def test_a_shift_that_cancels_in_the_margin_changes_nothing(
  together, scores, shift
):
  shifted = scores.copy()
  shifted[list(together)] += np.float32(shift / 8)
  np.testing.assert_array_equal(
    dpo_loss(*map(jnp.asarray, shifted), beta=0.5),
    dpo_loss(*map(jnp.asarray, scores), beta=0.5),
  )


def test_a_pair_lost_by_ten_thousand_nats_costs_as_many():
  zero = jnp.zeros(1)
  loss = dpo_loss(jnp.array([-1e4]), zero, zero, zero, beta=1.0)
  np.testing.assert_array_equal(loss, [1e4])
