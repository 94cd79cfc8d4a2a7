"""Group-relative policy optimization (Shao et al., 2024, arXiv:2402.03300)."""

from jaxtyping import Array, Float

from alignment_jax import errors, losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import groups
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean


def grpo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  clip: float,
  beta: float,
  aggregation: str = "grpo",
) -> Algorithm:
  """GRPO: rewards of a group, centred and divided by their deviation.

  The ratio of each token to the policy that sampled is clipped, and k3 of each
  token is a loss (eq. 3 and 4 of the paper): its mean is the KL of the token,
  its gradient that of KL(reference || policy).

  Args:
    model: the network.
    sampling: at least two samples; 64 in the paper.
    clip: how far the ratio of a token may move, in (0, 1).
    beta: weight of k3, >= 0; 0.04 in the paper.
    aggregation: how tokens are added up: `grpo`, the mean of each response
      first, as in the paper, or `dapo`, `bnpo`, `dr_grpo`; see
      `losses.grpo_aggregate`. Other libraries take `dapo` for GRPO. `bnpo`
      alone depends on how a batch is split into microbatches.
  """
  sampling.at_least(2, "grpo")
  guards.between(0.0, 1.0, clip=clip)
  guards.non_negative(beta=beta)
  if aggregation not in losses.GRPO_AGGREGATIONS:
    raise errors.unknown("aggregation", aggregation, losses.GRPO_AGGREGATIONS)

  def advantages(experience: rollouts.Experience) -> dict[str, Array]:
    return {
      "advantages": losses.grpo_advantages(experience.feedback.need("rewards"))
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
      aggregation=aggregation,
      max_length=sampling.max_tokens,
    )

  return groups.group_relative(
    model, sampling=sampling, advantages=advantages, reduced_loss=reduced_loss
  )
