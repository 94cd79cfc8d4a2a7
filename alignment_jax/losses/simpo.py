"""Simple preference optimization: no reference, mean log-probabilities."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def simpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  *,
  beta: float,
  gamma: float,
) -> Float[Array, "*batch"]:
  """A margin between mean log-probabilities per token.

  Meng et al., 2024 (arXiv:2405.14734), eq. 6, with a the mean over tokens:

      -log sigmoid(beta (a_chosen - a_rejected) - gamma)

  The paper tunes gamma / beta, 0.3 to 0.6 with beta 2 to 2.5.

  Args:
    policy_chosen: log-probability of the preferred response, in nats per token,
      the mean over its tokens.
    policy_rejected: the same for the rejected response.
    beta: scale of the reward, > 0, in tokens per nat.
    gamma: target margin of the reward, >= 0.

  Returns:
    One loss per pair, in nats; log 2 where the margin is gamma / beta.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    2 log 3 less gamma = log 3: sigmoid(log 3) = 3/4.

    >>> high, low = jnp.log(jnp.array([3 / 4, 1 / 4]))
    >>> loss = losses.simpo_loss(high, low, beta=2.0, gamma=float(jnp.log(3.0)))
    >>> f"{jnp.exp(-loss):.4f}"
    '0.7500'
  """
  policy_chosen, policy_rejected = guards.same_shape_floats(
    policy_chosen=policy_chosen, policy_rejected=policy_rejected
  )
  guards.positive(beta=beta)
  guards.non_negative(gamma=gamma)
  return -jax.nn.log_sigmoid(beta * (policy_chosen - policy_rejected) - gamma)
