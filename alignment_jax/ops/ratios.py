"""Log-ratios to a reference, and probability ratios that stay finite."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards

# Beyond this many nats a ratio counts as exp(60) = 1e26, which leaves room in
# float32 for a product with an advantage: inf times 0 would be NaN.
MAX_EXPONENT = 60.0


def of_pair(
  policy_chosen: Array,
  policy_rejected: Array,
  reference_chosen: Array,
  reference_rejected: Array,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
  """log policy - log reference of the chosen and of the rejected response.

  The reference is held constant. Numbers are float32 at least. All four have
  one shape, which is checked here rather than by their annotations.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.
  """
  policy_chosen, policy_rejected, reference_chosen, reference_rejected = (
    guards.same_shape_floats(
      policy_chosen=policy_chosen,
      policy_rejected=policy_rejected,
      reference_chosen=reference_chosen,
      reference_rejected=reference_rejected,
    )
  )
  return (
    policy_chosen - jax.lax.stop_gradient(reference_chosen),
    policy_rejected - jax.lax.stop_gradient(reference_rejected),
  )


def of_response(
  policy_logprobs: Array,
  reference_logprobs: Array,
) -> Float[Array, "*batch"]:
  """log policy - log reference of a response; the reference held constant.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.
  """
  policy_logprobs, reference_logprobs = guards.same_shape_floats(
    policy_logprobs=policy_logprobs, reference_logprobs=reference_logprobs
  )
  return policy_logprobs - jax.lax.stop_gradient(reference_logprobs)


def exp(log_ratios: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
  """exp(log_ratios), with exponents above `MAX_EXPONENT` cut to it."""
  # Not `minimum`, whose gradient looks for ties: that costs more than the exp.
  return jnp.exp(jnp.where(log_ratios > MAX_EXPONENT, MAX_EXPONENT, log_ratios))


def clipped_surrogate(
  log_ratios: Float[Array, "*batch"],
  advantages: Float[Array, "*batch"],
  *,
  low: float,
  high: float,
) -> Float[Array, "*batch"]:
  """-min(r A, clip(r, 1 - low, 1 + high) A), with r = exp(log_ratios).

  Schulman et al., 2017 (arXiv:1707.06347), eq. 7, to be minimised. The
  advantages are held constant.
  """
  ratios = exp(log_ratios)
  advantages = jax.lax.stop_gradient(advantages)
  return -jnp.minimum(
    ratios * advantages, jnp.clip(ratios, 1 - low, 1 + high) * advantages
  )
