"""Efficient exact optimization: the reverse KL to the preference."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def exo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  label_smoothing: float,
) -> Float[Array, "*batch"]:
  """KL(model's preference || smoothed label), with q = sigmoid(beta h).

  Ji et al., 2024 (arXiv:2402.00856), for two responses:

      q log(q / (1 - e)) + (1 - q) log((1 - q) / e)

  DPO minimizes the other KL. The minimum is 0, at q = 1 - e.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.
    label_smoothing: e, in (0, 0.5); at 0 the loss would be infinite.

  Returns:
    One loss per pair, >= 0, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    q = sigmoid(log 3) = 3/4 is 1 - e: the minimum. With the responses swapped
    q = 1/4, and the loss is log(1/3) / 4 + 3/4 log 3 = log(3) / 2.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> coefficients = {"beta": 0.5, "label_smoothing": 0.25}
    >>> f"{losses.exo_loss(high, low, low, high, **coefficients):.4f}"
    '0.0000'
    >>> f"{losses.exo_loss(low, high, high, low, **coefficients):.4f}"
    '0.5493'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta)
  guards.between(0.0, 0.5, label_smoothing=label_smoothing)
  logit = beta * (chosen - rejected)
  q = jax.nn.sigmoid(logit)
  # log_sigmoid, not log(q): q underflows where the policy is far away.
  return q * (
    jax.nn.log_sigmoid(logit) - jnp.log1p(-label_smoothing)
  ) + jax.nn.sigmoid(-logit) * (
    jax.nn.log_sigmoid(-logit) - jnp.log(label_smoothing)
  )
