"""The score-function policy gradient."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def reinforce_loss(
  policy_logprobs: Float[Array, "*batch"], advantages: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """-advantage * log-probability, whose gradient is minus the policy gradient.

  Williams, 1992. With advantages R - beta * log-ratio - baseline and responses
  sampled from the policy, the expected gradient is that of the regularized
  reward; differentiating the log-ratio as well would add nothing.

  Args:
    policy_logprobs: log-probability of a sampled response or token, in nats.
    advantages: how much better it did than expected; held constant.

  Returns:
    One loss per response or token. Only its gradient is meaningful.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    >>> float(losses.reinforce_loss(jnp.array(-2.0), jnp.array(1.5)))
    3.0
  """
  policy_logprobs, advantages = guards.same_shape_floats(
    policy_logprobs=policy_logprobs, advantages=advantages
  )
  return -jax.lax.stop_gradient(advantages) * policy_logprobs
