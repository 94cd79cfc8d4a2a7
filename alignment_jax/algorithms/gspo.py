"""Group sequence policy optimization (Zheng et al., 2025, arXiv:2507.18071)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import groups
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking, means
from alignment_jax.ops.means import Mean


def gspo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  clip_low: float,
  clip_high: float,
) -> Algorithm:
  """GSPO: GRPO with one ratio for each response.

  The ratio is the geometric mean of the tokens' (eq. 5 and 7 of the paper), so
  a whole response is clipped or none of it. There is no KL to the reference.
  Where the policy has not moved, the gradient is that of GRPO.

  Args:
    model: the network.
    sampling: at least two samples.
    clip_low: how far the ratio may fall, in (0, 1); 3e-4 in the paper.
    clip_high: how far it may rise, > 0; 4e-4 in the paper.
  """
  sampling.at_least(2, "gspo")
  guards.between(0.0, 1.0, clip_low=clip_low)
  guards.positive(clip_high=clip_high)

  def advantages(experience: rollouts.Experience) -> dict[str, Array]:
    return {
      "advantages": losses.grpo_advantages(experience.feedback.need("rewards"))
    }

  def reduced_loss(
    tokens: Float[Array, "B K T"], batch: rollouts.Experience
  ) -> Mean:
    mask = batch.rollout.responses.mask
    per_response = losses.gspo_loss(
      masking.masked_mean(tokens, mask),
      masking.masked_mean(batch.rollout.logprobs, mask),
      batch.extra["advantages"],
      clip_low=clip_low,
      clip_high=clip_high,
    )
    real = jnp.any(mask, axis=-1).astype(per_response.dtype)
    return means.weighted_mean(per_response, real)

  return groups.group_relative(
    model, sampling=sampling, advantages=advantages, reduced_loss=reduced_loss
  )
