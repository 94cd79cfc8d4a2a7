"""Sums, means, lengths and positions over the real entries."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alignment_jax.ops import masking

NAN = float("nan")


def _values(shape):
  return hnp.arrays(np.float32, shape, elements=st.floats(-10, 10, width=32))


def test_the_sum_counts_only_real_entries():
  values = jnp.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
  mask = jnp.array([[True, False, True], [False, True, True]])
  # 1 + 4 and 16 + 32
  np.testing.assert_array_equal(masking.masked_sum(values, mask), [5.0, 48.0])


def test_the_mean_divides_by_the_real_entries_only():
  values = jnp.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
  mask = jnp.array([[True, False, True], [False, True, False]])
  # (1 + 4) / 2 and 16 / 1
  np.testing.assert_array_equal(masking.masked_mean(values, mask), [2.5, 16.0])


@given(values=_values((3, 5)), mask=hnp.arrays(bool, (3, 5)))
def test_the_mean_is_numpys_mean_of_what_is_kept(values, mask):
  expected = [
    np.mean(row[keep], dtype=np.float64) if keep.any() else 0.0
    for row, keep in zip(values, mask, strict=True)
  ]
  actual = masking.masked_mean(jnp.asarray(values), jnp.asarray(mask))
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_mean_of_nothing_is_zero_with_zero_gradient():
  values, mask = jnp.ones((2, 3)), jnp.zeros((2, 3), bool)
  np.testing.assert_array_equal(masking.masked_mean(values, mask), [0.0, 0.0])
  gradient = jax.grad(lambda v: masking.masked_mean(v, mask).sum())(values)
  np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_nan_under_the_mask_reaches_neither_sum_nor_gradient():
  values = jnp.array([3.0, NAN, jnp.inf])
  mask = jnp.array([True, False, False])
  total, gradient = jax.value_and_grad(masking.masked_sum)(values, mask)
  assert total == 3.0
  np.testing.assert_array_equal(gradient, [1.0, 0.0, 0.0])


def test_both_aggregations_agree_on_responses_of_one_token():
  values = jnp.array([[-1.5, 7.0], [-0.25, 7.0]])
  mask = jnp.array([[True, False], [True, False]])
  assert set(masking.AGGREGATIONS) == {"sum", "mean"}
  for aggregate in masking.AGGREGATIONS.values():
    np.testing.assert_array_equal(aggregate(values, mask), [-1.5, -0.25])


def test_lengths_count_real_entries():
  mask = jnp.array([[False, True, True], [False, False, False]])
  lengths = masking.lengths(mask)
  np.testing.assert_array_equal(lengths, [2, 0])
  assert lengths.dtype == jnp.int32


def test_positions_count_from_the_first_real_entry_on_either_side():
  left_padded = jnp.array([False, False, True, True, True])
  right_padded = jnp.array([True, True, True, False, False])
  np.testing.assert_array_equal(masking.positions(left_padded)[2:], [0, 1, 2])
  np.testing.assert_array_equal(masking.positions(right_padded)[:3], [0, 1, 2])


def test_positions_are_never_negative():
  positions = masking.positions(jnp.array([[False, False], [False, True]]))
  np.testing.assert_array_equal(positions, [[0, 0], [0, 0]])
