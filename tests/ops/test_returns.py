"""Returns, advantages and whitening, by hand and by their identities."""

import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax.ops import returns


def some(shape, seed):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def test_a_return_discounts_what_comes_later():
  # 2; 0 + 0.5 * 2; 1 + 0.5 * 1
  got = returns.discounted_returns(jnp.array([1.0, 0.0, 2.0]), gamma=0.5)
  np.testing.assert_array_equal(got, [1.5, 1.0, 2.0])


def test_gae_adds_discounted_errors_from_behind():
  # errors: 1 + 0.5 - 0.5, 0 - 0.5 - 1, 2 + 0 + 1 = 1, -1.5, 3
  # sums with gamma lambda = 0.25: 3, -1.5 + 0.75, 1 - 0.1875
  got = returns.gae(
    jnp.array([[1.0, 0.0, 2.0]]),
    jnp.array([[0.5, 1.0, -1.0]]),
    gamma=0.5,
    lambda_=0.5,
  )
  np.testing.assert_array_equal(got, [[0.8125, -0.75, 3.0]])


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_with_lambda_1_it_is_the_return_less_the_value(gamma):
  rewards, values = some((2, 3, 5), 0), some((2, 3, 5), 1)
  np.testing.assert_allclose(
    returns.gae(rewards, values, gamma=gamma, lambda_=1.0) + values,
    returns.discounted_returns(rewards, gamma=gamma),
    atol=1e-5,
  )


def test_without_discount_the_return_is_the_sum_of_what_is_left():
  rewards, values = some((4, 5), 0), some((4, 5), 1)
  left = np.cumsum(np.asarray(rewards)[:, ::-1], axis=1)[:, ::-1]
  np.testing.assert_allclose(
    returns.gae(rewards, values, gamma=1.0, lambda_=1.0) + values,
    left,
    atol=1e-5,
  )


def test_with_lambda_0_it_is_the_error_of_one_step():
  rewards, values = some((3, 4), 0), some((3, 4), 1)
  after = np.pad(np.asarray(values)[:, 1:], ((0, 0), (0, 1)))
  np.testing.assert_allclose(
    returns.gae(rewards, values, gamma=0.9, lambda_=0.0),
    np.asarray(rewards) + 0.9 * after - np.asarray(values),
    atol=1e-6,
  )


def test_zeros_behind_the_end_change_nothing():
  rewards, values = some((3, 4), 0), some((3, 4), 1)

  def longer(array):
    return jnp.pad(array, ((0, 0), (0, 3)))

  short = returns.gae(rewards, values, gamma=0.9, lambda_=0.8)
  long = returns.gae(longer(rewards), longer(values), gamma=0.9, lambda_=0.8)
  np.testing.assert_array_equal(long, longer(short))


VALUES = jnp.array([[1.0, 3.0], [5.0, 100.0]])
MASK = jnp.array([[True, True], [True, False]])
# of 1, 3 and 5 the mean is 3 and the biased variance 8 / 3; 2 / sqrt(8 / 3):
STEP = np.sqrt(1.5)


def test_whitening_counts_only_what_the_mask_keeps():
  np.testing.assert_allclose(
    returns.whiten(VALUES, MASK), [[-STEP, 0.0], [STEP, 0.0]], rtol=1e-6
  )


def test_whitening_may_keep_the_mean():
  np.testing.assert_allclose(
    returns.whiten_keeping_mean(VALUES, MASK),
    [[3 - STEP, 3.0], [3 + STEP, 0.0]],
    rtol=1e-6,
  )


def test_whitening_what_is_all_the_same_or_all_masked_gives_zeros():
  same = jnp.full((2, 2), 0.5)
  np.testing.assert_array_equal(returns.whiten(same, MASK), np.zeros((2, 2)))
  none = jnp.zeros((2, 2), bool)
  np.testing.assert_array_equal(returns.whiten(VALUES, none), np.zeros((2, 2)))
