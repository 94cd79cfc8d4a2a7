"""Weights that make off-policy pairs count as if on-policy."""

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
  """How likely the policy is to produce a pair, per token, at most 1.

  Zhou et al., 2024 (arXiv:2406.11827), the sampled alignment:
  the product over both responses of

      exp(mean over tokens of (log p(token) - log sum_v p(v)^2))

  The collision probability in the second term makes an on-policy token weigh 1
  on average. Multiply any pair loss with it.

  Args:
    chosen_logprobs: log-probability of each token of the preferred response
      under the policy, in nats; held constant, as is everything here.
    chosen_log_collisions: log of the sum of squared probabilities of all tokens
      at that place, in nats.
    chosen_mask: which tokens are real.
    rejected_logprobs: the same of the other response; its width may differ.
    rejected_log_collisions: see above.
    rejected_mask: see above.

  Returns:
    One weight per pair, in (0, 1].

  Raises:
    ValueError: shapes differ, or an argument has the wrong dtype.
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
