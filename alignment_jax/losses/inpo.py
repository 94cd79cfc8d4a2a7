"""Iterative Nash policy optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def inpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  previous_chosen: Float[Array, "*batch"],
  previous_rejected: Float[Array, "*batch"],
  *,
  eta: float,
  tau: float,
) -> Float[Array, "*batch"]:
  """One step of online mirror descent as regression on a pair.

  Zhang et al., 2024 (arXiv:2407.00617): (h - 1 / (2 eta))^2 with

      h = policy margin - (tau / eta) reference margin
          - ((eta - tau) / eta) previous margin

  where a margin is the log-probability of the chosen response minus that of the
  rejected one. Over pairs from the previous policy pi_t the minimum is

      pi_{t+1} ~ exp(P(y beats pi_t) / eta) reference^(tau / eta)
                 pi_t^(1 - tau / eta)

  whose fixed point is the Nash policy of the game regularized by tau. With
  tau = eta the previous policy drops out, and this is `ipo_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    previous_chosen: the preferred response under the previous iteration's
      policy; held constant.
    previous_rejected: the rejected one under it; held constant.
    eta: inverse step size, >= tau.
    tau: strength of the KL regularization of the game, > 0.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or not
      0 < tau <= eta.

  Example:
    Margins 2, 1 and 3 with tau / eta = 1/4: h = 2 - 1/4 - 9/4 = -1/2, and
    (-1/2 - 1/4)^2 = 9/16.

    >>> arrays = jnp.array([-1.0, -3.0, -1.0, -2.0, -1.0, -4.0])
    >>> float(losses.inpo_loss(*arrays, eta=2.0, tau=0.5))
    0.5625
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(tau=tau, eta=eta)
  guards.fraction(**{"tau / eta": tau / eta})
  guards.floats_of_shape(
    chosen.shape,
    "policy_chosen",
    previous_chosen=previous_chosen,
    previous_rejected=previous_rejected,
  )
  previous_chosen, previous_rejected = ratios.of_pair(
    previous_chosen, previous_rejected, reference_chosen, reference_rejected
  )
  # Equal to h above: the margins of the log-ratios policy / reference, less
  # 1 - tau / eta of those of previous / reference.
  previous = jax.lax.stop_gradient(previous_chosen - previous_rejected)
  margin = chosen - rejected - (1 - tau / eta) * previous
  return jnp.square(margin - 1 / (2 * eta))
