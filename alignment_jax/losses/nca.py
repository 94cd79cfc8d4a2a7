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
  """Classify each response by itself: data, or a sample of the reference.

  Chen et al., 2024 (arXiv:2402.05369), for one pair whose rewards select the
  chosen response. With r = beta * log-ratio:

      -log sigmoid(r_chosen) - (log sigmoid(-r_chosen)
                                + log sigmoid(-r_rejected)) / 2

  Unlike losses of the margin alone, it keeps the likelihood of the chosen
  response up: the minimum is at r_chosen = log 2 and r_rejected = -infinity.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, in nats; 2 log 2 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    r_chosen = log 3 and r_rejected = -log 3:
    exp(-2 loss) = (3/4)^2 (1/4) (3/4) = 27/256.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.nca_loss(high, low, low, high, beta=1.0)
    >>> f"{256 * jnp.exp(-2 * loss):.3f}"
    '27.000'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return -jax.nn.log_sigmoid(beta * chosen) - 0.5 * (
    jax.nn.log_sigmoid(-beta * chosen) + jax.nn.log_sigmoid(-beta * rejected)
  )
