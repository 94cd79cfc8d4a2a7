"""Noise contrastive alignment."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def nca_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Tell data from reference samples, each response by itself.

  Chen et al., 2024 (arXiv:2402.05369), for one pair and rewards that
  pick the chosen response. With r = beta * log-ratio:

      -log sigmoid(r_chosen) - (log sigmoid(-r_chosen)
                                + log sigmoid(-r_rejected)) / 2

  It keeps the likelihood of the chosen response up, as only differences
  cannot: its minimum over r_chosen is at log 2, over r_rejected at -infinity.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, in nats; 2 log 2 where the policy is the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return -jax.nn.log_sigmoid(beta * chosen) - 0.5 * (
    jax.nn.log_sigmoid(-beta * chosen) + jax.nn.log_sigmoid(-beta * rejected)
  )
