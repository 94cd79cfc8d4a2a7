"""Anchored preference optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def apo_zero_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Make chosen responses likelier and rejected ones less likely.

  D'Oosterlinck et al., 2024 (arXiv:2408.06266), for chosen responses that
  are better than the policy. With r = beta * log-ratio:

      1 - sigmoid(r_chosen) + sigmoid(r_rejected)

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, between 0 and 2; 1 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    r_chosen = log 3 and r_rejected = -log 3: 1 - 3/4 + 1/4.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.apo_zero_loss(high, low, low, high, beta=1.0)
    >>> f"{loss:.4f}"
    '0.5000'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return jax.nn.sigmoid(-beta * chosen) + jax.nn.sigmoid(beta * rejected)


def apo_down_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Make both responses less likely, the rejected one more so.

  D'Oosterlinck et al., 2024 (arXiv:2408.06266), for a policy that is better
  than both responses. With r = beta * log-ratio:

      sigmoid(r_chosen) + 1 - sigmoid(r_chosen - r_rejected)

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per pair, between 0 and 2; 1 where the policy equals the reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    r_chosen = log 3 and the difference is 2 log 3 = log 9: 3/4 + 1 - 9/10.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.apo_down_loss(high, low, low, high, beta=1.0)
    >>> f"{loss:.4f}"
    '0.8500'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  return jax.nn.sigmoid(beta * chosen) + jax.nn.sigmoid(
    -beta * (chosen - rejected)
  )
