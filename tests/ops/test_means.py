"""Means that add up over parts of a batch, and division by no weight."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.ops import means


def test_dividing_by_no_weight_gives_zero_with_zero_gradients():
  total, weight = jnp.array([6.0, 5.0]), jnp.array([4.0, 0.0])
  np.testing.assert_array_equal(means.divide(total, weight), [1.5, 0.0])
  by_total, by_weight = jax.grad(
    lambda t, w: means.divide(t, w).sum(), argnums=(0, 1)
  )(total, weight)
  # d(t / w) = dt / w - t dw / w^2
  np.testing.assert_array_equal(by_total, [1 / 4, 0.0])
  np.testing.assert_array_equal(by_weight, [-6 / 16, 0.0])


def test_a_weighted_mean_is_total_over_weight():
  mean = means.weighted_mean(
    jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 0.0, 3.0])
  )
  assert (mean.total, mean.weight) == (13.0, 4.0)
  assert mean.value() == 13 / 4


def test_an_entry_of_weight_zero_may_be_nan():
  def total(values):
    return means.weighted_mean(values, jnp.array([2.0, 0.0])).total

  value, gradient = jax.value_and_grad(total)(jnp.array([3.0, float("nan")]))
  assert value == 6.0
  np.testing.assert_array_equal(gradient, [2.0, 0.0])


def test_a_mean_over_nothing_is_zero():
  assert means.weighted_mean(jnp.ones(3), jnp.zeros(3)).value() == 0.0


@given(
  values=hnp.arrays(np.float32, (6,), elements=st.floats(-10, 10, width=32)),
  weights=hnp.arrays(np.float32, (6,), elements=st.sampled_from([0, 1, 2.5])),
  cut=st.integers(0, 6),
)
def test_means_of_parts_add_up_to_the_mean_of_the_whole(values, weights, cut):
  values, weights = jnp.asarray(values), jnp.asarray(weights)
  left = means.weighted_mean(values[:cut], weights[:cut])
  right = means.weighted_mean(values[cut:], weights[cut:])
  added = means.Mean(left.total + right.total, left.weight + right.weight)
  whole = means.weighted_mean(values, weights)
  np.testing.assert_allclose(added.value(), whole.value(), rtol=1e-5, atol=1e-5)
