"""Online DPO (Guo et al., 2024, arXiv:2402.04792)."""

from typing import Literal, get_args

from jaxtyping import Array, Float

from alignment_jax import errors, losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards

Judgement = Literal["reward", "preference"]


def online_dpo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  feedback: Judgement = "reward",
) -> Algorithm:
  """DPO on the best and the worst of the policy's own responses.

  With two samples and preferences it is the paper's; best and worst of K by
  their rewards is the form of Noukhovitch et al., 2024 (arXiv:2410.18252). A
  response's preferences are averaged over all K. Where all responses are
  equally good the prompt gives no gradient and is counted in `pairs/tied`.

  Args:
    model: the network.
    sampling: at least two responses of the policy.
    beta: strength of the KL regularization, > 0, per nat.
    feedback: what ranks the responses, `reward` or `preference`.
  """
  sampling.at_least(2, "online_dpo")
  guards.positive(beta=beta)
  if feedback not in get_args(Judgement):
    raise errors.unknown("judgement", feedback, get_args(Judgement))

  def pair_loss(
    probability: Float[Array, "B N"],
    policy: online_pairs.Couple,
    reference: online_pairs.Couple,
    sampled: online_pairs.Couple,
  ) -> Float[Array, "B N"]:
    del probability, sampled  # the first is the best
    return losses.dpo_loss(*policy, *reference, beta=beta)

  return online_pairs.from_pairs(
    model,
    sampling,
    choose=online_pairs.best_and_worst,
    pair_loss=pair_loss,
    reward_scale=beta,
    feedback=feedback,
  )
