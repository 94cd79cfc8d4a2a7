"""A model of preferences that need not come from a reward."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def preference_model_loss(
  logits: Float[Array, "*batch"], preferences: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """Cross-entropy of a direct model of P(first beats second).

  Munos et al., 2023 (arXiv:2312.00886, v4):

      -p log sigmoid(logit) - (1 - p) log sigmoid(-logit)

  The logit may depend on both responses together, so cycles can be learned.

  Args:
    logits: the model's log-odds that the first response wins.
    preferences: p, the share of raters who prefer the first response, or a
      label 0 or 1; held constant.

  Returns:
    One loss per pair, in nats; minimal at logit(p).

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    sigmoid(log 3) = 3/4, and half of the raters prefer each response:
    exp(-2 loss) = (3/4)(1/4).

    >>> loss = losses.preference_model_loss(jnp.log(3.0), jnp.array(0.5))
    >>> f"{jnp.exp(-2 * loss):.4f}"
    '0.1875'
  """
  logits, preferences = guards.same_shape_floats(
    logits=logits, preferences=preferences
  )
  preferences = jax.lax.stop_gradient(preferences)
  return -preferences * jax.nn.log_sigmoid(logits) - (
    1 - preferences
  ) * jax.nn.log_sigmoid(-logits)
