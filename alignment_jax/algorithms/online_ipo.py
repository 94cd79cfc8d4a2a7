"""Online IPO (Calandriello et al., 2024, arXiv:2403.08635)."""

from jaxtyping import Array, Float

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def online_ipo(
  model: Model, *, sampling: rollouts.Sampling, tau: float
) -> Algorithm:
  """IPO on pairs of the policy's own responses.

  The loss is in expectation over the label, P (h - 1 / (2 tau))^2 + (1 - P)
  (h + 1 / (2 tau))^2, with the draw of the pair held constant. Its expected
  gradient is 4 / tau times that of self-play, so it shares the fixed point, the
  Nash policy of the game regularized by tau.

  Args:
    model: the network.
    sampling: at least two responses of the policy; each two are a pair.
    tau: strength of the regularization, > 0.
  """
  sampling.at_least(2, "online_ipo")
  guards.positive(tau=tau)

  def pair_loss(
    probability: Float[Array, "B N"],
    policy: online_pairs.Couple,
    reference: online_pairs.Couple,
    sampled: online_pairs.Couple,
  ) -> Float[Array, "B N"]:
    del sampled
    return losses.online_ipo_loss(*policy, *reference, probability, tau=tau)

  return online_pairs.from_pairs(
    model,
    sampling,
    choose=online_pairs.all_pairs,
    pair_loss=pair_loss,
    reward_scale=tau,
  )
