"""DPO with one strength for each side."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def flex_dpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta_chosen: float,
  beta_rejected: float,
) -> Float[Array, "*batch"]:
  """Push the rejected response down less than the chosen one up.

  Yan et al., 2024 (arXiv:2406.07327), Flex-DPO: with rho the log-ratio,

      -log sigmoid(beta_chosen rho_chosen - beta_rejected rho_rejected)

  DPO pushes the rejected response down by the likelihood ratio faster than it
  lifts the chosen one, until nothing lifts it any more; a smaller
  `beta_rejected` slows that down. Equal strengths give `dpo_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    beta_chosen: strength on the chosen response, > 0, per nat.
    beta_rejected: strength on the rejected one, >= 0, per nat.

  Returns:
    One loss per pair, in nats; log 2 where the policy is the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta_chosen=beta_chosen)
  guards.non_negative(beta_rejected=beta_rejected)
  return -jax.nn.log_sigmoid(beta_chosen * chosen - beta_rejected * rejected)
