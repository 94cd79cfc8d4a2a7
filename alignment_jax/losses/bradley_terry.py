"""The loss of a reward model for pairwise comparisons."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def bradley_terry_loss(
  chosen_rewards: Float[Array, "*batch"],
  rejected_rewards: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """Negative log-likelihood that the chosen response wins.

  Bradley and Terry, 1952: P(chosen wins) = sigmoid(r_chosen - r_rejected). Only
  differences count, so rewards are determined up to a constant per prompt. The
  gradient with respect to either reward has magnitude at most 1.

  Args:
    chosen_rewards: reward of the preferred response, a real number.
    rejected_rewards: reward of the rejected response.

  Returns:
    One loss per pair, in nats; log 2 where the rewards are equal.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    sigmoid(log 3 - 0) = 3/4.

    >>> loss = losses.bradley_terry_loss(jnp.log(3.0), jnp.array(0.0))
    >>> f"{jnp.exp(-loss):.4f}"
    '0.7500'
  """
  chosen_rewards, rejected_rewards = guards.same_shape_floats(
    chosen_rewards=chosen_rewards, rejected_rewards=rejected_rewards
  )
  return -jax.nn.log_sigmoid(chosen_rewards - rejected_rewards)
