"""IPO-MD (Calandriello et al., 2024, arXiv:2403.08635)."""

from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import games, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Prompts, Rollout


def ipo_md(
  model: Model, *, sampling: rollouts.Sampling, tau: float, beta: float
) -> Algorithm:
  """Online IPO on responses of a mixture of the policy and the reference.

  The mixture is policy^(1 - beta) reference^beta, normalized token by token.
  With rho the policy's log-ratio and the draw held constant, the expected
  gradient of the loss is

      -(4 / tau) E_y [grad log policy(y) (P(y beats mixture) - 1/2
                                          - tau (rho(y) - E rho))]

  with y and E of the mixture. (E rho is needed: unlike under the policy, the
  mean of grad log policy is not 0.) Its fixed point is that of Nash-MD.

  `log_ratio` among its metrics is a mean over the mixture, not a KL.

  Args:
    model: the network.
    sampling: at least two responses of the mixture; each two are a pair.
    tau: strength of the regularization, > 0.
    beta: weight of the reference in the mixture, in [0, 1]; 0 is online IPO.
  """
  sampling.at_least(2, "ipo_md")
  guards.positive(tau=tau)
  respond = games.mixture(model, sampling, beta=beta)

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    responses = respond(trainable, slow, batch.prompt, key)
    return rollouts.rollout_of(
      model, trainable["policy"], batch.prompt, responses, sampling
    )

  def pair_loss(
    probability: Float[Array, "B N"],
    policy: online_pairs.Couple,
    reference: online_pairs.Couple,
    sampled: online_pairs.Couple,
  ) -> Float[Array, "B N"]:
    del sampled
    return losses.ipo_md_loss(*policy, *reference, probability, tau=tau)

  return online_pairs.from_pairs(
    model,
    sampling,
    choose=online_pairs.all_pairs,
    pair_loss=pair_loss,
    reward_scale=tau,
    sample=sample,
    report=rollouts.offpolicy_metrics,
  )
