import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax.models import heads


def test_a_scalar_is_a_linear_map_in_float32():
  head = {"weight": jnp.array([1.0, 2.0]), "bias": jnp.float32(0.5)}
  hidden = jnp.array([[3.0, 4.0], [-1.0, 0.0]], jnp.bfloat16)
  # 3 + 8 + 0.5 and -1 + 0.5.
  actual = heads.scalar(head, hidden)
  assert actual.dtype == jnp.float32
  np.testing.assert_array_equal(actual, [11.5, -0.5])


def test_quantiles_are_one_linear_map_each():
  head = {
    "weight": jnp.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]]),
    "bias": jnp.array([0.0, 0.5, 1.0]),
  }
  actual = heads.quantiles(head, jnp.array([[[3.0, 4.0]]]))
  np.testing.assert_array_equal(actual, [[[3.0, 8.5, 2.0]]])


def test_midpoints_split_the_unit_interval_evenly():
  np.testing.assert_allclose(
    heads.quantile_midpoints(5), [0.1, 0.3, 0.5, 0.7, 0.9], rtol=1e-6
  )


@pytest.mark.parametrize(
  "init",
  [heads.init_scalar, lambda key, width: heads.init_quantiles(key, width, 4)],
)
def test_a_head_starts_with_the_published_deviation(init):
  width = 4095
  head = init(jax.random.key(0), width)
  # 1 / sqrt(width + 1); the deviation of n draws is within 4 / sqrt(2 n).
  slack = 4 * (2 * width) ** -0.5
  np.testing.assert_allclose(np.std(head["weight"]), 1 / 64, rtol=slack)
  assert not np.any(head["bias"])
