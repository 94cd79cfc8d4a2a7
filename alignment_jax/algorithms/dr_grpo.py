"""GRPO done right (Liu et al., 2025, arXiv:2503.20783)."""

from jaxtyping import Array, Float

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import groups
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean


def dr_grpo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  clip: float,
  beta: float = 0.0,
) -> Algorithm:
  """Dr. GRPO: GRPO without its two biases.

  Advantages are not divided by the deviation of their group, which favours
  prompts whose rewards hardly differ; token losses are divided by the largest
  length, not by the response's own, which favours long wrong responses. Where
  the policy has not moved, the expected gradient is (K - 1) / (K max_tokens)
  times that of the reward.

  Args:
    model: the network.
    sampling: at least two samples; `max_tokens` is the constant length.
    clip: how far the ratio of a token may move, in (0, 1).
    beta: weight of k3 of each token, >= 0; 0 in the paper.
  """
  sampling.at_least(2, "dr_grpo")
  guards.between(0.0, 1.0, clip=clip)
  guards.non_negative(beta=beta)

  def advantages(experience: rollouts.Experience) -> dict[str, Array]:
    return {
      "advantages": losses.grpo_advantages(
        experience.feedback.need("rewards"), scale="none"
      )
    }

  def reduced_loss(
    tokens: Float[Array, "B K T"], batch: rollouts.Experience
  ) -> Mean:
    return losses.grpo_aggregate(
      losses.grpo_loss(
        tokens,
        batch.rollout.logprobs,
        batch.reference,
        batch.extra["advantages"],
        clip_low=clip,
        clip_high=clip,
        beta=beta,
      ),
      batch.rollout.responses.mask,
      aggregation="dr_grpo",
      max_length=sampling.max_tokens,
    )

  return groups.group_relative(
    model, sampling=sampling, advantages=advantages, reduced_loss=reduced_loss
  )
