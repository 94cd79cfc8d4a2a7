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
  """Regress each log-ratio on its win probability against the last policy.

  Wu et al., 2024 (arXiv:2405.00675):

      (rho_chosen - eta (P_chosen - 1/2))^2
      + (rho_rejected - eta (P_rejected - 1/2))^2

  with rho the log-ratio to the policy of the iteration before, which takes the
  place of the reference. The minimum approximates one multiplicative-weights
  step, pi_{t+1} ~ pi_t exp(eta P(y beats pi_t)), by taking the normalizer as
  exp(eta / 2). TRL's `sppo_hard` puts 1 and 0 for the two probabilities, and
  the official code halves the sum.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the other response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the other response under the reference; held constant.
    chosen_preferences: P(chosen response beats the last policy); held constant.
    rejected_preferences: the same of the rejected one; held constant.
    eta: step size, > 0, in nats; 1 / beta of the regularized objective.

  Returns:
    One loss per pair, >= 0, in squared nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or eta <= 0.
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
  targets = (
    eta * (jax.lax.stop_gradient(preferences) - 0.5)
    for preferences in (chosen_preferences, rejected_preferences)
  )
  return jnp.square(chosen - next(targets)) + jnp.square(
    rejected - next(targets)
  )
