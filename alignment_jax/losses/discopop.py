"""The preference loss that a language model discovered."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def discopop_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  tau: float = 0.05,
) -> Float[Array, "*batch"]:
  """Logistic for misordered pairs, exponential for correctly ordered ones.

  Lu et al., 2024 (arXiv:2406.08414), the log-ratio modulated loss. With
  z = beta h, h the margin of the log-ratios, and m = sigmoid(z / tau):

      -(1 - m) log sigmoid(z) + m exp(-z)

  It is not convex in z: there is a local minimum just below 0.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.
    tau: width of the transition, > 0.

  Returns:
    One loss per pair, >= 0.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is <= 0.

  Example:
    z = log 3 and tau = 1, so m = 3/4: log(4/3) / 4 + (3/4) / 3.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.discopop_loss(high, low, low, high, beta=0.5, tau=1.0)
    >>> f"{loss:.4f}"
    '0.3219'
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(beta=beta, tau=tau)
  z = beta * (chosen - rejected)
  logistic = -jax.nn.sigmoid(-z / tau) * jax.nn.log_sigmoid(z)
  # m exp(-z) as one exponential: 0 times infinity would be NaN.
  return logistic + ratios.exp(jax.nn.log_sigmoid(z / tau) - z)
