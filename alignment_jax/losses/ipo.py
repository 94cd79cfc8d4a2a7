"""Identity preference optimization."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def ipo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  tau: float,
) -> Float[Array, "*batch"]:
  """Regress the margin on 1 / (2 tau).

  Azar et al., 2023 (arXiv:2310.12036, v2), eq. 17. The margin h is the
  log-ratio to the reference of the chosen response minus that of the rejected
  one. The minimum is finite even when one response always wins, so the policy
  stays near the reference; where P(chosen wins) is p, it is at
  h = (2 p - 1) / (2 tau). Over all pairs of a behavior distribution mu the
  optimum is reference * exp(P(response beats mu) / tau).

  The formula is for log-probabilities summed over tokens, as in Azar et al.
  TRL and HALOs divide each log-ratio by its length; their tau is then larger
  by about that length.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    tau: strength of the KL regularization, > 0. Some libraries call it `beta`.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.

  Example:
    h = 1 - (-2) = 3 and 1 / (2 tau) = 2.

    >>> arrays = jnp.array([-1.0, -4.0, -2.0, -2.0])
    >>> float(losses.ipo_loss(*arrays, tau=0.25))
    1.0
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(tau=tau)
  return jnp.square(chosen - rejected - 1 / (2 * tau))
