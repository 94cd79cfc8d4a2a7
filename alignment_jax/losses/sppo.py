"""Self-play preference optimization."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def sppo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  chosen_preferences: Float[Array, "*batch"],
  rejected_preferences: Float[Array, "*batch"],
  *,
  eta: float,
) -> Float[Array, "*batch"]:
  """Regress each log-ratio on the win rate against the previous policy.

  Wu et al., 2024 (arXiv:2405.00675):

      (rho_chosen - eta (P_chosen - 1/2))^2
      + (rho_rejected - eta (P_rejected - 1/2))^2

  with rho the log-ratio to the previous iteration's policy, which is passed as
  the reference. The minimum approximates one multiplicative-weights step,
  pi_{t+1} ~ pi_t exp(eta P(y beats pi_t)), by setting the normalizer to
  exp(eta / 2). TRL's `sppo_hard` uses 1 and 0 for the two probabilities, and
  the official code halves the sum.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    chosen_preferences: P(chosen response beats the previous policy); held
      constant.
    rejected_preferences: the same for the rejected response; held constant.
    eta: step size, > 0, in nats; 1 / beta of the regularized objective.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or eta <= 0.

  Example:
    Log-ratios 1 and -1: (1 - 2 * 0.25)^2 + (-1 - 2 * 0)^2.

    >>> arrays = jnp.array([-1.0, -3.0, -2.0, -2.0, 0.75, 0.5])
    >>> float(losses.sppo_loss(*arrays, eta=2.0))
    1.25
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  guards.positive(eta=eta)
  chosen_preferences, rejected_preferences = guards.floats_of_shape(
    chosen.shape,
    "policy_chosen",
    chosen_preferences=chosen_preferences,
    rejected_preferences=rejected_preferences,
  )
  chosen_target, rejected_target = (
    eta * (jax.lax.stop_gradient(preferences) - 0.5)
    for preferences in (chosen_preferences, rejected_preferences)
  )
  return jnp.square(chosen - chosen_target) + jnp.square(
    rejected - rejected_target
  )
