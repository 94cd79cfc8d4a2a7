"""Log-ratios, and ratios that stay finite, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax.ops import ratios


def test_a_pair_has_the_log_ratio_of_each_response():
  policy_chosen, policy_rejected = jnp.array([1.0, 2.0]), jnp.array([4.0, 8.0])
  references = (jnp.array([0.5, 0.25]), jnp.array([-1.0, -3.0]))
  chosen, rejected = ratios.of_pair(policy_chosen, policy_rejected, *references)
  np.testing.assert_array_equal(chosen, [0.5, 1.75])
  np.testing.assert_array_equal(rejected, [5.0, 11.0])


def test_the_reference_of_a_log_ratio_is_held_constant():
  def total(*logprobs):
    # Weights that tell the two sides apart.
    chosen, rejected = ratios.of_pair(*logprobs)
    return jnp.sum(2 * chosen - 3 * rejected)

  gradients = jax.grad(total, argnums=(0, 1, 2, 3))(*[jnp.ones(2)] * 4)
  np.testing.assert_array_equal(gradients, [[2, 2], [-3, -3], [0, 0], [0, 0]])
  gradients = jax.grad(lambda *a: ratios.of_response(*a).sum(), (0, 1))(
    jnp.ones(3), jnp.zeros(3)
  )
  np.testing.assert_array_equal(gradients, [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_log_ratios_become_float32(dtype):
  # In bfloat16 300.0 + 1/4 is 300: the difference is taken in float32.
  policy, reference = jnp.array([0.25], dtype), jnp.array([-300.0], dtype)
  ratio = ratios.of_response(policy, reference)
  assert ratio.dtype == jnp.float32
  np.testing.assert_array_equal(ratio, [300.25])


def test_an_exponential_is_exact_to_the_bound_and_constant_beyond():
  bound = ratios.MAX_EXPONENT
  value, gradient = jax.vmap(jax.value_and_grad(ratios.exp))(
    jnp.array([-1.0, 0.0, bound, bound + 1, 1e30])
  )
  largest = np.exp(np.float32(bound))
  expected = [np.exp(-1), 1, largest, largest, largest]
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_allclose(gradient[:3], expected[:3], rtol=1e-5)
  np.testing.assert_array_equal(gradient[3:], [0, 0])


@pytest.mark.parametrize(
  ("ratio", "advantage", "expected"),
  [
    # Clipped to [0.9, 1.3], where that is worse for the policy.
    (1.2, 2.0, -2.4),
    (1.5, 2.0, -2.6),
    (0.5, 2.0, -1.0),
    (1.5, -2.0, 3.0),
    (0.5, -2.0, 1.8),
  ],
)
def test_a_surrogate_is_clipped_on_the_side_that_gains(
  ratio, advantage, expected
):
  def loss(log_ratio, advantage):
    return ratios.clipped_surrogate(log_ratio, advantage, low=0.1, high=0.3)

  arguments = (jnp.log(jnp.float32(ratio)), jnp.float32(advantage))
  value, gradients = jax.value_and_grad(loss, (0, 1))(*arguments)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  # d(-r A) / d log r = -r A, and 0 where it is clipped.
  clipped = expected != pytest.approx(-ratio * advantage)
  slope = 0.0 if clipped else -ratio * advantage
  np.testing.assert_allclose(gradients, [slope, 0.0], rtol=1e-6)
