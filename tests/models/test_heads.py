"""Linear maps read off the states of a network."""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax.models import heads


def test_a_scalar_is_a_linear_map_in_float32():
  head = {"weight": jnp.array([1.0, 2.0]), "bias": jnp.float32(0.5)}
  hidden = jnp.array([[3.0, 4.0], [-1.0, 0.0]], jnp.bfloat16)
  # 3 + 8 + 0.5 and -1 + 0.5.
  actual = heads.scalar(head, hidden)
  assert actual.dtype == jnp.float32
  np.testing.assert_array_equal(actual, [11.5, -0.5])


def test_a_head_starts_with_the_published_deviation():
  width = 4095
  head = heads.init_scalar(jax.random.key(0), width)
  # 1 / sqrt(width + 1); the deviation of n draws is within 4 / sqrt(2 n).
  slack = 4 * (2 * width) ** -0.5
  np.testing.assert_allclose(np.std(head["weight"]), 1 / 64, rtol=slack)
  assert not np.any(head["bias"])
