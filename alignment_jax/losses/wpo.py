"""Weights that make off-policy pairs count as if they were on-policy."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards, masking


def wpo_weights(
  chosen_logprobs: Float[Array, "*batch T"],
  chosen_log_collisions: Float[Array, "*batch T"],
  chosen_mask: Bool[Array, "*batch T"],
  rejected_logprobs: Float[Array, "*batch S"],
  rejected_log_collisions: Float[Array, "*batch S"],
  rejected_mask: Bool[Array, "*batch S"],
) -> Float[Array, "*batch"]:
  """How likely the policy is to produce both responses, per token, at most 1.

  Zhou et al., 2024 (arXiv:2406.11827), with sampled alignment: the product over
  both responses of

      exp(mean over tokens of (log p(token) - log sum_v p(v)^2))

  On average the second term, the collision probability, gives an on-policy
  token the weight 1. Multiply any pair loss by the result.

  Args:
    chosen_logprobs: log-probability of each token of the preferred response
      under the policy, in nats; held constant, as is everything here.
    chosen_log_collisions: log of the sum of squared probabilities of all tokens
      at that position, in nats.
    chosen_mask: which tokens are real.
    rejected_logprobs: the same for the rejected response, which may have
      another length.
    rejected_log_collisions: see `chosen_log_collisions`.
    rejected_mask: see `chosen_mask`.

  Returns:
    One weight per pair, in (0, 1].

  Raises:
    ValueError: shapes differ, or an argument has the wrong dtype.

  Example:
    Each response has a token of probability 1/4 where the collision probability
    is 1/2: (1/2)^2.

    >>> logprobs, collisions = jnp.log(jnp.array([[[0.25]], [[0.5]]]))
    >>> response = (logprobs, collisions, jnp.array([[True]]))
    >>> [f"{x:.4f}" for x in losses.wpo_weights(*response, *response)]
    ['0.2500']
  """
  chosen_logprobs, chosen_log_collisions = guards.same_shape_floats(
    chosen_logprobs=chosen_logprobs,
    chosen_log_collisions=chosen_log_collisions,
  )
  rejected_logprobs, rejected_log_collisions = guards.same_shape_floats(
    rejected_logprobs=rejected_logprobs,
    rejected_log_collisions=rejected_log_collisions,
  )
  guards.flags_of_shape(
    chosen_logprobs.shape, "chosen_logprobs", chosen_mask=chosen_mask
  )
  guards.flags_of_shape(
    rejected_logprobs.shape, "rejected_logprobs", rejected_mask=rejected_mask
  )
  log_weight = masking.masked_mean(
    chosen_logprobs - chosen_log_collisions, chosen_mask
  ) + masking.masked_mean(
    rejected_logprobs - rejected_log_collisions, rejected_mask
  )
  return jax.lax.stop_gradient(jnp.exp(jnp.minimum(log_weight, 0.0)))
